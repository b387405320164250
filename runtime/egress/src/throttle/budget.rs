//! Waiting for a turn.

use super::cause::{Cause, Exhausted, Wait};
use super::rate::Rate;
use super::state::Standing;
use super::turn::{Account, Asked, Turn, wall};
use super::waiter::Waiter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Waits shorter than this are told to nobody.
const TOLD: Duration = Duration::from_millis(250);
/// When to come back to a budget whose places were all taken until the deadline, or whose line is full: there is no better guess.
const SOON: Duration = Duration::from_secs(1);

/// A call's hold on the budget of a credential and host, under its policy's rate. While several hold one budget under
/// different rates, each of these rates holds for all. Take it anew when the policy is reloaded, and drop the old one.
#[derive(Debug)]
pub struct Budget {
    account: Arc<Account>,
    rate: Option<Rate>,
}

impl Budget {
    pub(super) fn new(account: Arc<Account>, rate: Option<Rate>) -> Self {
        if let Some(rate) = rate {
            account.state().join(rate, Instant::now());
        }
        Self { account, rate }
    }

    #[cfg(test)]
    pub(super) fn is_of(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(&self.account, account)
    }

    /// Waits for a turn. `told` hears each wait of at least a quarter second once, before it is waited for; again if it
    /// turns out longer, or becomes a wait for something else. A future that is dropped has left the queue.
    ///
    /// # Errors
    /// The wait does not fit the waiter's deadline or longest wait. This is said as soon as it is known: at once, unless
    /// others come in between, the upstream says no meanwhile, or a place would have to come free, which nobody can foretell.
    /// Where 4,096 requests of the waiter's party wait on this budget already, one more ends at once for [`Cause::Concurrency`],
    /// however long it might wait.
    pub async fn turn(
        &self,
        waiter: &mut Waiter,
        told: impl FnMut(Wait),
    ) -> Result<Turn, Exhausted> {
        let began = Instant::now();
        let limit = waiter.limit(began);
        let asked = Asked::new(&self.account, &waiter.party, limit, began);
        let asked = asked.map_err(|until| Exhausted {
            until: wall(until.max(began + SOON)),
            cause: Cause::Concurrency,
        })?;
        let mut telling = Telling::new(told);
        loop {
            let now = Instant::now();
            let (until, cause, again) = match asked.standing(now) {
                Standing::Turn(sent) => {
                    waiter.add(now - began);
                    return Ok(asked.take(sent));
                }
                Standing::Waits {
                    until,
                    cause,
                    again,
                } => (until, cause, again),
            };
            let fits = |limit| now < limit && until.is_none_or(|until| until <= limit);
            if !limit.is_none_or(fits) {
                waiter.add(now - began);
                let until = wall(until.unwrap_or(now + SOON));
                return Err(Exhausted { until, cause });
            }
            let to_tell = telling.tell(until, cause, now);
            let again = [again, limit, to_tell].into_iter().flatten().min();
            asked.news(again).await;
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(rate) = self.rate {
            self.account.state().leave(rate, Instant::now());
        }
    }
}

/// What one waiter has been told.
struct Telling<F> {
    told: F,
    /// The last wait that was told.
    last: Option<(Cause, Option<Instant>)>,
    /// Since when a place is waited for.
    since: Option<Instant>,
}

impl<F: FnMut(Wait)> Telling<F> {
    fn new(told: F) -> Self {
        Self {
            told,
            last: None,
            since: None,
        }
    }

    /// Tells the wait, if it is long enough and news. Returns when it will have become long enough.
    fn tell(&mut self, until: Option<Instant>, cause: Cause, now: Instant) -> Option<Instant> {
        let Some(until) = until else {
            let due = *self.since.get_or_insert(now) + TOLD;
            let is_told = self.last == Some((cause, None));
            if now < due {
                return (!is_told).then_some(due);
            }
            if !is_told {
                self.last = Some((cause, None));
                (self.told)(Wait { until: None, cause });
            }
            return None;
        };
        self.since = None;
        let is_told = self.last.is_some_and(|(last, told)| {
            last == cause && told.is_some_and(|told| until < told + TOLD)
        });
        if until >= now + TOLD && !is_told {
            self.last = Some((cause, Some(until)));
            (self.told)(Wait {
                until: Some(wall(until)),
                cause,
            });
        }
        None
    }
}
