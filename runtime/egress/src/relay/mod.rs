//! The way of bytes: a worker's connection is accepted, judged, dialled on and relayed.
//!
//! `serve` takes connections and follows each through its life; `hello` reads the name out of a ClientHello; `dial` reaches
//! the upstream; `copy` moves bytes, much of them through a `pipe`.

mod copy;
mod dial;
mod hello;
mod pipe;
mod serve;

pub(crate) use copy::Count;
pub(crate) use dial::{Undialled, dial};
pub(crate) use hello::{Hello, HelloError, check as check_name};
pub(crate) use pipe::{Lent, Pipes};
pub(crate) use serve::{
    PolicyInForce, accept, judge, named, reset_on_close, revoked, serve_port, still_allowed, tune,
};
