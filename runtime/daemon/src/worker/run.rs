//! One call from the making of its worker to the sum of what it did.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::feed::Input;
use super::job::{Host, Job, Outcome};
use super::outlet::{Control, Outlet};
use super::serving::Serving;
use super::tally::Tally;
use super::way::Way;

/// Makes a worker, serves the call, and sees it dead.
pub(crate) async fn run(
    host: &Host,
    job: Job,
    input: Option<mpsc::Receiver<Input>>,
    outlet: Outlet,
    control: &Control,
    on_pid: impl FnOnce(i32),
) -> Outcome {
    let accepted = Instant::now();
    let cpu = crate::usage::cpu_seconds();
    let tally = Tally::new(accepted, job.missing_layers.clone());
    let mut way = Way {
        outlet,
        control,
        tally,
        grants: None,
        stopping: None,
    };
    let result = match Serving::launch(host, job, input, &way, on_pid).await {
        Err(error) => Err(error),
        Ok(mut serving) => {
            let verdict = serving.serve(&mut way).await;
            serving.finish(verdict, &mut way).await
        }
    };
    let mut tally = way.tally;
    tally.stats.seconds = accepted.elapsed().as_secs_f64();
    tally.stats.daemon_cpu_seconds = crate::usage::cpu_seconds() - cpu;
    tally.stats.daemon_peak_rss_bytes = crate::usage::peak_rss_bytes();
    let last_checkpoint = tally
        .last
        .take()
        .and_then(|key| tally.checkpoints.get(&key).cloned());
    let checkpoints = tally.summed_checkpoints();
    Outcome {
        result,
        stats: tally.stats,
        checkpoints,
        last_checkpoint,
        refusals: tally.refusals,
        failed_steps: tally.failed_steps,
    }
}
