//! The worker's DNS: answered here, forwarded nowhere.
//!
//! `udp` and `tcp` move messages; `answer` is what they mean.

mod answer;
mod tcp;
mod udp;

pub(crate) use tcp::serve_tcp;
pub(crate) use udp::serve_udp;
