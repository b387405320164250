//! Sends what lies about while the connector is silent.
//!
//! A thread of its own for each emitter that has records, and it touches no
//! Python: between records the connector may hold the GIL for minutes.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::state::{Phase, State};

/// The first batch goes out after this time, so that a reader sees something.
const FIRST: Duration = Duration::from_millis(5);

/// Starts the thread. If the system has none to give, batches are sent when
/// they are full and at checkpoints only.
pub(super) fn start(lane: Arc<Lane>) {
    let _ = std::thread::Builder::new()
        .name("caisson-flush".into())
        .stack_size(256 << 10)
        .spawn(move || run(&lane));
}

fn run(lane: &Lane) {
    let mut state = lane.state();
    while !state.closed && state.failure.is_none() {
        state.armed = false;
        let Some(due) = due(&state, lane.config.flush) else {
            state = lane
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let now = Instant::now();
        if now < due {
            state.armed = true;
            let waited = lane.wake.wait_timeout(state, due - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            drop(state);
            // A failure stays in the state, for the connector's next call.
            let _ = lane.flush();
            state = lane.state();
        }
    }
}

fn due(state: &State, flush: Duration) -> Option<Instant> {
    let sampling = matches!(state.phase, Phase::Sampling(_));
    let wait = if state.first && !sampling {
        flush.min(FIRST)
    } else {
        flush
    };
    state.since.map(|since| since + wait)
}
