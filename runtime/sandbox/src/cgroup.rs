//! Cgroups: memory, cpu and processes of one worker; v2 or v1, whichever the host has.
//!
//! Plain files instead of a crate: docs/decisions/cgroups-by-plain-files.md. Groups are called
//! `caisson-<instance>-<worker>`, or `caisson-<instance>-spare-<number>` where they were made ahead of need, and lie side
//! by side under one parent, so that a sweep finds what a dead daemon left.

mod group;
mod hierarchy;
mod mounts;
mod v1;
mod v2;

pub use group::Cgroup;
pub(crate) use hierarchy::mend;
pub use hierarchy::{CgroupError, Hierarchy, Version};
