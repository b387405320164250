//! A session over real sockets of this host.
//!
//! No privilege is needed: every address of 127.0.0.0/8 is local, so 127.18.0.0/15 stands in for the range that names get
//! inside a worker's own network, listeners on it for the listeners of a worker, and a datagram socket for the packet
//! socket. What this does not prove: that a worker's namespace leads every packet here. The end-to-end tests do.

mod astray;
mod dns;
mod harness;
mod https;
mod postgres;
mod relay;
mod reload;
mod signer;
mod tls;
mod watch;
