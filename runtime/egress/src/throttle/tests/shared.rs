//! What many parties do to one budget: who holds its places, who is woken, and who is let wait.

use super::*;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

/// Asks for a turn of `budget`, and counts how often it is looked at meanwhile.
async fn counted(budget: &Budget, longest: Duration, looks: &AtomicUsize) -> Result<(), Exhausted> {
    let mut waiter = Waiter::new("a", None, longest);
    let mut asked = pin!(budget.turn(&mut waiter, |_| {}));
    std::future::poll_fn(|context| {
        looks.fetch_add(1, Ordering::SeqCst);
        asked.as_mut().poll(context)
    })
    .await
    .map(drop)
}

/// Has the upstream say no so often that next to nothing is left of the rate.
async fn lower(budget: &Budget) {
    for _ in 0..10 {
        refuse(&turn(budget, "a").await, Some("1"));
    }
}

/// Holds what it gets without end.
fn hoard(budget: &Arc<Budget>, party: &'static str, turns: usize) -> Arc<Mutex<Vec<Turn>>> {
    let hoard = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..turns {
        let (budget, hoard) = (Arc::clone(budget), Arc::clone(&hoard));
        tokio::spawn(async move {
            let turn = turn(&budget, party).await;
            hoard.lock().unwrap().push(turn);
        });
    }
    hoard
}

#[tokio::test(start_paused = true)]
async fn who_gives_nothing_back_gets_no_more_than_a_share_while_others_wait() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", places(8));
    let mut asked = Vec::new();
    for _ in 0..50 {
        let budget = Arc::clone(&budget);
        asked.push(tokio::spawn(async move {
            let turn = turn(&budget, "b").await;
            sleep(Duration::from_secs(1)).await;
            drop(turn);
        }));
    }
    let hoarded = hoard(&budget, "hoarder", 100);
    let held = || hoarded.lock().unwrap().len();
    // Eight in the first second, while none was hoarded, and four in each that follows.
    sleep(Duration::from_millis(10_500)).await;
    assert_eq!(held(), 4);
    futures_util::future::join_all(asked).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(held(), 8, "nobody else waits");
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_foretold_with_the_steps_by_which_the_rate_comes_back() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(25.0, 25));
    lower(&budget).await;
    // At a request in ten seconds the last of them would come after 400 seconds.
    let (began, looks) = (Instant::now(), AtomicUsize::new(0));
    let longest = Duration::from_secs(300);
    let asked = (0..40).map(|_| counted(&budget, longest, &looks));
    for told in futures_util::future::join_all(asked).await {
        assert_eq!(told, Ok(()));
    }
    assert!(began.elapsed() < Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_not_woken_by_what_changes_nothing_for_it() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(25.0, 25));
    lower(&budget).await;
    let looks = AtomicUsize::new(0);
    let asked = (0..1_000).map(|_| counted(&budget, HOUR, &looks));
    let told = futures_util::future::join_all(asked.map(Box::pin)).await;
    assert!(told.iter().all(Result::is_ok));
    // One look at the beginning, one when its turn comes, and a few for those in front, who keep the time: not one more for
    // each of ten steps.
    let looks = looks.into_inner();
    assert!(looks < 5_000, "{looks}");
}

#[tokio::test(start_paused = true)]
async fn a_longer_hold_wakes_those_who_cannot_wait_that_long_and_nobody_else() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", rate(1.0, 2));
    let (first, second) = (turn(&budget, "a").await, turn(&budget, "a").await);
    let looks = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let seconds = |seconds| Duration::from_secs(seconds);
    let patient = (0..100).map(|_| Box::pin(counted(&budget, HOUR, &looks[0])));
    let hurried = (0..5).map(|_| Box::pin(counted(&budget, seconds(150), &looks[1])));
    let mut patient = futures_util::future::join_all(patient);
    let mut hurried = futures_util::future::join_all(hurried);
    assert!(futures_util::poll!(&mut patient).is_pending());
    assert!(futures_util::poll!(&mut hurried).is_pending());
    let before = looks[0].load(Ordering::SeqCst);
    refuse(&first, Some("300"));
    let Poll::Ready(told) = futures_util::poll!(&mut hurried) else {
        panic!("they are told at once");
    };
    assert!(told.iter().all(Result::is_err));
    refuse(&second, Some("400"));
    assert!(futures_util::poll!(&mut patient).is_pending());
    let woken = looks[0].load(Ordering::SeqCst) - before;
    assert!(woken < 10, "{woken}");
}

#[tokio::test(start_paused = true)]
async fn of_one_party_only_so_many_are_let_wait() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", places(1));
    let held = turn(&budget, "a").await;
    let _waiting = hoard(&budget, "a", 4_096);
    sleep(Duration::from_millis(1)).await;
    let mut waiter = Waiter::new("a", None, HOUR);
    let began = Instant::now();
    let told = budget.turn(&mut waiter, |_| {}).await;
    assert_eq!(told.unwrap_err().cause, Cause::Concurrency);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let mut other = Waiter::new("b", None, HOUR);
    let mut asked = pin!(budget.turn(&mut other, |_| {}));
    let others = futures_util::poll!(&mut asked);
    assert!(others.is_pending(), "others have lines of their own");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_hold_of_a_day_is_asked_after_and_ends_with_an_answer() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", None);
    refuse(&turn(&budget, "a").await, Some("9999999999"));
    let ask = async || {
        let mut waiter = Waiter::new("a", None, HOUR);
        budget.turn(&mut waiter, |_| {}).await
    };
    assert!(ask().await.is_err(), "nobody waits in order to ask");
    sleep(Duration::from_secs(301)).await;
    let probe = ask().await.unwrap();
    assert!(ask().await.is_err(), "one asks for all");
    refuse(&probe, None);
    drop(probe);
    sleep(Duration::from_secs(299)).await;
    assert!(ask().await.is_err(), "every five minutes");
    sleep(Duration::from_secs(2)).await;
    let probe = ask().await.unwrap();
    probe.answered(StatusCode::OK, &HeaderMap::new(), SystemTime::now());
    assert!(ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_waits_a_long_hold_out_asks_after_it_too() {
    let budgets = Budgets::default();
    let budget = of(&budgets, "acme/a", None);
    refuse(&turn(&budget, "a").await, Some("3000"));
    let began = Instant::now();
    let asks = ["a", "b", "b"].map(|party| {
        let budget = &budget;
        async move {
            let turn = turn(budget, party).await;
            turn.answered(StatusCode::OK, &HeaderMap::new(), SystemTime::now());
            began.elapsed().as_secs()
        }
    });
    let waited = futures_util::future::join_all(asks).await;
    assert_eq!(waited[0], 300);
    assert!(waited.iter().all(|waited| *waited < 400), "{waited:?}");
}
