//! HTTP to servers that the operator names: vaults, and those that give tokens. A connection for each request, no proxy
//! whatever the environment says, no redirects but those that a caller follows.

mod address;
mod connect;

pub(crate) use address::{Address, AddressFault};
pub(crate) use connect::{Whom, broken, connect};
