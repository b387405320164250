//! What all streaming calls share: their common events, their end, their
//! figures, and the way they are cancelled.

mod event;
mod follow;
mod stats;

pub(crate) use event::Done;
pub(crate) use follow::follow;

use std::path::PathBuf;

use caisson_proto::v1;

use crate::args::CallArgs;
use crate::stop::{Result, Stop};

/// The options of one call, and what to do with its figures.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) options: v1::CallOptions,
    stats: Option<PathBuf>,
}

impl Call {
    pub(crate) fn new(args: &CallArgs, workspace: &str) -> Self {
        let deadline = args
            .deadline
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let request_id = args
            .request_id
            .clone()
            .unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let options = v1::CallOptions {
            workspace: workspace.to_owned(),
            request_id,
            deadline_ms: deadline,
        };
        Self {
            options,
            stats: args.stats.clone(),
        }
    }

    /// Writes the figures of a call that ended, also of one that failed.
    pub(crate) fn ended(&self, ended: Result<Done>) -> Result<Done> {
        let Some(path) = &self.stats else {
            return ended;
        };
        let done = match &ended {
            Ok(done) => Some(done.clone()),
            Err(Stop::Failed(failure)) => failure.stats.clone().map(Done::of),
            Err(_) => None,
        };
        let Some(done) = done else { return ended };
        let written = stats::write(path, &done);
        // What the call ended with matters more than a file that cannot be written.
        ended.and_then(|done| written.map(|()| done))
    }
}
