//! Egress.
#![forbid(unsafe_code)]

pub mod address;
mod decision;
mod guard;
mod host;
mod name;
mod network;
mod policy;
mod reason;
mod template;

pub use decision::{Allowed, Attempt, Refusal, Transport, Verdict, decide};
pub use guard::Guard;
pub use host::{BoundHost, Fence, FenceError, Host, HostBindError, Pattern, PatternError, Target};
pub use name::{Name, NameError};
pub use network::{Network, NetworkError};
pub use policy::*;
pub use reason::{Kind, Reason};
pub use template::{Missing, Template, TemplateError};
