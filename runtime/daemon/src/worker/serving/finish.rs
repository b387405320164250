//! The end of a worker: seen dead, and what was left is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use caisson_sandbox::Process;
use tokio::time::{Instant, timeout};

use super::Serving;
use crate::error::CallError;
use crate::worker::classify::{self, Death};
use crate::worker::outlet::Stop;
use crate::worker::translate::clean;
use crate::worker::way::{Verdict, Way};

/// Between Done and the process's end.
pub(super) const EXIT: Duration = Duration::from_secs(2);

impl Serving {
    /// Sees the process dead and says how the call went.
    pub(in crate::worker) async fn finish(
        mut self,
        verdict: Verdict,
        way: &mut Way<'_>,
    ) -> Result<(), CallError> {
        let patient = matches!(
            verdict,
            Verdict::Done(_) | Verdict::Failed(_) | Verdict::Closed
        );
        if !patient || timeout(EXIT, self.process.wait()).await.is_err() {
            // Before the kill: the kernel ends a dead process's connections as if it had finished, and their hosts would
            // take what came for all there is.
            if let Some(session) = &self.session {
                session.sever();
            }
            self.process.kill();
        }
        let death = death(&mut self.process).await;
        way.tally.stats.worker_peak_rss_bytes = death.peak_rss_bytes;
        way.tally.stats.worker_peak_memory_bytes = death.peak_memory_bytes;
        way.tally.stats.worker_cpu_seconds = death.cpu_seconds;
        way.tally.stats.cpu_throttled_seconds = death.cpu_throttled_seconds;
        let stacks = self.stacks.told().await;
        let totals = match self.session.take() {
            Some(session) => session.close().await,
            None => Default::default(),
        };
        way.tally.stats.egress_allowed = totals.allowed;
        way.tally.stats.egress_denied = totals.denied;
        // What is left is told if the caller takes it soon.
        way.stopping
            .get_or_insert((Stop::Cancelled, Instant::now() + EXIT));
        while let Ok(event) = self.egress.try_recv() {
            self.egress(event, way).await;
        }
        while let Ok(Some(line)) = timeout(EXIT, self.lines.recv()).await {
            self.log(line, way).await;
        }
        way.tally.stats.logs_dropped = self.quota.dropped();
        way.tally.stats.bytes += self.fed.load(Ordering::Relaxed);
        // The worker tells what it counted itself; the gateway's waits are no part of that, and its requests mostly are. Of one
        // that did not come to tell, what both announced is known.
        let by_gateway = Duration::from_millis(totals.throttled_ms).as_secs_f64();
        let (requests, waited) = match &verdict {
            Verdict::Done(done) => (done.requests, done.throttled_seconds + by_gateway),
            Verdict::Failed(failed) => (failed.requests, failed.throttled_seconds + by_gateway),
            _ => (0, self.pulse.waited(Instant::now()).as_secs_f64()),
        };
        way.tally.stats.requests = requests.max(totals.requests);
        way.tally.stats.throttled_seconds = waited;
        match verdict {
            Verdict::Done(_) => Ok(()),
            Verdict::Failed(failed) => Err(self.clean(classify::failed(
                failed,
                &death,
                &self.limits,
                &way.tally.refusals,
            ))),
            Verdict::Closed => {
                let last: Vec<_> = way.tally.last_lines.iter().cloned().collect();
                Err(self.clean(classify::lost(&death, &self.limits, &last)))
            }
            Verdict::Stopped(stop) => Err(CallError {
                stacks,
                ..stop.error()
            }),
            Verdict::Ended(error) => Err(CallError {
                stacks,
                ..self.clean(error)
            }),
        }
    }

    fn clean(&self, mut error: CallError) -> CallError {
        error.stream = clean(&error.stream, &self.redactor);
        error.partition = clean(&error.partition, &self.redactor);
        error.message = clean(&error.message, &self.redactor);
        error.action = clean(&error.action, &self.redactor);
        error.exception = clean(&error.exception, &self.redactor);
        error.traceback = clean(&error.traceback, &self.redactor);
        error
    }
}

/// How the process ended; waits for it.
pub(super) async fn death(process: &mut Process) -> Death {
    match process.wait().await {
        Ok(exit) => Death {
            signal: exit.signal,
            status: exit.status,
            oom_killed: exit.oom_killed,
            pids_limit_hit: exit.pids_limit_hit,
            peak_rss_bytes: exit.peak_rss_bytes,
            peak_memory_bytes: exit.peak_memory_bytes,
            cpu_seconds: exit.cpu_seconds,
            cpu_throttled_seconds: exit.cpu_throttled_seconds,
        },
        Err(error) => {
            tracing::error!(%error, "a worker could not be waited for");
            Death::default()
        }
    }
}
