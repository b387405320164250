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
    }
}

#[tokio::test]
async fn a_repeated_request_finds_its_call_running_and_ended() {
    let (_dir, calls) = calls().await;
    assert_eq!(
        calls.begin(&call("c1", Some("r1"), 0)).await.unwrap(),
        Begun::New
    );
    let Begun::Existing(record) = calls.begin(&call("c2", Some("r1"), 1)).await.unwrap() else {
        panic!("it is running")
    };
    assert_eq!(
        (record.call.call_id.as_str(), record.state),
        ("c1", CallState::Running)
    );
    calls.finish("c1", &succeeded()).await.unwrap();
    let Begun::Existing(record) = calls.begin(&call("c3", Some("r1"), 2)).await.unwrap() else {
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
async fn a_request_id_belongs_to_a_tenant_a_workspace_and_one_request() {
    let (_dir, calls) = calls().await;
    calls.begin(&call("c1", Some("r1"), 0)).await.unwrap();
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
        assert_eq!(calls.begin(&call).await.unwrap(), Begun::New);
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
            matches!(calls.begin(&call).await.unwrap(), Begun::Reused(record) if record.call.call_id == "c1")
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
                .begin(&call(&format!("c{index}"), Some("r1"), 0))
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
async fn the_first_ending_stands() {
    let (_dir, calls) = calls().await;
    calls.begin(&call("c1", None, 0)).await.unwrap();
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
            .begin(&call(&format!("c{index}"), None, index / 2))
            .await
            .unwrap();
    }
    calls
        .begin(&NewCall {
            tenant: "other".into(),
            ..call("x", None, 99)
        })
        .await
        .unwrap();
    let filter = CallFilter {
        tenant: Some("acme".into()),
        ..CallFilter::default()
    };
    let (mut seen, mut token) = (Vec::new(), None);
    loop {
        let page = calls.list(&filter, 3, token.as_deref()).await.unwrap();
        assert!(page.calls.len() <= 3);
        seen.extend(page.calls.into_iter().map(|record| record.call.call_id));
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
        calls.list(&ended, 0, None).await.unwrap().calls[0]
            .call
            .call_id,
        "c4"
    );
    for bad in ["", "x", "x.c1"] {
        assert!(
            matches!(
                calls.list(&filter, 3, Some(bad)).await,
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
    calls.begin(&call("c1", Some("r1"), 0)).await.unwrap();
    calls.begin(&call("c2", None, 0)).await.unwrap();
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
        calls.begin(&call(&id, None, index)).await.unwrap();
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
    assert_eq!(
        calls.prune(at(3), 100).await.unwrap(),
        2,
        "by age: c1 and c2"
    );
    assert_eq!(
        calls.prune(at(0) - TimeDelta::days(1), 4).await.unwrap(),
        3,
        "by count: c3, c4 and c5"
    );
    let left: Vec<_> = calls
        .list(&CallFilter::default(), 100, None)
        .await
        .unwrap()
        .calls
        .into_iter()
        .map(|r| r.call.call_id)
        .collect();
    assert_eq!(left, ["c9", "c8", "c7", "c6", "c0"]);
}
