//! Faults on purpose: a script says which look-ups, connections and requests go wrong, and how.
//!
//! `wire` and `read` turn a file into a [`FaultScript`] and report all that is wrong with it at once; `script`, `entry` and
//! `count` decide, on plain data; `answer` and `token` have what the gateway then says by itself; `body` spoils what an
//! upstream said. Nothing here opens a socket: DNS, the relay and HTTP ask, and do as they are told.

mod answer;
mod body;
mod count;
mod entry;
mod kind;
mod met;
mod read;
mod script;
mod token;
mod trickle;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{Broken, Spoiled};
pub use kind::{
    Answer, Asked, BodyFault, CertificateFault, ConnectionFault, DnsFault, RequestFault,
};
pub use met::Met;
pub use read::SCHEMA;
pub use script::FaultScript;
