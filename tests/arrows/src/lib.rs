//! Nothing to link: the tests of this package hold what no single crate can.
//!
//! `tests/arrows.rs` holds the direction of dependencies between our crates,
//! `tests/licences.rs` the licences of everything that they build with.

#![forbid(unsafe_code)]
