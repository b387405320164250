//! The record of calls: repeated requests, endings, pages, abandoned calls.

use caisson_state::*;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

async fn calls() -> (tempfile::TempDir, Calls) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.db")).await.unwrap();
    (dir, Calls::new(&store))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn some(entries: u32) -> Bound {
    Bound {
        entries,
        bytes: u64::MAX,
    }
}

fn call(id: &str, request_id: Option<&str>, seconds: i64) -> NewCall {
    NewCall {
        call_id: id.into(),
        request_id: request_id.map(Into::into),
        fingerprint: "f1".into(),
        tenant: "acme".into(),
        workspace: "default".into(),
        kind: "read".into(),
        connection: "shop".into(),
        connector: "shop@1.4.2".into(),
        started: at(seconds),
    }
}

fn succeeded() -> Ending {
    Ending {
        state: CallState::Succeeded,
        ended: at(9),
        summary: Some(json!({ "records": 3 })),
        failure: None,
        requested: true,
        released: false,
        connector: "shop@1.4.2".into(),
    }
}

fn long_ago() -> DateTime<Utc> {
    at(0) - TimeDelta::days(1)
}

fn refused() -> Ending {
    Ending {
        state: CallState::Failed,
        ended: at(9),
        summary: None,
        failure: Some(json!({ "code": "EGRESS_DENIED" })),
        requested: true,
        released: true,
        connector: String::new(),
    }
}

#[tokio::test]
async fn a_repeated_request_finds_its_call_running_and_ended() {
    let (_dir, calls) = calls().await;
    assert_eq!(
        calls
            .begin(&call("c1", Some("r1"), 0), long_ago())
            .await
            .unwrap(),
        Begun::New
    );
    let Begun::Existing(record) = calls
        .begin(&call("c2", Some("r1"), 1), long_ago())
        .await
        .unwrap()
    else {
        panic!("it is running")
    };
    assert_eq!(
        (record.call.call_id.as_str(), record.state),
        ("c1", CallState::Running)
    );
    calls.finish("c1", &succeeded()).await.unwrap();
    let Begun::Existing(record) = calls
        .begin(&call("c3", Some("r1"), 2), long_ago())
        .await
        .unwrap()
    else {
        panic!("it has ended")
    };
    assert_eq!(
        (record.state, record.summary, record.ended),
        (
            CallState::Succeeded,
            Some(json!({ "records": 3 })),
            Some(at(9))
        )
    );
}

#[tokio::test]
async fn a_call_without_a_request_id_is_there_for_whoever_opens_the_state_of_a_dead_daemon() {
    let (dir, calls) = calls().await;
    for id in ["c1", "c2"] {
        let begun = calls.begin(&call(id, None, 0), long_ago()).await.unwrap();
        assert_eq!(begun, Begun::New);
    }
    let ending = Ending {
        requested: false,
        ..succeeded()
    };
    calls.finish("c1", &ending).await.unwrap();
    // Not closed before.
    let next = Store::open(&dir.path().join("state.db")).await.unwrap();
    let state = async |id| Calls::new(&next).get(id).await.unwrap().state;
    assert_eq!(state("c1").await, CallState::Succeeded);
    assert_eq!(state("c2").await, CallState::Running);
}

#[tokio::test]
async fn a_request_id_belongs_to_a_tenant_a_workspace_and_one_request() {
    let (_dir, calls) = calls().await;
    calls
        .begin(&call("c1", Some("r1"), 0), long_ago())
        .await
        .unwrap();
    let other_tenant = NewCall {
        tenant: "other".into(),
        ..call("c2", Some("r1"), 0)
    };
    let other_workspace = NewCall {
        workspace: "staging".into(),
        ..call("c3", Some("r1"), 0)
    };
    for call in [
        other_tenant,
        other_workspace,
        call("c4", None, 0),
        call("c5", None, 0),
    ] {
        assert_eq!(calls.begin(&call, long_ago()).await.unwrap(), Begun::New);
    }
    let other_request = NewCall {
        fingerprint: "f2".into(),
        ..call("c6", Some("r1"), 0)
    };
    let other_kind = NewCall {
        kind: "write".into(),
        ..call("c7", Some("r1"), 0)
    };
    for call in [other_request, other_kind] {
        assert!(
            matches!(calls.begin(&call, long_ago()).await.unwrap(), Begun::Reused(record) if record.call.call_id == "c1")
        );
    }
}

#[tokio::test]
async fn of_the_same_request_made_at_once_one_is_new() {
    let (_dir, calls) = calls().await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..16 {
        let calls = calls.clone();
        tasks.spawn(async move {
            calls
                .begin(&call(&format!("c{index}"), Some("r1"), 0), long_ago())
                .await
                .unwrap()
                == Begun::New
        });
    }
    assert_eq!(
        tasks
            .join_all()
            .await
            .into_iter()
            .filter(|new| *new)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_call_of_which_nothing_ran_frees_its_request_id_and_still_shows_it() {
    let (_dir, calls) = calls().await;
    calls
        .begin(&call("c1", Some("r1"), 0), long_ago())
        .await
        .unwrap();
    // Until it has ended, the same request is the same call.
    assert!(matches!(
        calls
            .begin(&call("c2", Some("r1"), 1), long_ago())
            .await
            .unwrap(),
        Begun::Existing(_)
    ));
    calls.finish("c1", &refused()).await.unwrap();
    let record = calls.get("c1").await.unwrap();
    assert_eq!(record.call.request_id.as_deref(), Some("r1"));
    assert_eq!(
        calls
            .begin(&call("c3", Some("r1"), 2), long_ago())
            .await
            .unwrap(),
        Begun::New
    );
    calls.finish("c3", &refused()).await.unwrap();
    assert_eq!(
        calls
            .begin(&call("c4", Some("r1"), 3), long_ago())
            .await
            .unwrap(),
        Begun::New,
        "as often as it is refused"
    );
    calls.finish("c4", &succeeded()).await.unwrap();
    assert!(
        matches!(calls.begin(&call("c5", Some("r1"), 4), long_ago()).await.unwrap(), Begun::Existing(record) if record.call.call_id == "c4")
    );
}

#[tokio::test]
async fn calls_are_listed_by_workspace() {
    let (_dir, calls) = calls().await;
    for (id, workspace) in [("c1", "default"), ("c2", "staging"), ("c3", "production")] {
        let call = NewCall {
            workspace: workspace.into(),
            ..call(id, None, 0)
        };
        calls.begin(&call, long_ago()).await.unwrap();
    }
    let of = |names: &[&str]| CallFilter {
        workspaces: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..CallFilter::default()
    };
    for (names, expected) in [
        (&["staging"][..], &["c2"][..]),
        (&["default", "production"], &["c3", "c1"]),
        (&["it's"], &[]),
        (&[], &[]),
    ] {
        let page = calls.list(&of(names), some(10), None).await.unwrap();
        let ids: Vec<_> = page
            .entries
            .iter()
            .map(|record| record.call.call_id.as_str())
            .collect();
        assert_eq!(ids, expected, "{names:?}");
    }
}

#[tokio::test]
async fn the_first_ending_stands() {
    let (_dir, calls) = calls().await;
    calls.begin(&call("c1", None, 0), long_ago()).await.unwrap();
    let running = Ending {
        state: CallState::Running,
        ..succeeded()
    };
    assert!(matches!(
        calls.finish("c1", &running).await,
        Err(CallError::NotAnEnding(_))
    ));
    calls.finish("c1", &succeeded()).await.unwrap();
    let cancelled = Ending {
        state: CallState::Cancelled,
        ..succeeded()
    };
    assert!(matches!(
        calls.finish("c1", &cancelled).await,
        Err(CallError::Ended {
            state: CallState::Succeeded,
            ..
        })
    ));
    assert!(matches!(
        calls.finish("none", &cancelled).await,
        Err(CallError::Unknown(_))
    ));
}

#[tokio::test]
async fn pages_show_every_call_once_the_newest_first() {
    let (_dir, calls) = calls().await;
    for index in 0..10 {
        // Two of each time, to try the ties.
        calls
            .begin(&call(&format!("c{index}"), None, index / 2), long_ago())
            .await
            .unwrap();
    }
    calls
        .begin(
            &NewCall {
                tenant: "other".into(),
                ..call("x", None, 99)
            },
            long_ago(),
        )
        .await
        .unwrap();
    let filter = CallFilter {
        tenant: Some("acme".into()),
        ..CallFilter::default()
    };
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = calls
            .list(&filter, some(3), token.as_deref())
            .await
            .unwrap();
        assert!(page.entries.len() <= 3);
        seen.extend(page.entries.into_iter().map(|record| record.call.call_id));
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(
        seen,
        ["c9", "c8", "c7", "c6", "c5", "c4", "c3", "c2", "c1", "c0"]
    );
    calls.finish("c4", &succeeded()).await.unwrap();
    let ended = CallFilter {
        state: Some(CallState::Succeeded),
        ..CallFilter::default()
    };
    assert_eq!(
        calls.list(&ended, some(0), None).await.unwrap().entries[0]
            .call
            .call_id,
        "c4"
    );
    for bad in ["", "x", "x.c1"] {
        assert!(
            matches!(
                calls.list(&filter, some(3), Some(bad)).await,
                Err(CallError::PageToken)
            ),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn calls_of_a_dead_daemon_become_failed_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = Store::open(&path).await.unwrap();
    let calls = Calls::new(&store);
    calls
        .begin(&call("c1", Some("r1"), 0), long_ago())
        .await
        .unwrap();
    calls.begin(&call("c2", None, 0), long_ago()).await.unwrap();
    calls.finish("c2", &succeeded()).await.unwrap();
    store.close().await;
    let calls = Calls::new(&Store::open(&path).await.unwrap());
    let failure = json!({ "code": "WORKER_LOST", "message": "the daemon ended during the call" });
    assert_eq!(calls.fail_abandoned(&failure, at(5)).await.unwrap(), ["c1"]);
    let record = calls.get("c1").await.unwrap();
    assert_eq!(
        (record.state, record.failure, record.ended),
        (CallState::Failed, Some(failure.clone()), Some(at(5)))
    );
    assert_eq!(calls.get("c2").await.unwrap().state, CallState::Succeeded);
    assert!(
        calls
            .fail_abandoned(&failure, at(6))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn old_calls_are_forgotten_and_running_ones_never() {
    let (_dir, calls) = calls().await;
    for index in 0..10 {
        let id = format!("c{index}");
        calls
            .begin(&call(&id, None, index), long_ago())
            .await
            .unwrap();
        if index != 0 {
            calls
                .finish(
                    &id,
                    &Ending {
                        ended: at(index),
                        ..succeeded()
                    },
                )
                .await
                .unwrap();
        }
    }
    let kept = |since, newest| Retention {
        ended_since: since,
        newest,
        requests_since: at(0),
    };
    assert_eq!(
        calls.prune(&kept(at(3), 100)).await.unwrap(),
        2,
        "by age: c1 and c2"
    );
    assert_eq!(
        calls
            .prune(&kept(at(0) - TimeDelta::days(1), 4))
            .await
            .unwrap(),
        3,
        "by count: c3, c4 and c5"
    );
    let left: Vec<_> = calls
        .list(&CallFilter::default(), some(100), None)
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|r| r.call.call_id)
        .collect();
    assert_eq!(left, ["c9", "c8", "c7", "c6", "c0"]);
}

#[tokio::test]
async fn a_request_id_is_held_to_however_many_calls_there_are_but_not_one_that_is_free() {
    let (_dir, calls) = calls().await;
    for index in 0..10 {
        let id = format!("c{index}");
        calls
            .begin(&call(&id, Some(&id), index), long_ago())
            .await
            .unwrap();
        let ending = if index % 2 == 0 {
            succeeded()
        } else {
            refused()
        };
        let ended = at(index);
        calls
            .finish(&id, &Ending { ended, ..ending })
            .await
            .unwrap();
    }
    let retention = Retention {
        ended_since: at(0),
        newest: 1,
        requests_since: at(4),
    };
    calls.prune(&retention).await.unwrap();
    let left = calls
        .list(&CallFilter::default(), some(100), None)
        .await
        .unwrap();
    let left: Vec<_> = left
        .entries
        .into_iter()
        .map(|record| record.call.call_id)
        .collect();
    assert_eq!(left, ["c9", "c8", "c6", "c4"]);
}

#[tokio::test]
async fn a_request_id_is_held_to_for_its_time_and_no_longer() {
    let (_dir, calls) = calls().await;
    let again = call("c2", Some("nightly"), 20);
    calls
        .begin(&call("c1", Some("nightly"), 0), long_ago())
        .await
        .unwrap();
    // However long it runs.
    assert!(matches!(
        calls.begin(&again, at(50)).await.unwrap(),
        Begun::Existing(_)
    ));
    calls.finish("c1", &succeeded()).await.unwrap();
    assert!(matches!(
        calls.begin(&again, at(9)).await.unwrap(),
        Begun::Existing(_)
    ));
    // Calls that are remembered for a shorter time hold to it all the same.
    let short = Retention {
        ended_since: at(15),
        newest: 0,
        requests_since: at(9),
    };
    assert_eq!(calls.prune(&short).await.unwrap(), 0);
    assert_eq!(calls.begin(&again, at(10)).await.unwrap(), Begun::New);
}

#[tokio::test]
async fn a_page_ends_before_it_is_too_large_and_gives_at_least_one() {
    let (_dir, calls) = calls().await;
    for index in 0..6 {
        let id = format!("c{index}");
        calls
            .begin(&call(&id, None, index), long_ago())
            .await
            .unwrap();
        let failure = Some(json!({ "text": "x".repeat(10_000) }));
        calls
            .finish(
                &id,
                &Ending {
                    failure,
                    ..refused()
                },
            )
            .await
            .unwrap();
    }
    let mut seen = Vec::new();
    for (bytes, expected) in [(25_000, 2), (1, 1), (u64::MAX, 3)] {
        let bound = Bound {
            entries: 100,
            bytes,
        };
        let token = seen
            .last()
            .map(|(token, _): &(String, usize)| token.as_str());
        let page = calls
            .list(&CallFilter::default(), bound, token)
            .await
            .unwrap();
        assert_eq!(page.entries.len(), expected);
        seen.push((page.next.unwrap_or_default(), expected));
    }
    assert!(seen[2].0.is_empty(), "that was the last");
}
