//! What must hold for every input that somebody else writes: one function for each kind of input.
//!
//! Each takes any bytes at all and panics where a promise does not hold. libFuzzer calls them (`libfuzzer/`), and so do the
//! ordinary tests of the workspace (`tests/replay.rs`), with the corpus and with edits of it. They open no socket and read
//! no file.
#![forbid(unsafe_code)]

mod client_hello;
mod connector_yaml;
mod dns_packet;
mod faults;
mod policy_file;
mod script;
mod worker_frames;

pub use client_hello::client_hello;
pub use connector_yaml::connector_yaml;
pub use dns_packet::dns_packet;
pub use policy_file::policy_file;
pub use worker_frames::worker_frames;

/// One kind of input: its name, as the corpus has it, and what must hold.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("client_hello", client_hello),
    ("connector_yaml", connector_yaml),
    ("dns_packet", dns_packet),
    ("policy_file", policy_file),
    ("worker_frames", worker_frames),
];
