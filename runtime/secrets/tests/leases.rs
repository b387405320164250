//! What keeps a call's secrets alive: when it prolongs, when it gives up, and that it always closes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use caisson_secrets::*;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

const LIFE: Duration = Duration::from_secs(60);

/// Lives for a minute, is due after two thirds of it, and answers renewals as it was told.
struct Minute {
    since: Instant,
    answers: Arc<Mutex<Vec<ProviderError>>>,
    tell: mpsc::UnboundedSender<(&'static str, Instant)>,
}

struct Minutes {
    answers: Arc<Mutex<Vec<ProviderError>>>,
    tell: mpsc::UnboundedSender<(&'static str, Instant)>,
}

#[async_trait]
impl Provider for Minutes {
    fn scheme(&self) -> Scheme {
        Scheme::Vault
    }

    async fn open(&self, _: &str) -> Result<Box<dyn Session>, ProviderError> {
        Ok(Box::new(Minute {
            since: Instant::now(),
            answers: self.answers.clone(),
            tell: self.tell.clone(),
        }))
    }
}

#[async_trait]
impl Session for Minute {
    async fn read(&mut self, _: &str) -> Result<Content, ProviderError> {
        Ok(Content::Same(SecretValue::new("hunter22")))
    }

    fn due(&self) -> Option<Instant> {
        Some(self.since + LIFE * 2 / 3)
    }

    fn ends(&self) -> Option<Instant> {
        Some(self.since + LIFE)
    }

    async fn renew(&mut self) -> Result<(), ProviderError> {
        self.tell.send(("renew", Instant::now())).unwrap();
        match self.answers.lock().unwrap().pop() {
            Some(error) => Err(error),
            None => {
                self.since = Instant::now();
                Ok(())
            }
        }
    }

    async fn close(&mut self) -> Result<(), ProviderError> {
        self.tell.send(("close", Instant::now())).unwrap();
        Ok(())
    }
}

type Told = mpsc::UnboundedReceiver<(&'static str, Instant)>;

/// A call whose vault answers its first renewals with `answers`, the last one first.
async fn call(answers: Vec<ProviderError>) -> (Leases, Told, Instant) {
    let (tell, told) = mpsc::unbounded_channel();
    let answers = Arc::new(Mutex::new(answers));
    let resolver = Resolver::new([Arc::new(Minutes { answers, tell }) as Arc<dyn Provider>]);
    let rule = SecretRule::parse("k", &["vault:kv/x".to_owned()], true).unwrap();
    let config = json!({ "k": { "$secret": "vault:kv/x" } });
    let resolved = resolver.resolve("c1", &config, &[rule]).await.unwrap();
    (resolved.into_leases(), told, Instant::now())
}

async fn next(told: &mut Told, start: Instant) -> (&'static str, f64) {
    let (what, at) = told.recv().await.unwrap();
    (what, (at - start).as_secs_f64().round())
}

fn away() -> ProviderError {
    ProviderError::unavailable("away", "wait")
}

#[tokio::test(start_paused = true)]
async fn a_session_is_prolonged_at_its_time_and_closed_when_asked() {
    let (leases, mut told, start) = call(vec![]).await;
    assert_eq!(next(&mut told, start).await, ("renew", 40.0));
    assert_eq!(next(&mut told, start).await, ("renew", 80.0));
    leases.close().await;
    assert_eq!(next(&mut told, start).await, ("close", 80.0));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_closed_when_its_handle_is_dropped() {
    let (leases, mut told, start) = call(vec![]).await;
    drop(leases);
    assert_eq!(next(&mut told, start).await, ("close", 0.0));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_is_asked_again_before_the_end() {
    let (leases, mut told, start) = call(vec![away(), away()]).await;
    for second in [40.0, 41.0, 42.0] {
        let (what, at) = next(&mut told, start).await;
        assert_eq!((what, at.max(second) - second < 1.0), ("renew", true));
    }
    assert_eq!(next(&mut told, start).await.0, "renew");
    assert_eq!(*leases.watch().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_prolonged_is_told_when_it_has_ended_and_not_before() {
    let refusal = ProviderError::denied("no longer", "start the call again");
    let (leases, mut told, start) = call(vec![refusal.clone()]).await;
    let ended = leases.ended().await;
    assert_eq!(start.elapsed().as_secs(), LIFE.as_secs());
    assert_eq!(ended.cause, Some(refusal));
    assert_eq!(
        ended.to_string(),
        "the secrets from vault have ended: no longer; start the call again"
    );
    leases.close().await;
    assert_eq!(next(&mut told, start).await.0, "renew");
    assert_eq!(next(&mut told, start).await, ("close", 60.0));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_stays_away_ends_the_secrets() {
    let (leases, _told, start) = call(vec![away(); 100]).await;
    assert_eq!(leases.ended().await.cause, Some(away()));
    assert_eq!(start.elapsed().as_secs(), LIFE.as_secs());
}
