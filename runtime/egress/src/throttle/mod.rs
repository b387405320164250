//! Throttling: how fast, and how many at once, the requests of one credential go to one host.
//!
//! One budget per credential and host, shared by every worker and call of the daemon. The policies say what it may be at
//! most; what the upstream answers (`advice/`) lowers it, and time raises it again by steps (`learned`). Who has to wait
//! waits in the queue of its connection, and the connections are served in turn (`queue`). A wait that does not fit ends
//! before it begins, with the time to come back.
//!
//! It knows no connection, no TLS and no policy file: `http` types and the time come in, turns and times come out. There
//! is no task and no thread here: whoever waits also keeps the time, and whoever gives a place back hands it on.

mod advice;
mod budget;
mod budgets;
mod cause;
mod ceiling;
mod credential;
mod jitter;
mod learned;
mod line;
mod pace;
mod queue;
mod rate;
mod state;
#[cfg(test)]
mod tests;
mod turn;
mod waiter;

pub use budget::Budget;
pub use budgets::Budgets;
pub use cause::{Cause, Exhausted, Wait};
pub use credential::Credential;
pub(crate) use rate::MOST;
pub use rate::{Rate, RateError};
pub use turn::{Answered, Throttled, Turn};
pub use waiter::Waiter;
