//! Calls: what they are, where they are kept, how they end.

mod admission;
mod certificates;
mod event;
mod form;
mod listening;
mod live;
mod names;
mod prepare;
mod read;
mod steps;
mod sync;
mod ticket;
mod write;

pub(crate) use admission::Admitted;
pub(crate) use event::{Emitted, Event, Sequencer};
pub(crate) use form::{Form, Forms};
pub(crate) use listening::Listening;
pub(crate) use live::{Begun, Calls, End, Live, What, ended, state_error};
pub(crate) use names::{check_name, joined};
pub(crate) use prepare::{Connector, Prepared, Source, declared, prepare, secret_error};
pub(crate) use read::{
    States, Streams, check_opening, encoding, is_unbounded, read_opening, selections, selects,
    states_limit, states_too_large, wire_encoding,
};
pub(crate) use steps::{failed_step, step_before_worker};
pub(crate) use sync::{SyncJob, run_sync};
pub(crate) use ticket::Ticket;
pub(crate) use write::{Fed, feed_from_caller};
