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
/// The part of these that one credential is sure to keep, 512 of them: what it has beyond goes first, so that one tenant's
/// hosts do not make another's be forgotten.
const SHARES: usize = 32;

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
    /// Forgets budgets that nobody uses and that know nothing any more. Where there are the most, also those that know
    /// something, until a quarter is free: of the credentials that have more than a share of them, those that would forget
    /// soonest; and if that is not enough, with ever smaller shares.
    fn forget(&mut self, now: Instant) {
        self.accounts.retain(|_, account| {
            is_used(account) || forgotten_at(account).is_some_and(|at| at > now)
        });
        let is_full = self.accounts.len() >= self.most;
        if is_full {
            let few = self.most - self.most / 4;
            let mut share = (self.most / SHARES).max(1);
            self.cut(share);
            while self.accounts.len() > few && share > 0 {
                share /= 2;
                self.cut(share);
            }
        }
        // Where more are in use than are remembered, not every new one is a reason to look.
        let kept = self.accounts.len();
        let highest = if is_full {
            self.most.max(kept + kept / 4 + 1)
        } else {
            self.most
        };
        self.look_at = (kept * 2).clamp(FEW.min(self.most), highest);
    }

    /// Leaves each credential so many of the budgets that nobody uses: those that would be remembered longest.
    fn cut(&mut self, share: usize) {
        let mut idle: HashMap<&Credential, Vec<(Option<Instant>, &Name)>> = HashMap::new();
        for ((credential, host), account) in &self.accounts {
            if !is_used(account) {
                let known = idle.entry(credential).or_default();
                known.push((forgotten_at(account), host));
            }
        }
        let mut gone = Vec::new();
        for (credential, mut known) in idle {
            let beyond = known.len().saturating_sub(share);
            known.sort_unstable();
            let beyond = known.into_iter().take(beyond);
            gone.extend(beyond.map(|(_, host)| (credential.clone(), host.clone())));
        }
        for key in gone {
            self.accounts.remove(&key);
        }
    }
}

/// An account is only handed out under the lock of the table, so one that nobody has stays so while that is held.
fn is_used(account: &Arc<Account>) -> bool {
    Arc::strong_count(account) > 1
}

fn forgotten_at(account: &Arc<Account>) -> Option<Instant> {
    account.state().forgotten_at()
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

    fn knows(budgets: &Budgets, credential: &Credential, number: u32) -> bool {
        let key = (credential.clone(), host(number));
        budgets.0.lock().unwrap().accounts.contains_key(&key)
    }

    /// Has the host say no for so long.
    async fn refused(budgets: &Budgets, number: u32, seconds: u32) {
        refused_to(budgets, &credential(), number, seconds).await;
    }

    async fn refused_to(budgets: &Budgets, credential: &Credential, number: u32, seconds: u32) {
        let budget = budgets.budget(credential, &host(number), None);
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

    #[tokio::test(start_paused = true)]
    async fn one_credential_s_hosts_without_end_do_not_make_another_s_be_forgotten() {
        let budgets = Budgets::remembering(320);
        let (modest, endless) = (credential(), Credential::of([], "evil/endless"));
        for number in 0..10 {
            refused_to(&budgets, &modest, number, 60).await;
        }
        let mut fewest = 320;
        for number in 0..2_000 {
            refused_to(&budgets, &endless, number, 86_400).await;
            let known = budgets.known();
            assert!(known <= 320);
            if number >= 320 {
                fewest = fewest.min(known);
            }
        }
        assert!((0..10).all(|number| knows(&budgets, &modest, number)));
        assert_eq!(
            fewest,
            10 + 320 / SHARES + 1,
            "its own share, and the new one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_credentials_at_once_lose_what_each_would_forget_soonest() {
        let budgets = Budgets::remembering(320);
        for number in 0..1_000 {
            let credential = Credential::of([], &format!("acme/c{}", number % 40));
            refused_to(&budgets, &credential, number, 100_000 - number).await;
            assert!(budgets.known() <= 320);
        }
        assert!(budgets.known() >= 40, "{}", budgets.known());
    }
}
