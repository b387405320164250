//! The calls that run, and the record of those that ran.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caisson_proto::v1::{self, ErrorCode};
use caisson_state::{Begun as Recorded, CallState, Ending, NewCall, Retention};
use chrono::{TimeDelta, Utc};
use prost::Message;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::ticket::{Recording, Ticket};
use crate::config::{Config, Remembered};
use crate::error::CallError;
use crate::identity::{Caller, Workspace};

/// How long a request_id holds.
const REQUESTS: TimeDelta = TimeDelta::days(1);

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Summary(v1::Summary),
    Sync(v1::SyncSummary),
    Failure(v1::Failure),
}

/// A running call.
pub(crate) struct Live {
    pub(crate) call_id: String,
    pub(crate) cancel: CancellationToken,
    requested: bool,
    connector: Mutex<String>,
    /// Process ids of the workers; of a Sync, the source's is the first.
    pids: Mutex<BTreeMap<u8, i32>>,
    end: watch::Sender<Option<End>>,
}

impl Live {
    /// Remembers the process id of the call's worker number `place`.
    pub(crate) fn set_pid(&self, place: u8, pid: i32) {
        self.pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place, pid);
    }

    /// Whether a worker of it ever existed.
    fn ran(&self) -> bool {
        !self
            .pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Option<End> {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone())
    }
}

/// What is being called, for the record.
pub(crate) struct What<'a> {
    pub(crate) kind: &'static str,
    pub(crate) workspace: &'a Workspace,
    pub(crate) request_id: &'a str,
    pub(crate) connection: String,
    /// The request's bytes: a request_id may not come back with others.
    pub(crate) request: Vec<u8>,
}

/// A new call, or the one that request_id named before.
pub(crate) enum Begun {
    New(Ticket),
    Running(Arc<Live>),
    Ended(String, Box<End>),
}

/// All calls of this daemon.
pub(crate) struct Calls {
    live: Mutex<HashMap<String, Arc<Live>>>,
    store: caisson_state::Calls,
    admission: Admission,
    remembered: Remembered,
    /// The daemon ends: nothing begins any more.
    draining: AtomicBool,
    /// Since some were last forgotten.
    ended: AtomicU32,
}

impl Calls {
    pub(crate) fn new(store: caisson_state::Calls, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            live: Mutex::default(),
            store,
            admission: Admission::new(config.slots),
            remembered: config.calls,
            draining: AtomicBool::new(false),
            ended: AtomicU32::new(0),
        })
    }

    /// Begins a call, or finds the one that the same request_id began.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        what: What<'_>,
    ) -> Result<Begun, CallError> {
        let call_id = uuid::Uuid::now_v7().to_string();
        let new = NewCall {
            call_id: call_id.clone(),
            request_id: (!what.request_id.is_empty()).then(|| what.request_id.to_owned()),
            fingerprint: Sha256::digest(&what.request)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            tenant: caller.tenant.to_string(),
            workspace: what.workspace.to_string(),
            kind: what.kind.to_owned(),
            connection: what.connection,
            connector: String::new(),
            started: Utc::now(),
        };
        let live = Arc::new(Live {
            call_id: call_id.clone(),
            cancel: CancellationToken::new(),
            requested: new.request_id.is_some(),
            connector: Mutex::default(),
            pids: Mutex::default(),
            end: watch::channel(None).0,
        });
        // In the table before in the store: who finds the record finds the call.
        {
            let mut running = self.lock();
            if self.draining.load(Ordering::Relaxed) {
                let error = CallError::new(ErrorCode::WorkerLost, "the daemon is stopping");
                return Err(error.with_action("call again when it runs"));
            }
            running.insert(call_id.clone(), live.clone());
        }
        // The ticket before the wait: a caller that leaves meanwhile drops it,
        // and the call ends instead of running for ever.
        let ticket = Ticket::new(live, self.clone());
        if new.request_id.is_none() {
            // It is no earlier call, so that the rest of the beginning need not wait for that.
            let store = self.store.clone();
            let record = async move { store.begin(&new, Utc::now() - REQUESTS).await.map(drop) };
            return Ok(Begun::New(ticket.recording(tokio::spawn(record))));
        }
        match self.store.begin(&new, Utc::now() - REQUESTS).await {
            Ok(Recorded::New) => Ok(Begun::New(ticket)),
            Ok(Recorded::Existing(record)) => {
                ticket.discard();
                if let Some(live) = self.lock().get(&record.call.call_id).cloned() {
                    return Ok(Begun::Running(live));
                }
                Ok(Begun::Ended(
                    record.call.call_id.clone(),
                    Box::new(ended(&record)),
                ))
            }
            Ok(Recorded::Reused(record)) => {
                ticket.discard();
                let message = format!(
                    "request_id `{}` was used for another request, call {}",
                    what.request_id, record.call.call_id
                );
                Err(CallError::new(ErrorCode::StateConflict, message)
                    .with_action("make a new request_id for a new request"))
            }
            Err(error) => {
                ticket.discard();
                Err(state_error(error))
            }
        }
    }

    /// Records which connector a call runs, once that is known.
    pub(crate) fn named(&self, call_id: &str, connector: &str) {
        if let Some(live) = self.lock().get(call_id) {
            *live
                .connector
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = connector.to_owned();
        }
    }

    /// Cancels a running call; false if it is not running.
    pub(crate) fn cancel(&self, call_id: &str) -> bool {
        match self.lock().get(call_id) {
            Some(live) => {
                live.cancel.cancel();
                true
            }
            None => false,
        }
    }

    /// Cancels everything and waits until all has ended.
    pub(crate) async fn drain(&self) {
        let live: Vec<_> = {
            let running = self.lock();
            self.draining.store(true, Ordering::Relaxed);
            running.values().cloned().collect()
        };
        for call in &live {
            call.cancel.cancel();
        }
        for call in live {
            call.ended().await;
        }
    }

    /// A running call's connector and the process ids of its workers.
    pub(crate) fn running(&self, call_id: &str) -> (String, Vec<i32>) {
        let Some(live) = self.lock().get(call_id).cloned() else {
            return Default::default();
        };
        let connector = live
            .connector
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let pids = live
            .pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .copied()
            .collect();
        (connector, pids)
    }

    pub(crate) fn store(&self) -> &caisson_state::Calls {
        &self.store
    }

    /// A call that turned out to be another one.
    pub(super) fn forget_live(&self, call_id: &str) {
        self.lock().remove(call_id);
    }

    pub(super) fn finish(
        self: Arc<Self>,
        live: &Arc<Live>,
        recording: Option<Recording>,
        end: End,
    ) -> JoinHandle<()> {
        let live = live.clone();
        tokio::spawn(async move {
            if let Some(recording) = recording
                && let Ok(Err(error)) = recording.await
            {
                tracing::error!(call = live.call_id, %error, "a call could not be recorded");
            }
            let (state, summary, failure) = match &end {
                End::Summary(summary) => {
                    (CallState::Succeeded, Some(kept("summary", summary)), None)
                }
                End::Sync(summary) => (CallState::Succeeded, Some(kept("sync", summary)), None),
                End::Failure(failure) if failure.code() == ErrorCode::Cancelled => {
                    (CallState::Cancelled, None, Some(kept("failure", failure)))
                }
                End::Failure(failure) => (CallState::Failed, None, Some(kept("failure", failure))),
            };
            let ending = Ending {
                state,
                ended: Utc::now(),
                summary,
                failure,
                requested: live.requested,
                // Nothing of it ran: the same request may come again.
                released: !live.ran(),
                connector: live
                    .connector
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
            };
            let stored = self.store.finish(&live.call_id, &ending).await;
            // Where there is no record, that was told already, or its caller left while it was made.
            if let Err(error) = stored
                && !matches!(error, caisson_state::CallError::Unknown(_))
            {
                tracing::error!(call = live.call_id, %error, "the end of a call could not be recorded");
            }
            // Recorded first: who waits for the end finds the record.
            live.end.send_replace(Some(end));
            self.lock().remove(&live.call_id);
            self.crowded().await;
        })
    }

    /// Forgets the calls that are not to be remembered any more.
    pub(crate) async fn forget(&self) -> Result<(), caisson_state::CallError> {
        self.ended.store(0, Ordering::Relaxed);
        let now = Utc::now();
        let period = TimeDelta::from_std(self.remembered.period).unwrap_or(TimeDelta::MAX);
        let retention = Retention {
            ended_since: now.checked_sub_signed(period).unwrap_or_default(),
            newest: self.remembered.keep,
            requests_since: now - REQUESTS,
        };
        self.store.prune(&retention).await.map(drop)
    }

    /// One more has ended; now and then that is one too many.
    async fn crowded(&self) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if ended >= (self.remembered.keep / 100).max(1)
            && let Err(error) = self.forget().await
        {
            tracing::warn!(%error, "old calls could not be forgotten");
        }
    }

    /// The slots that calls run in.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message as the store keeps it: it holds bytes and times that JSON has no
/// words for.
fn kept(kind: &str, message: &impl Message) -> Value {
    json!({ kind: STANDARD.encode(message.encode_to_vec()) })
}

fn read_kept<M: Message + Default>(kind: &str, value: Option<&Value>) -> Option<M> {
    let bytes = STANDARD.decode(value?.get(kind)?.as_str()?).ok()?;
    M::decode(bytes.as_slice()).ok()
}

/// The end of a recorded call.
pub(crate) fn ended(record: &caisson_state::CallRecord) -> End {
    let summary = record.summary.as_ref();
    if let Some(summary) = read_kept("summary", summary) {
        return End::Summary(summary);
    }
    if let Some(summary) = read_kept("sync", summary) {
        return End::Sync(summary);
    }
    match read_kept::<v1::Failure>("failure", record.failure.as_ref()) {
        Some(failure) => End::Failure(failure),
        None => {
            let error = CallError::new(
                ErrorCode::WorkerLost,
                "the daemon ended while this call ran",
            );
            End::Failure(error.to_failure())
        }
    }
}

/// What the store could not do.
pub(crate) fn state_error(error: impl std::fmt::Display) -> CallError {
    CallError::internal("the state store", error)
}
