//! A refresh token in a store of memory, in time that passes by itself: what no real server does on demand.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::value::RawValue;

use super::*;
use crate::provider::Content;
use crate::reference::Scheme;

type Fields = BTreeMap<String, String>;

/// What stands there, and how many requests from now on fail.
#[derive(Clone, Default)]
struct Store {
    entry: Arc<Mutex<(Fields, u64)>>,
    /// Before it is done, and after.
    away: Arc<AtomicUsize>,
    unheard: Arc<AtomicUsize>,
}

fn takes_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

fn away() -> ProviderError {
    ProviderError::unavailable("away", "wait")
}

impl Store {
    fn with(fields: &[(&str, &str)]) -> Store {
        let store = Store::default();
        store.change(fields);
        store
    }

    fn change(&self, fields: &[(&str, &str)]) {
        let mut entry = self.entry.lock().unwrap();
        for (name, value) in fields {
            entry.0.insert((*name).to_owned(), (*value).to_owned());
        }
        entry.1 += 1;
    }

    fn get(&self, name: &str) -> Option<String> {
        self.entry.lock().unwrap().0.get(name).cloned()
    }
}

#[async_trait]
impl Provider for Store {
    fn scheme(&self) -> Scheme {
        Scheme::Vault
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Session for Store {
    async fn read(&mut self, _: &str) -> Result<Content, ProviderError> {
        unreachable!("an entry is read whole")
    }

    async fn entry(&mut self, _: &str) -> Result<Entry, ProviderError> {
        if takes_one(&self.away) {
            return Err(away());
        }
        let entry = self.entry.lock().unwrap();
        let raw = |text: &String| RawValue::from_string(serde_json::to_string(text).unwrap());
        let fields: Vec<_> = entry
            .0
            .iter()
            .map(|(name, text)| (name.clone(), raw(text).unwrap()))
            .collect();
        let fields = fields.iter().map(|(name, raw)| (name.clone(), &**raw));
        Ok(Entry::new(fields, entry.1))
    }

    async fn store(&mut self, _: &str, written: &Entry) -> Result<bool, ProviderError> {
        if takes_one(&self.away) {
            return Err(away());
        }
        let mut entry = self.entry.lock().unwrap();
        if entry.1 != written.version() {
            return Ok(false);
        }
        entry.0 = serde_json::from_str(&written.to_json()).unwrap();
        entry.1 += 1;
        if takes_one(&self.unheard) {
            return Err(away());
        }
        Ok(true)
    }
}

fn kept(store: &Store, own: &str, recipe: &str) -> Kept {
    Kept {
        provider: Arc::new(store.clone()),
        reference: Reference::parse("vault:kv/data/crm#r").unwrap(),
        recipe: Digest::of(&[recipe]),
        own: own.into(),
        place: Arc::default(),
    }
}

fn gives(refresh: Option<&str>, access: &str) -> Result<Given, ProviderError> {
    Ok(Given {
        since: Instant::now(),
        refresh_token: refresh.map(SecretValue::new),
        access: Ok((SecretValue::new(access), Some(Duration::from_secs(3600)))),
    })
}

/// Takes every refresh token once.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Vec<String>>>);

impl Service {
    async fn ask(&self, token: SecretValue) -> Result<Given, ProviderError> {
        let mut used = self.0.lock().unwrap();
        if used.iter().any(|used| used == token.expose()) {
            return Err(ProviderError::denied("used twice", "log in again"));
        }
        used.push(token.expose().to_owned());
        let number = used.len();
        gives(Some(&format!("r{number}")), &format!("a{number}"))
    }

    fn used(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_stands_in_the_store_and_is_for_its_recipe_alone() {
    let (store, service) = (
        Store::with(&[("r", "r0"), ("note", "x")]),
        Service::default(),
    );
    let ask = |token| service.ask(token);
    let one = kept(&store, "me", "one");
    assert_eq!(one.refresh(None, ask).await.unwrap().value.expose(), "a1");
    assert_eq!(
        (store.get("r").unwrap(), store.get("note").unwrap()),
        ("r1".into(), "x".into())
    );
    assert_eq!(store.get("r_in_use_by"), None);
    // Another daemon uses what is stored; another recipe does not, and neither does who was refused with it.
    let other = kept(&store, "other", "one");
    assert_eq!(other.refresh(None, ask).await.unwrap().value.expose(), "a1");
    let rejected = SecretValue::new("a1");
    let another = other.refresh(Some(&rejected), ask).await.unwrap();
    assert_eq!(another.value.expose(), "a2");
    let admin = kept(&store, "me", "two");
    assert_eq!(admin.refresh(None, ask).await.unwrap().value.expose(), "a3");
    assert_eq!(service.used(), ["r0", "r1", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_gives_the_same_access_token_again_still_has_its_refresh_token_stored() {
    let store = Store::with(&[("r", "r0"), ("r_access_token", "a")]);
    let own = kept(&store, "me", "one");
    own.refresh(None, |_| async { gives(Some("r1"), "a") })
        .await
        .unwrap();
    assert_eq!(store.get("r").as_deref(), Some("r1"));
    assert_eq!(store.get("r_in_use_by"), None);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_stored_although_its_access_token_cannot_be_used() {
    let store = Store::with(&[("r", "r0")]);
    let odd = |_| async {
        Ok(Given {
            since: Instant::now(),
            refresh_token: Some(SecretValue::new("r1")),
            access: Err(ProviderError::malformed("no Bearer", "look")),
        })
    };
    let refused = kept(&store, "me", "one").refresh(None, odd).await;
    assert_eq!(refused.unwrap_err().message, "no Bearer");
    assert_eq!(store.get("r").as_deref(), Some("r1"));
    assert_eq!(
        (store.get("r_access_token"), store.get("r_in_use_by")),
        (None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_long_and_answers_that_are_lost_lose_no_token() {
    let (store, service) = (Store::with(&[("r", "r0")]), Service::default());
    let own = kept(&store, "me", "one");
    let ask = |token| {
        store.away.store(60, Ordering::SeqCst);
        store.unheard.store(1, Ordering::SeqCst);
        service.ask(token)
    };
    let began = Instant::now();
    assert_eq!(own.refresh(None, ask).await.unwrap().value.expose(), "a1");
    assert!(began.elapsed() > Duration::from_secs(240));
    assert_eq!(store.get("r").as_deref(), Some("r1"));
    assert_eq!(service.used(), ["r0"]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_another_is_waited_for_and_of_one_that_is_gone_for_a_minute() {
    let (store, service) = (
        Store::with(&[("r", "r0"), ("r_in_use_by", "gone")]),
        Service::default(),
    );
    let own = kept(&store, "me", "one");
    let began = Instant::now();
    own.refresh(None, |token| service.ask(token)).await.unwrap();
    assert!(began.elapsed() >= CLAIMED && began.elapsed() < CLAIMED * 2);
    // One of its own was left by an attempt whose answer was lost.
    store.change(&[("r_in_use_by", "me")]);
    let not = SecretValue::new("a1");
    let began = Instant::now();
    own.refresh(Some(&not), |token| service.ask(token))
        .await
        .unwrap();
    assert!(began.elapsed() < LOOK);
    assert_eq!(store.get("r_in_use_by"), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_is_stored_although_somebody_took_the_claim_and_not_where_somebody_logged_in()
 {
    let store = Store::with(&[("r", "r0")]);
    let own = kept(&store, "me", "one");
    let taken_over = |_| async {
        store.change(&[("r_in_use_by", "other")]);
        gives(Some("r1"), "a1")
    };
    let current = own.refresh(None, taken_over).await.unwrap();
    assert_eq!(current.value.expose(), "a1");
    assert_eq!(store.get("r").as_deref(), Some("r1"));
    assert_eq!(store.get("r_in_use_by").as_deref(), Some("other"));

    let store = Store::with(&[("r", "r0")]);
    let asked = AtomicUsize::new(0);
    let logged_in = |token: SecretValue| {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            store.change(&[("r", "new")]);
        } else {
            assert_eq!(token.expose(), "new");
        }
        async { gives(Some("r9"), "a9") }
    };
    kept(&store, "me", "one")
        .refresh(None, logged_in)
        .await
        .unwrap();
    assert_eq!(
        (asked.load(Ordering::SeqCst), store.get("r").unwrap()),
        (2, "r9".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_given_back_where_nothing_was_given() {
    let store = Store::with(&[("r", "r0")]);
    let refuses = |_| async { Err(ProviderError::denied("no", "log in again")) };
    let refused = kept(&store, "me", "one").refresh(None, refuses).await;
    assert_eq!(refused.unwrap_err().message, "no");
    assert_eq!(
        (store.get("r").unwrap(), store.get("r_in_use_by")),
        ("r0".into(), None)
    );
    // Written, and the answer was lost.
    store.unheard.store(1, Ordering::SeqCst);
    let unasked = |_| async { panic!("nobody may use it") };
    assert!(
        kept(&store, "me", "one")
            .refresh(None, unasked)
            .await
            .is_err()
    );
    assert_eq!(store.get("r_in_use_by"), None);
}
