//! One worker, from its making to its death.
//!
//! [`run()`] takes a [`Job`] (everything decided before a worker exists), has a
//! worker made, feeds it, checks what it says against [`order`], and hands
//! [`Event`](crate::call::Event)s on. What connector code says is data here,
//! never trusted; every text of it passes the redactor.

mod classify;
mod feed;
mod frames;
pub mod fuzzing;
mod given;
mod grants;
mod job;
mod made;
mod order;
mod outlet;
mod output;
mod pulse;
mod run;
mod serving;
mod stacks;
mod tally;
mod translate;
mod warm;
mod way;

pub(crate) use feed::Input;
pub(crate) use job::{Host, Job, Outcome};
pub(crate) use outlet::{Control, Outlet};
pub(crate) use run::run;
pub(crate) use warm::{Pool, Warmth};
