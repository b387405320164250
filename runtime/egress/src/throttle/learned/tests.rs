use super::super::advice;
use super::lowered::STEP;
use super::*;
use http::{HeaderMap, HeaderName, StatusCode};
use std::time::SystemTime;

fn advice(status: u16, headers: &[(&'static str, &str)]) -> Advice {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    advice::read(
        StatusCode::from_u16(status).unwrap(),
        &headers,
        SystemTime::now(),
    )
}

fn around(learned: &Learned, per_second: Option<f64>) -> Around {
    Around {
        sent: Sent {
            round: learned.round(),
            at: Instant::now(),
        },
        under_way: 8,
        per_second,
        concurrency: Some(8),
    }
}

/// Time moves; turns are taken at ten per second for so long.
fn busy(learned: &mut Learned, from: Instant, seconds: u32) -> Instant {
    for turn in 0..seconds * 10 {
        learned.charge(from + Duration::from_millis(100) * turn);
    }
    from + Duration::from_secs(seconds.into())
}

fn rate(learned: &Learned, now: Instant) -> Option<f64> {
    learned.per_second(now).map(|(rate, _)| rate)
}

#[test]
fn waits_without_a_time_double_until_the_upstream_serves() {
    let mut learned = Learned::default();
    let mut now = Instant::now();
    let no = advice(429, &[]);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let around = around(&learned, None);
        let hold = learned.learn(&no, &around, 0.0, now).unwrap();
        assert_eq!(hold.until - now, Duration::from_secs(seconds));
        now = hold.until;
    }
    let served = around(&learned, None);
    assert!(
        learned
            .learn(&advice(200, &[]), &served, 0.0, now)
            .is_none()
    );
    let hold = learned
        .learn(&no, &around(&learned, None), 0.0, now)
        .unwrap();
    assert_eq!(hold.until - now, BACKOFF);
}

#[test]
fn a_failure_of_the_upstream_is_no_reason_to_come_faster() {
    let mut learned = Learned::default();
    let now = Instant::now();
    let no = advice(429, &[]);
    learned.learn(&no, &around(&learned, None), 0.0, now);
    let later = now + BACKOFF;
    learned.learn(&advice(500, &[]), &around(&learned, None), 0.0, later);
    let hold = learned
        .learn(&no, &around(&learned, None), 0.0, later)
        .unwrap();
    assert_eq!(hold.until - later, BACKOFF * 2);
}

#[test]
fn a_round_counts_once_however_many_of_it_are_refused() {
    let mut learned = Learned::default();
    let now = busy(&mut learned, Instant::now(), 10);
    let around = around(&learned, Some(10.0));
    let no = advice(429, &[]);
    let first = learned.learn(&no, &around, 0.0, now).unwrap();
    let lowered = rate(&learned, now);
    for _ in 0..7 {
        let hold = learned.learn(&no, &around, 0.9, now).unwrap();
        assert_eq!(hold.until, first.until);
    }
    assert_eq!((learned.round(), rate(&learned, now)), (1, lowered));
    // One that knows more is heeded, and one that was served before the no changes nothing.
    let named = advice(429, &[("retry-after", "30")]);
    let hold = learned.learn(&named, &around, 0.0, now).unwrap();
    assert_eq!(hold.until - now, Duration::from_secs(30));
    learned.learn(&advice(200, &[]), &around, 0.0, now);
    assert_eq!(learned.in_a_row, 1);
}

#[test]
fn chance_only_lengthens_a_wait() {
    let bounds = [("7", 7.0, 7.7), ("3600", 3_600.0, 3_605.0), ("", 1.0, 1.5)];
    for (header, least, most) in bounds {
        for draw in [0.0, 0.5, 0.999] {
            let mut learned = Learned::default();
            let now = Instant::now();
            let no = advice(429, &[("retry-after", header)]);
            let around = around(&learned, None);
            let hold = learned.learn(&no, &around, draw, now).unwrap();
            let wait = (hold.until - now).as_secs_f64();
            assert!((least..=most).contains(&wait), "{header}: {wait}");
        }
    }
}

#[test]
fn what_was_lowered_rises_by_steps_to_the_policy_and_ends_there() {
    let mut learned = Learned::default();
    let now = busy(&mut learned, Instant::now(), 10);
    let around = around(&learned, Some(10.0));
    let hold = learned.learn(&advice(429, &[]), &around, 0.0, now).unwrap();
    let at = |seconds| {
        let now = hold.until + Duration::from_secs(seconds);
        (rate(&learned, now), learned.places(now))
    };
    assert_eq!(at(0), (Some(5.0), Some(4)));
    assert_eq!(at(9), (Some(5.0), Some(4)));
    assert_eq!(at(10), (Some(6.0), Some(4)));
    assert_eq!(at(20), (Some(7.0), Some(5)));
    assert_eq!(at(40), (Some(9.0), Some(7)));
    assert_eq!(at(50), (None, None));
    let end = learned.forgotten_at().unwrap();
    assert_eq!(end - hold.until, Duration::from_secs(50));
    let first = learned.next_step(hold.until).unwrap();
    assert_eq!(first - hold.until, STEP);
}

#[test]
fn without_a_policy_what_came_through_is_halved_and_later_free_again() {
    let mut learned = Learned::default();
    let now = busy(&mut learned, Instant::now(), 10);
    let around = Around {
        concurrency: None,
        ..around(&learned, None)
    };
    let hold = learned.learn(&advice(429, &[]), &around, 0.0, now).unwrap();
    assert_eq!(learned.places(now), Some(4));
    let halved = rate(&learned, now).unwrap();
    assert!((4.9..5.2).contains(&halved), "{halved}");
    assert_eq!(rate(&learned, hold.until + STEP * 8), None);
}

#[test]
fn no_after_no_lowers_further_but_not_to_a_standstill() {
    let mut learned = Learned::default();
    let mut now = busy(&mut learned, Instant::now(), 10);
    let mut rates = Vec::new();
    for _ in 0..12 {
        let around = around(&learned, Some(10.0));
        let hold = learned.learn(&advice(429, &[("retry-after", "1")]), &around, 0.0, now);
        now = hold.unwrap().until;
        rates.push(rate(&learned, now).unwrap());
    }
    assert!(rates.is_sorted_by(|one, next| one >= next), "{rates:?}");
    assert_eq!(rates.last(), Some(&SLOWEST));
    assert_eq!(learned.places(now), Some(1));
}

#[test]
fn stripe_s_reason_says_what_to_lower() {
    for (reason, is_rate, is_places) in [
        ("global-rate", true, false),
        ("endpoint-concurrency", false, true),
        ("resource-specific", true, true),
    ] {
        let mut learned = Learned::default();
        let now = busy(&mut learned, Instant::now(), 10);
        let around = around(&learned, Some(10.0));
        let no = advice(429, &[("stripe-rate-limited-reason", reason)]);
        learned.learn(&no, &around, 0.0, now);
        let lowered = (rate(&learned, now).is_some(), learned.places(now).is_some());
        assert_eq!(lowered, (is_rate, is_places), "{reason}");
    }
}

#[test]
fn a_published_window_bounds_the_rate_after_a_no() {
    let mut learned = Learned::default();
    let now = busy(&mut learned, Instant::now(), 10);
    let around = around(&learned, Some(10.0));
    let no = advice(429, &[("ratelimit-policy", "\"minute\";q=120;w=60")]);
    learned.learn(&no, &around, 0.0, now);
    assert_eq!(rate(&learned, now), Some(2.0));
}

#[test]
fn a_window_that_is_used_up_holds_everybody_until_its_end() {
    let mut learned = Learned::default();
    let now = Instant::now();
    let last = advice(200, &[("ratelimit", "\"minute\";r=0;t=42")]);
    assert!(
        learned
            .learn(&last, &around(&learned, None), 0.0, now)
            .is_none()
    );
    let hold = learned.hold(now).unwrap();
    assert_eq!(
        (hold.until - now, hold.cause),
        (Duration::from_secs(42), Cause::Quota)
    );
    assert!(learned.hold(hold.until).is_none());
    assert_eq!(rate(&learned, hold.until), None, "nothing is lowered by it");
}

#[test]
fn the_last_of_a_window_is_spread_over_it() {
    let now = Instant::now();
    let paced = |header: &str| {
        let mut learned = Learned::default();
        let around = Around {
            under_way: 1,
            ..around(&learned, None)
        };
        learned.learn(&advice(200, &[("ratelimit", header)]), &around, 0.0, now);
        rate(&learned, now)
    };
    assert_eq!(paced("\"m\";r=9;t=10"), None);
    assert_eq!(paced("\"m\";r=8;t=10"), Some(0.8));
    assert_eq!(paced("\"m\";r=8;t=10, \"h\";r=6;t=20"), Some(0.3));
    assert_eq!(paced("\"d\";r=8;t=36000"), Some(SLOWEST));
    assert_eq!(paced("\"m\";r=8;t=0"), None);
}

#[test]
fn what_is_under_way_is_taken_from_what_is_left() {
    let mut learned = Learned::default();
    let now = Instant::now();
    let around = around(&learned, None);
    learned.learn(
        &advice(200, &[("ratelimit", "\"m\";r=8;t=10")]),
        &around,
        0.0,
        now,
    );
    assert_eq!(rate(&learned, now), Some(0.1));
    assert_eq!(rate(&learned, now + Duration::from_secs(10)), None);
    let later = advice(200, &[("ratelimit", "\"m\";r=100;t=10")]);
    learned.learn(&later, &around, 0.0, now);
    assert_eq!(rate(&learned, now), None, "there is plenty again");
}

#[test]
fn a_bucket_that_is_nearly_full_is_filled_as_fast_as_it_leaks() {
    let mut learned = Learned::default();
    let now = Instant::now();
    let full = |used| advice(200, &[("x-shopify-shop-api-call-limit", used)]);
    learned.learn(&full("32/40"), &around(&learned, None), 0.0, now);
    assert_eq!(rate(&learned, now), Some(2.0));
    assert_eq!(rate(&learned, now + Duration::from_secs(20)), None);
    learned.learn(&full("20/40"), &around(&learned, None), 0.0, now);
    assert_eq!(rate(&learned, now), None);
}

#[test]
fn what_is_foretold_at_a_learned_rate_is_what_comes() {
    let mut learned = Learned::default();
    let now = Instant::now();
    learned.charge(now);
    learned.spread = Some(Spread::new(2.0, now + Duration::from_secs(60)));
    for before in 0..5 {
        let (at, cause) = learned.nth(now, before);
        let wait = (at - now).as_millis();
        assert_eq!(
            (wait, cause),
            (500 * (u128::from(before) + 1), Cause::Quota)
        );
    }
}

/// An answer to a request that was sent then, in the round that runs.
fn answer(learned: &mut Learned, sent: Instant, advice: &Advice, now: Instant) {
    let mut around = around(learned, None);
    around.sent.at = sent;
    learned.learn(advice, &around, 0.0, now);
}

#[test]
fn a_named_wait_in_a_row_is_no_shorter_than_one_that_is_not_named() {
    let mut learned = Learned::default();
    let mut now = Instant::now();
    let mut wait = |after: &str| {
        let no = advice(429, &[("retry-after", after)]);
        let hold = learned.learn(&no, &around(&learned, None), 0.0, now);
        let wait = hold.unwrap().until - now;
        now += wait;
        wait.as_secs()
    };
    let tiny = "0.000000001";
    assert_eq!(
        [wait(tiny), wait(tiny), wait("3"), wait("30")],
        [1, 2, 4, 30]
    );
    let served = around(&learned, None);
    learned.learn(&advice(200, &[]), &served, 0.0, now);
    let no = advice(429, &[("retry-after", tiny)]);
    let hold = learned.learn(&no, &around(&learned, None), 0.0, now);
    assert_eq!(hold.unwrap().until - now, BACKOFF, "a row of its own");
}

#[test]
fn steps_to_come_are_foretold() {
    let mut learned = Learned::default();
    let now = busy(&mut learned, Instant::now(), 10);
    let around = around(&learned, Some(10.0));
    let no = advice(429, &[("retry-after", "1")]);
    let from = learned.learn(&no, &around, 0.0, now).unwrap().until;
    let foretold: Vec<_> = (0..500).map(|before| learned.nth(from, before).0).collect();
    // 5, 6, 7, 8 and 9 per second for ten seconds each, and no bound after them.
    let seconds = |turn: usize| (foretold[turn] - from).as_secs_f64();
    assert!((9.7..=10.1).contains(&seconds(50)), "{}", seconds(50));
    assert!((19.7..=20.2).contains(&seconds(110)), "{}", seconds(110));
    assert_eq!((seconds(360), seconds(499)), (50.0, 50.0));
    for (turn, at) in foretold.into_iter().enumerate() {
        assert_eq!(learned.nth(at, 0).0, at, "turn {turn} comes when foretold");
        learned.charge(at);
    }
}

#[test]
fn what_an_answer_that_serves_says_is_used_up_holds_an_hour_at_most() {
    let mut learned = Learned::default();
    let now = Instant::now();
    let last = advice(
        200,
        &[
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "60000"),
        ],
    );
    answer(&mut learned, now, &last, now);
    assert_eq!(learned.hold(now).unwrap().until - now, LONGEST_UNASKED);
}

#[test]
fn a_long_hold_ends_with_an_answer_that_serves_who_asked_after_it() {
    let mut learned = Learned::default();
    let now = Instant::now();
    answer(
        &mut learned,
        now,
        &advice(429, &[("retry-after", "9999999999")]),
        now,
    );
    let plenty = advice(200, &[("ratelimit", "\"m\";r=5000;t=60")]);
    let until = |learned: &Learned, at| learned.hold(at).map(|hold| hold.until);
    let day = until(&learned, now);
    assert_eq!(day.unwrap() - now, Duration::from_secs(86_400));
    answer(&mut learned, now, &plenty, now);
    assert_eq!(until(&learned, now), day, "it was sent before the no");
    let probe = learned.hold(now).unwrap().next_probe(now).unwrap();
    assert_eq!(probe - now, hold::PROBE_EVERY);
    learned.charge(probe);
    let later = probe + Duration::from_secs(1);
    for keeps in [
        advice(500, &[]),
        advice(429, &[]),
        advice(200, &[("ratelimit", "\"m\";r=0;t=60")]),
    ] {
        answer(&mut learned, probe, &keeps, later);
        assert_eq!(until(&learned, later), day, "{keeps:?}");
    }
    let next = learned.hold(later).unwrap().next_probe(later);
    assert_eq!(next, Some(probe + hold::PROBE_EVERY));
    answer(&mut learned, probe, &plenty, later);
    assert_eq!(until(&learned, later), None);
    let rises = learned.next_step(later).unwrap();
    assert_eq!(rises - later, STEP, "what was lowered rises from now on");
}

#[test]
fn who_asks_after_a_hold_and_hears_no_lowers_nothing() {
    let mut learned = Learned::default();
    let now = busy(&mut learned, Instant::now(), 10);
    let no = advice(429, &[("retry-after", "7200")]);
    let first = around(&learned, Some(10.0));
    learned.learn(&no, &first, 0.0, now);
    let probe = now + hold::PROBE_EVERY;
    learned.charge(probe);
    answer(&mut learned, probe, &no, probe + Duration::from_secs(1));
    let until = learned.hold(probe).unwrap().until;
    assert_eq!(until - probe, Duration::from_secs(7_201));
    assert_eq!(
        (rate(&learned, until), learned.places(until)),
        (Some(5.0), Some(4))
    );
}

#[test]
fn a_hold_that_is_short_enough_is_waited_out() {
    let mut learned = Learned::default();
    let now = Instant::now();
    answer(
        &mut learned,
        now,
        &advice(429, &[("retry-after", "900")]),
        now,
    );
    let hold = learned.hold(now).unwrap();
    assert_eq!(hold.next_probe(now), None);
    let almost = hold.until - Duration::from_secs(1);
    assert_eq!(hold.from(0, almost), hold.until);
}
