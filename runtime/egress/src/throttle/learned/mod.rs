//! What the upstream's answers taught: how long to stay away, and how fast to come back.
//!
//! A no makes everybody wait and halves what there was; time then raises it by steps of a tenth, until the policies'
//! numbers hold again (additive increase, multiplicative decrease: Chiu and Jain 1989). Answers to requests that were under
//! way together are one round: however many of them say no, it counts once. A long wait is asked after (`hold`), since the
//! header that names it may be wrong.

mod hold;
mod lowered;
mod recent;

use super::advice::{Advice, Of, Refused};
use super::cause::Cause;
use super::rate::interval;
pub(super) use hold::Hold;
use lowered::{Lowered, Spread};
use recent::Recent;
use std::time::Duration;
use tokio::time::Instant;

/// No learned rate is slower than this, in requests per second; what must be slower is a wait.
const SLOWEST: f64 = 0.1;

/// The first wait where the upstream names none, and the longest.
const BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// The part of such a wait that chance adds at most, and of a wait that the upstream names.
const BACKOFF_JITTER: f64 = 0.5;
const NAMED_JITTER: f64 = 0.1;
/// A window that an answer says is used up, without saying no, holds no longer than this: it may be another window than
/// that of the next request, and its reset may be in another unit.
const LONGEST_UNASKED: Duration = Duration::from_secs(3_600);
/// Chance adds no more than this to a wait that the upstream names.
const LONGEST_JITTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Learned {
    hold: Option<Hold>,
    /// Counts the times that the upstream said no.
    round: u64,
    /// Rounds in a row that ended with a no.
    in_a_row: u32,
    rate: Option<Lowered>,
    places: Option<Lowered>,
    /// What is left of a window, spread over it.
    spread: Option<Spread>,
    /// What a bucket leaks.
    leak: Option<Spread>,
    recent: Recent,
}

/// When a request was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// The round.
    pub(super) round: u64,
    pub(super) at: Instant,
}

/// A request's answer comes with what was going on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) sent: Sent,
    /// Requests under way, this one included.
    pub(super) under_way: u32,
    /// What the policies allow.
    pub(super) per_second: Option<f64>,
    pub(super) concurrency: Option<u32>,
}

impl Learned {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    pub(super) fn hold(&self, now: Instant) -> Option<Hold> {
        self.hold.filter(|hold| hold.until > now)
    }

    /// Takes an answer in. For a no, returns until when nobody goes, and why. `draw` is a random number in [0, 1).
    pub(super) fn learn(
        &mut self,
        advice: &Advice,
        around: &Around,
        draw: f64,
        now: Instant,
    ) -> Option<Hold> {
        let is_first = around.sent.round == self.round;
        let hold = self.hold(now);
        let is_probe = hold.is_some_and(|hold| hold.is_asked_by(around.sent.at));
        if advice.served && is_first {
            self.in_a_row = 0;
        }
        if advice.served && is_probe && advice.quotas.iter().all(|quota| quota.remaining > 0) {
            self.end_hold(now);
        }
        self.windows(advice, around, draw, now);
        let refused = advice.refused?;
        match refused.wait {
            // What the upstream names is no shorter than what it would be without a name: a billionth of a second, named
            // again and again, is no leave to ask without end.
            Some(wait) if is_first => {
                let wait = wait.max(backoff(self.in_a_row, 0.0));
                self.hold_for(named(wait, draw), refused.cause, now);
            }
            Some(wait) => self.hold_for(named(wait, draw), refused.cause, now),
            None if is_first => {
                self.hold_for(backoff(self.in_a_row, draw), refused.cause, now);
            }
            None => {}
        }
        if is_first {
            self.round += 1;
            self.in_a_row = self.in_a_row.saturating_add(1);
            if is_probe {
                // It went alone, against the upstream's word: it tells nothing about how fast and how many.
                self.put_off(now);
            } else {
                self.lower(&refused, advice.granted, around, now);
            }
        }
        let hold = self.hold(now);
        let hold = hold.unwrap_or_else(|| Hold::new(Duration::ZERO, refused.cause, now));
        Some(hold.because(refused.cause))
    }

    /// What the published windows say, whether the request was served or not.
    fn windows(&mut self, advice: &Advice, around: &Around, draw: f64, now: Instant) {
        // A no has a wait of its own, which goes before.
        if advice.refused.is_none() {
            let used_up = advice.quotas.iter().filter_map(|quota| quota.used_up_for());
            if let Some(reset) = used_up.max() {
                let reset = reset.min(LONGEST_UNASKED);
                self.hold_for(named(reset, draw), Cause::Quota, now);
            }
        }
        if !advice.quotas.is_empty() {
            let needed = around.concurrency.unwrap_or(0).max(around.under_way);
            let others = u64::from(around.under_way.saturating_sub(1));
            let scarce = advice.quotas.iter().filter_map(|quota| {
                let reset = quota.reset.filter(|reset| !reset.is_zero())?;
                (quota.remaining > 0 && quota.remaining <= u64::from(needed)).then(|| {
                    let left = u32::try_from(quota.remaining.saturating_sub(others).max(1));
                    let rate = f64::from(left.unwrap_or(u32::MAX)) / reset.as_secs_f64();
                    Spread::new(rate, now + reset)
                })
            });
            self.spread = scarce.reduce(Spread::slower);
        }
        if let Some(bucket) = advice.bucket {
            let pace = bucket.pace();
            self.leak = pace.map(|(rate, time)| Spread::new(rate, now + time));
        }
    }

    fn hold_for(&mut self, wait: Duration, cause: Cause, now: Instant) {
        let hold = Hold::new(wait, cause, now);
        if self.hold.is_none_or(|before| before.until < hold.until) {
            self.hold = Some(hold);
        }
    }

    /// The upstream serves, whatever it said before. What was lowered begins to rise.
    fn end_hold(&mut self, now: Instant) {
        self.hold = None;
        for lowered in [&mut self.rate, &mut self.places].into_iter().flatten() {
            lowered.since = lowered.since.min(now);
        }
    }

    /// What was lowered does not rise before the hold's end.
    fn put_off(&mut self, now: Instant) {
        if let Some(hold) = self.hold(now) {
            for lowered in [&mut self.rate, &mut self.places].into_iter().flatten() {
                if lowered.at(now).is_some() {
                    lowered.since = lowered.since.max(hold.until);
                }
            }
        }
    }

    fn lower(&mut self, refused: &Refused, granted: Option<f64>, around: &Around, now: Instant) {
        let since = self.hold(now).map_or(now, |hold| hold.until);
        if refused.of != Some(Of::Concurrency) {
            let recent = self.recent.per_second(now);
            let lowered = Lowered::halved(self.rate, recent, SLOWEST, around.per_second, now);
            self.rate = Some(Lowered {
                now: granted
                    .map_or(lowered.now, |granted| lowered.now.min(granted))
                    .max(SLOWEST),
                since,
                ..lowered
            });
        }
        if refused.of != Some(Of::Rate) {
            let under_way = f64::from(around.under_way);
            let allowed = around.concurrency.map(f64::from);
            let lowered = Lowered::halved(self.places, under_way, 1.0, allowed, now);
            self.places = Some(Lowered { since, ..lowered });
        }
    }

    /// A turn is taken.
    pub(super) fn charge(&mut self, now: Instant) {
        self.recent.count(now);
        if let Some(hold) = self.hold.as_mut().filter(|hold| hold.until > now) {
            hold.probed(now);
        }
    }

    /// When a turn may be had before which `before` others are had, none of them earlier than `from`; and what decides.
    ///
    /// The rate is foretold too: it rises by known steps, and what is spread over a window ends with it. So turns are
    /// counted from one change to the next, of which there are a dozen at most.
    pub(super) fn nth(&self, from: Instant, before: u32) -> (Instant, Cause) {
        let (mut from, mut before) = (from, before);
        let (mut last, mut decides) = (self.recent.last, Cause::LearnedRate);
        while let Some((rate, cause)) = self.per_second(from) {
            decides = cause;
            let interval = interval(rate);
            let next = last.map_or(from, |last| from.max(last + interval));
            let Some(change) = self.next_change(from) else {
                return (next + interval * before, cause);
            };
            // Turns between the next one and the change, the next one included.
            let time = change.saturating_duration_since(next).as_nanos();
            let turns = u32::try_from(time.div_ceil(interval.as_nanos())).unwrap_or(u32::MAX);
            if before < turns {
                return (next + interval * before, cause);
            }
            if let Some(others) = turns.checked_sub(1) {
                last = Some(next + interval * others);
            }
            before -= turns;
            from = change;
        }
        (from, decides)
    }

    /// When the rate is next another one.
    fn next_change(&self, now: Instant) -> Option<Instant> {
        let spreads = [self.spread, self.leak].into_iter().flatten();
        spreads
            .map(|spread| spread.until)
            .filter(|until| *until > now)
            .chain(self.rate.and_then(|rate| rate.next_step(now)))
            .min()
    }

    fn per_second(&self, now: Instant) -> Option<(f64, Cause)> {
        let spread = |spread: Option<Spread>| {
            spread
                .filter(|spread| spread.until > now)
                .map(|spread| (spread.per_second, Cause::Quota))
        };
        let lowered = self.rate.and_then(|rate| rate.at(now));
        [
            lowered.map(|rate| (rate, Cause::LearnedRate)),
            spread(self.spread),
            spread(self.leak),
        ]
        .into_iter()
        .flatten()
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
    }

    /// Requests that may be under way, where that was lowered.
    pub(super) fn places(&self, now: Instant) -> Option<u32> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from one to a count of requests"
        )]
        self.places
            .and_then(|places| places.at(now))
            .map(|places| places as u32)
    }

    /// When one of the lowered numbers rises, or one request may ask after the hold.
    pub(super) fn next_step(&self, now: Instant) -> Option<Instant> {
        [self.rate, self.places]
            .into_iter()
            .flatten()
            .filter_map(|lowered| lowered.next_step(now))
            .chain(self.hold(now).and_then(|hold| hold.next_probe(now)))
            .min()
    }

    /// When nothing of it holds any more.
    pub(super) fn forgotten_at(&self) -> Option<Instant> {
        let spreads = [self.spread, self.leak].into_iter().flatten();
        let lowered = [self.rate, self.places].into_iter().flatten();
        let hold = self.hold.map(|hold| hold.until);
        hold.into_iter()
            .chain(spreads.map(|spread| spread.until))
            .chain(lowered.map(|lowered| lowered.ends()))
            .max()
    }
}

/// A wait that the upstream names: never shorter, and a little longer by chance.
fn named(wait: Duration, draw: f64) -> Duration {
    wait + wait.mul_f64(NAMED_JITTER).min(LONGEST_JITTER).mul_f64(draw)
}

/// 1 s, 2 s, 4 s, … and by chance up to a half more.
fn backoff(in_a_row: u32, draw: f64) -> Duration {
    let wait = BACKOFF * 2_u32.saturating_pow(in_a_row.min(16));
    wait.min(LONGEST_BACKOFF)
        .mul_f64(1.0 + BACKOFF_JITTER * draw)
}

#[cfg(test)]
mod tests;
