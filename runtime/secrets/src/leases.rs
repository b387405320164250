//! What keeps the secrets of one call alive while it lasts, and ends them however it ends.
//!
//! One task per call owns its sessions. It prolongs them when they are due, tells when something has truly ended, and
//! closes all of them when it is asked to, or when nobody holds its handle any more.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::provider::{ProviderError, Session};
use crate::reference::Scheme;

/// How long to wait after a first failed renewal; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest wait between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How long one attempt to renew may take.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long the end of a call waits for that of its secrets. A session that takes longer ends in the background.
const PATIENCE: Duration = Duration::from_secs(5);

/// Secrets of a call that are no longer valid, although it still runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secrets from {scheme} have ended{}", because(.cause))]
pub struct Ended {
    /// Where they came from.
    pub scheme: Scheme,
    /// Why they could not be prolonged; nothing where nobody refused, as at a longest life.
    pub cause: Option<ProviderError>,
}

fn because(cause: &Option<ProviderError>) -> String {
    cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(": {cause}"))
}

/// The sessions of one call. Dropped, it closes them in the background.
#[derive(Debug)]
pub struct Leases {
    ended: watch::Receiver<Option<Ended>>,
    // Dropped before the task is let go: the task sees that and closes.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Leases {
    /// Takes the sessions over.
    pub(crate) fn keep(call: &str, sessions: Vec<(Scheme, Box<dyn Session>)>) -> Leases {
        let (tell, ended) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let held = sessions.into_iter().map(Held::new).collect();
        let task = tokio::spawn(keep(call.to_owned(), held, tell, stopped));
        Leases { ended, stop, task }
    }

    /// Waits until secrets of the call are no longer valid; for ever where they last.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        // A guard of the channel must not live across a wait.
        let told = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|told| told.clone());
        match told {
            Some(ended) => ended,
            // The task is gone, so nobody prolongs anything; this is reached only while a runtime shuts down.
            None => std::future::pending().await,
        }
    }

    /// What [`Leases::ended`] waits for, to be watched by others.
    pub fn watch(&self) -> watch::Receiver<Option<Ended>> {
        self.ended.clone()
    }

    /// Ends all that was read, and waits for that, but for no longer than 5 s for each provider. What cannot be ended now
    /// is logged, and is ended in the background or by itself.
    pub async fn close(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// One session and its next attempt.
struct Held {
    scheme: Scheme,
    session: Box<dyn Session>,
    /// After a failure that may mend itself.
    again: Option<Instant>,
    pause: Duration,
    /// After a failure that does not.
    refused: bool,
    cause: Option<ProviderError>,
    over: bool,
}

impl Held {
    fn new((scheme, session): (Scheme, Box<dyn Session>)) -> Held {
        Held {
            scheme,
            session,
            again: None,
            pause: FIRST_PAUSE,
            refused: false,
            cause: None,
            over: false,
        }
    }

    fn due(&self) -> Option<Instant> {
        if self.over || self.refused {
            return None;
        }
        let due = self.session.due()?;
        Some(self.again.unwrap_or(due))
    }

    fn ends(&self) -> Option<Instant> {
        if self.over { None } else { self.session.ends() }
    }

    /// Does what is to be done now.
    async fn step(&mut self, call: &str, tell: &watch::Sender<Option<Ended>>) {
        let now = Instant::now();
        if self.ends().is_some_and(|at| at <= now) {
            self.over = true;
            let ended = Ended {
                scheme: self.scheme,
                cause: self.cause.take(),
            };
            tracing::warn!(call, %ended, "secrets ended while the call runs");
            tell.send_if_modified(|told| {
                let first = told.is_none();
                told.get_or_insert(ended);
                first
            });
        } else if self.due().is_some_and(|at| at <= now) {
            self.renew(call).await;
        }
    }

    async fn renew(&mut self, call: &str) {
        let renewed = timeout(ATTEMPT, self.session.renew()).await;
        let error = match renewed {
            Ok(Ok(())) => {
                // A provider that wants the next renewal at once gets it after a pause.
                let now = Instant::now();
                let hasty = self.session.due().is_some_and(|due| due <= now);
                self.again = hasty.then(|| now + FIRST_PAUSE);
                (self.pause, self.cause) = (FIRST_PAUSE, None);
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => ProviderError::unavailable(
                "the provider did not prolong the secrets in time",
                "look at the provider",
            ),
        };
        let (scheme, retryable) = (self.scheme, error.retryable());
        tracing::warn!(call, %scheme, %error, retryable, "secrets could not be prolonged");
        // A session of several parts may have parts left that can be prolonged: then it is due later.
        let stuck = |due: Instant| due <= Instant::now();
        self.refused = !retryable && self.session.due().is_none_or(stuck);
        self.again = retryable.then(|| Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.cause = Some(error);
    }

    async fn close(&mut self, call: &str) {
        let scheme = self.scheme;
        match timeout(PATIENCE, self.session.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(call, %scheme, %error, "secrets could not be ended"),
            Err(_) => {
                tracing::warn!(call, %scheme, "the end of the secrets goes on in the background")
            }
        }
    }
}

async fn keep(
    call: String,
    mut held: Vec<Held>,
    tell: watch::Sender<Option<Ended>>,
    mut stop: oneshot::Receiver<()>,
) {
    let work = async {
        loop {
            let times = held.iter().flat_map(|held| [held.due(), held.ends()]);
            match times.flatten().min() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
            for held in &mut held {
                held.step(&call, &tell).await;
            }
        }
    };
    // An attempt to renew may be cut short here: whatever it would have prolonged is ended next.
    tokio::select! {
        _ = &mut stop => {}
        () = work => {}
    }
    for held in &mut held {
        held.close(&call).await;
    }
}
