//! `--stats`: the figures of a call as one JSON object. Names and units are
//! in docs/guides/command-line.md; bench and demo read them.

use std::path::Path;

use anyhow::Context as _;
use caisson_proto::v1;
use serde_json::{Value, json};

use super::event::Done;
use crate::stop::Result;

pub(crate) fn write(path: &Path, done: &Done) -> Result<()> {
    let text = format!("{}\n", object(done));
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn object(done: &Done) -> Value {
    let Some((source, destination)) = &done.sides else {
        return figures(&done.stats);
    };
    // Both workers of a Sync at once: what only one side does is that side's,
    // what both do is added up, and the two in full stand below.
    let mut all = figures(&v1::Stats {
        worker_cpu_seconds: source.worker_cpu_seconds + destination.worker_cpu_seconds,
        worker_peak_rss_bytes: source.worker_peak_rss_bytes + destination.worker_peak_rss_bytes,
        seconds: source.seconds.max(destination.seconds),
        requests: source.requests + destination.requests,
        throttled_seconds: source.throttled_seconds + destination.throttled_seconds,
        cpu_throttled_seconds: source.cpu_throttled_seconds + destination.cpu_throttled_seconds,
        worker_peak_memory_bytes: source.worker_peak_memory_bytes
            + destination.worker_peak_memory_bytes,
        egress_allowed: source.egress_allowed + destination.egress_allowed,
        egress_denied: source.egress_denied + destination.egress_denied,
        rejected: source.rejected + destination.rejected,
        ..source.clone()
    });
    all["records_read"] = json!(source.records);
    all["records_written"] = json!(destination.records);
    all["source"] = figures(source);
    all["destination"] = figures(destination);
    all
}

fn figures(stats: &v1::Stats) -> Value {
    json!({
        "records": stats.records,
        "bytes": stats.bytes,
        "seconds": stats.seconds,
        "start_ms": stats.start_ms,
        "first_batch_ms": stats.first_batch_ms,
        "cpu_seconds": { "daemon": stats.daemon_cpu_seconds, "worker": stats.worker_cpu_seconds },
        "peak_rss_bytes": { "daemon": stats.daemon_peak_rss_bytes, "worker": stats.worker_peak_rss_bytes },
        "checkpoints": stats.checkpoints,
        "batches": stats.batches,
        "requests": stats.requests,
        "throttled_seconds": stats.throttled_seconds,
        "egress_allowed": stats.egress_allowed,
        "egress_denied": stats.egress_denied,
        "rejected": stats.rejected,
        "logs_dropped": stats.logs_dropped,
        "cpu_throttled_seconds": stats.cpu_throttled_seconds,
        "peak_memory_bytes": stats.worker_peak_memory_bytes,
        "missing_layers": stats.missing_layers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_sync_hold_both_sides_and_their_sum() {
        let side = |records, requests| v1::Stats {
            records,
            requests,
            worker_cpu_seconds: 0.5,
            ..Default::default()
        };
        let done = Done::from(v1::SyncSummary {
            source: Some(side(10, 7)),
            destination: Some(side(9, 0)),
            checkpoints: vec![],
        });
        insta::assert_json_snapshot!(object(&done));
    }
}
