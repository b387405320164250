//! The worker's DNS: answered here, forwarded nowhere.
//!
//! `udp` and `tcp` move messages; `answer` is what they mean; `asked` tells of those that were not meant for the gateway.

mod answer;
mod asked;
mod tcp;
mod udp;

pub(crate) use answer::answer;
pub(crate) use tcp::serve_tcp;
pub(crate) use udp::serve_udp;
