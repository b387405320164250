//! Budgets as a whole, in paused time: who gets a turn, and when.

mod shared;

use super::*;
use crate::name::Name;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3_600);

fn host(name: &str) -> Name {
    Name::parse(name).unwrap()
}

fn rate(per_second: f64, burst: u32) -> Option<Rate> {
    Some(Rate::new(Some(per_second), Some(burst), None).unwrap())
}

fn places(concurrency: u32) -> Option<Rate> {
    Some(Rate::new(None, None, Some(concurrency)).unwrap())
}

fn of(budgets: &Budgets, connection: &str, rate: Option<Rate>) -> Arc<Budget> {
    let credential = Credential::of([], connection);
    Arc::new(budgets.budget(&credential, &host("api.example.com"), rate))
}

async fn turn(budget: &Budget, party: &str) -> Turn {
    let mut waiter = Waiter::new(party, None, HOUR);
    budget.turn(&mut waiter, |_| {}).await.unwrap()
}

fn refuse(turn: &Turn, retry_after: Option<&'static str>) -> Answered {
    let headers = retry_after.map(|after| (header::RETRY_AFTER, HeaderValue::from_static(after)));
    turn.answered(
        StatusCode::TOO_MANY_REQUESTS,
        &HeaderMap::from_iter(headers),
        SystemTime::now(),
    )
}

/// Takes so many turns one after another; when each came, from the beginning.
async fn taken(budget: Arc<Budget>, party: &'static str, turns: usize) -> Vec<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..turns {
        drop(turn(&budget, party).await);
        times.push(began.elapsed());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn two_workers_of_one_credential_share_one_budget() {
    let budgets = Budgets::default();
    let credential = Credential::of(["env:KEY"], "acme/a");
    let other = Credential::of(["env:KEY"], "acme/b");
    let api = host("api.example.com");
    let one = Arc::new(budgets.budget(&credential, &api, rate(10.0, 1)));
    let two = Arc::new(budgets.budget(&other, &api, rate(10.0, 1)));
    let began = Instant::now();
    tokio::join!(taken(one, "a", 50), taken(two, "b", 50));
    let seconds = began.elapsed().as_secs_f64();
    assert!((9.9..10.0).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn other_hosts_and_other_credentials_have_budgets_of_their_own() {
    let budgets = Budgets::default();
    let limited = of(&budgets, "acme/a", rate(1.0, 1));
    refuse(&turn(&limited, "a").await, Some("60"));
    let began = Instant::now();
    drop(turn(&of(&budgets, "acme/b", rate(1.0, 1)), "b").await);
    let elsewhere = budgets.budget(
        &Credential::of([], "acme/a"),
        &host("other.example.com"),
        None,
    );
    drop(turn(&elsewhere, "a").await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(turn(&limited, "a").await);
    assert!(began.elapsed() >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_turns_come_at_the_rate_after_the_burst() {
    let budgets = Budgets::default();
    let times = taken(of(&budgets, "acme/a", rate(25.0, 50)), "a", 1_000).await;
    assert_eq!(times.iter().filter(|time| time.is_zero()).count(), 50);
    let seconds = times[999].as_secs_f64();
    assert!((38.0..38.01).contains(&seconds), "{seconds}");
    for window in times.windows(76) {
        let gone = window[75] - window[0];
        assert!(gone >= Duration::from_secs(1), "76 turns in {gone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_are_under_way_than_there_are_places() {
    let budgets = Budgets::default();
    let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let requests = (0..200_u64).map(|number| {
        let (budget, under_way, most) = (of(&budgets, "acme/a", places(8)), &under_way, &most);
        async move {
            let turn = turn(&budget, "a").await;
            most.fetch_max(
                under_way.fetch_add(1, Ordering::SeqCst) + 1,
                Ordering::SeqCst,
            );
            sleep(Duration::from_millis(number % 7 + 1)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            drop(turn);
        }
    });
    futures_util::future::join_all(requests).await;
    assert_eq!(most.load(Ordering::SeqCst), 8);
}

#[tokio::test(start_paused = true)]
async fn a_modest_connection_waits_for_one_turn_of_a_greedy_one_and_no_more() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(10.0, 1));
    let order = Mutex::new(Vec::new());
    let ask = |party: &'static str, after: u64| {
        let (budget, order) = (Arc::clone(&budget), &order);
        async move {
            sleep(Duration::from_millis(after)).await;
            drop(turn(&budget, party).await);
            order.lock().unwrap().push(party);
        }
    };
    let greedy = futures_util::future::join_all((0..100).map(|_| ask("greedy", 0)));
    let modest = futures_util::future::join_all([250, 1_250, 2_250].map(|at| ask("modest", at)));
    tokio::join!(greedy, modest);
    let order = order.into_inner().unwrap();
    let places: Vec<usize> = (0..order.len())
        .filter(|place| order[*place] == "modest")
        .collect();
    // Three greedy turns have gone by 250 ms, and one more may go before.
    assert!(
        places[0] <= 4 && places[1] <= 15 && places[2] <= 26,
        "{places:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_does_not_fit_ends_before_it_begins() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(0.1, 1));
    drop(turn(&budget, "a").await);
    let began = Instant::now();
    for (deadline, longest) in [
        (Some(began + Duration::from_secs(9)), HOUR),
        (None, Duration::from_secs(9)),
    ] {
        let mut waiter = Waiter::new("a", deadline, longest);
        let exhausted = budget.turn(&mut waiter, |_| {}).await.unwrap_err();
        assert_eq!(exhausted.cause, Cause::PolicyRate);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    drop(turn(&budget, "a").await);
    assert!(
        began.elapsed() >= Duration::from_secs(10),
        "nobody's turn was taken meanwhile"
    );
    let budget = of(&budgets, "acme/b", places(1));
    let held = turn(&budget, "b").await;
    let (began, mut waiter) = (
        Instant::now(),
        Waiter::new("b", None, Duration::from_secs(5)),
    );
    let exhausted = budget.turn(&mut waiter, |_| {}).await.unwrap_err();
    assert_eq!(
        (exhausted.cause, began.elapsed()),
        (Cause::Concurrency, Duration::from_secs(5))
    );
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_gives_up_the_place_in_the_queue_and_the_place_itself() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", places(1));
    let held = turn(&budget, "a").await;
    let gone = tokio::time::timeout(Duration::from_secs(1), turn(&budget, "a")).await;
    assert!(gone.is_err());
    let next = tokio::spawn({
        let budget = Arc::clone(&budget);
        async move { drop(turn(&budget, "b").await) }
    });
    tokio::task::yield_now().await;
    drop(held);
    next.await.unwrap();
    // Granted, and dropped before it looked.
    let held = turn(&budget, "a").await;
    let mut granted = Box::pin(turn(&budget, "a"));
    assert!(futures_util::poll!(&mut granted).is_pending());
    drop(held);
    drop(granted);
    let began = Instant::now();
    drop(turn(&budget, "b").await);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_no_holds_everybody_who_waits_and_who_cannot_wait_that_long_is_told_at_once() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(1.0, 1));
    let first = turn(&budget, "a").await;
    let began = Instant::now();
    let (patient, hurried) = ["b", "c"]
        .map(|party| {
            let budget = Arc::clone(&budget);
            let longest = if party == "b" {
                HOUR
            } else {
                Duration::from_secs(20)
            };
            tokio::spawn(async move {
                let mut waiter = Waiter::new(party, None, longest);
                let turn = budget.turn(&mut waiter, |_| {}).await.map(drop);
                (turn, began.elapsed())
            })
        })
        .into();
    sleep(Duration::from_millis(10)).await;
    assert!(refuse(&first, Some("30")).throttled.is_some());
    drop(first);
    let (told, after) = hurried.await.unwrap();
    assert_eq!(
        told.unwrap_err().cause,
        Cause::RetryAfter(StatusCode::TOO_MANY_REQUESTS)
    );
    assert!(after < Duration::from_secs(1), "{after:?}");
    let (told, after) = patient.await.unwrap();
    assert!(
        told.is_ok() && (30.0..34.0).contains(&after.as_secs_f64()),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_no_the_rate_comes_back_by_steps_to_what_the_policy_allows() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(10.0, 1));
    for _ in 0..30 {
        drop(turn(&budget, "a").await);
    }
    refuse(&turn(&budget, "a").await, Some("1"));
    let times = taken(Arc::clone(&budget), "a", 2_000).await;
    let gap = |at: usize| (times[at + 1] - times[at]).as_secs_f64();
    assert!(gap(1) > 0.15, "halved: {}", gap(1));
    assert!(
        (0.09..0.11).contains(&gap(1_998)),
        "whole again: {}",
        gap(1_998)
    );
    let gaps: Vec<f64> = (1..1_999).map(gap).collect();
    assert!(
        gaps.windows(2).all(|pair| pair[1] <= pair[0] + 0.02),
        "it only rises"
    );
}
