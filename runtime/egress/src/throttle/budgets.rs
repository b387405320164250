//! All budgets of a daemon.

use super::budget::Budget;
use super::credential::Credential;
use super::rate::Rate;
use super::turn::Account;
use crate::name::Name;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// Budgets below which nobody looks for what can be forgotten.
const FEW: usize = 64;
/// Budgets that are remembered while nobody uses them. Whoever reaches hosts without end (`*.example.com`) and is told by
/// each to stay away must not fill the daemon's memory.
const MOST: usize = 16_384;

/// The budgets of all credentials and hosts. A clone is the same budgets.
#[derive(Debug, Clone)]
pub struct Budgets(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    accounts: HashMap<(Credential, Name), Arc<Account>>,
    /// How many there may be before the next look for what can be forgotten.
    look_at: usize,
    most: usize,
}

impl Default for Budgets {
    fn default() -> Self {
        Self::remembering(MOST)
    }
}

impl Budgets {
    fn remembering(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            accounts: HashMap::new(),
            look_at: FEW.min(most),
            most,
        })))
    }

    /// The budget of a credential towards a host, for a call whose policy has this rate. It is one and the same for all who
    /// ask, whatever their rate.
    #[must_use]
    pub fn budget(&self, credential: &Credential, host: &Name, rate: Option<Rate>) -> Budget {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (credential.clone(), host.clone());
        if !table.accounts.contains_key(&key) && table.accounts.len() >= table.look_at {
            table.forget(Instant::now());
        }
        let account = Arc::clone(table.accounts.entry(key).or_default());
        drop(table);
        Budget::new(account, rate)
    }
}

impl Table {
    /// Forgets budgets that nobody uses and that know nothing any more; beyond the most, those that would forget soonest.
    fn forget(&mut self, now: Instant) {
        // An account is only handed out under the lock of this table, so one that nobody has stays so.
        let is_used = |account: &Arc<Account>| Arc::strong_count(account) > 1;
        let forgotten_at = |account: &Arc<Account>| account.state().forgotten_at();
        self.accounts.retain(|_, account| {
            is_used(account) || forgotten_at(account).is_some_and(|at| at > now)
        });
        if self.accounts.len() >= self.most {
            let mut idle: Vec<_> = self
                .accounts
                .values()
                .filter(|account| !is_used(account))
                .map(forgotten_at)
                .collect();
            idle.sort_unstable();
            let middle = idle.get(idle.len() / 2).copied().flatten();
            self.accounts
                .retain(|_, account| is_used(account) || forgotten_at(account) > middle);
        }
        // Where more are in use than are remembered, not every new one is a reason to look.
        let kept = self.accounts.len();
        let highest = if kept < self.most {
            self.most
        } else {
            kept + kept / 4 + 1
        };
        self.look_at = (kept * 2).clamp(FEW.min(self.most), highest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::Waiter;
    use http::{HeaderMap, StatusCode, header};
    use std::time::{Duration, SystemTime};

    impl Budgets {
        fn known(&self) -> usize {
            self.0.lock().unwrap().accounts.len()
        }
    }

    fn host(number: u32) -> Name {
        Name::parse(&format!("h{number}.example.com")).unwrap()
    }

    fn credential() -> Credential {
        Credential::of([], "acme/shop")
    }

    /// Has the host say no for so long.
    async fn refused(budgets: &Budgets, number: u32, seconds: u32) {
        let budget = budgets.budget(&credential(), &host(number), None);
        let mut waiter = Waiter::new("acme/shop", None, Duration::ZERO);
        let turn = budget.turn(&mut waiter, |_| {}).await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, seconds.into());
        let status = StatusCode::TOO_MANY_REQUESTS;
        turn.answered(status, &headers, SystemTime::now());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_and_knows_nothing_is_forgotten() {
        let budgets = Budgets::default();
        let held = budgets.budget(&credential(), &host(0), None);
        refused(&budgets, 1, 3_600).await;
        for number in 2..1_000 {
            drop(budgets.budget(&credential(), &host(number), None));
        }
        assert!(budgets.known() <= FEW, "{}", budgets.known());
        let budget = budgets.budget(&credential(), &host(1), None);
        let mut waiter = Waiter::new("acme/shop", None, Duration::ZERO);
        let again = budget.turn(&mut waiter, |_| {}).await;
        assert!(again.is_err(), "a no is not forgotten");
        let table = budgets.0.lock().unwrap();
        let kept = &table.accounts[&(credential(), host(0))];
        assert!(held.is_of(kept), "what is used is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_without_end_that_say_no_do_not_fill_the_memory() {
        let budgets = Budgets::remembering(100);
        for number in 0..1_000 {
            refused(&budgets, number, 1_000 + number).await;
            assert!(budgets.known() <= 100);
        }
        let held: Vec<_> = (0..150)
            .map(|number| budgets.budget(&credential(), &host(number), None))
            .collect();
        assert!(budgets.known() >= held.len(), "what is used is kept");
    }
}
