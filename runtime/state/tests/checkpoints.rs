//! Commit is a compare-and-swap; history is kept and bounded.

use caisson_state::*;
use chrono::{DateTime, TimeDelta, Utc};

async fn checkpoints() -> (tempfile::TempDir, Checkpoints) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.db")).await.unwrap();
    (dir, Checkpoints::new(&store))
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn key(stream: &str) -> StateKey {
    StateKey {
        workspace: "default".into(),
        state_key: "shop".into(),
        stream: stream.into(),
        partition: String::new(),
    }
}

fn checkpoint(id: &str) -> NewCheckpoint {
    NewCheckpoint {
        id: id.into(),
        call_id: "call-1".into(),
        format: "1".into(),
        state: format!("{{\"cursor\":\"{id}\"}}").into_bytes(),
        records: 7,
        last: false,
    }
}

async fn commit(checkpoints: &Checkpoints, id: &str, expected: Expected) -> Commit {
    checkpoints
        .commit(&key("orders"), &checkpoint(id), expected, now())
        .await
        .unwrap()
}

fn committed(revision: u64) -> Commit {
    Commit::Committed { revision }
}

#[tokio::test]
async fn a_commit_moves_the_checkpoint_only_from_where_the_caller_saw_it() {
    let (_dir, checkpoints) = checkpoints().await;
    assert_eq!(checkpoints.get(&key("orders")).await.unwrap(), None);
    assert_eq!(
        commit(&checkpoints, "a", Expected::Revision(3)).await,
        Commit::Conflict { current: None }
    );
    assert_eq!(
        commit(&checkpoints, "a", Expected::Absent).await,
        committed(1)
    );
    assert_eq!(
        commit(&checkpoints, "b", Expected::Revision(1)).await,
        committed(2)
    );
    let Commit::Conflict {
        current: Some(current),
    } = commit(&checkpoints, "c", Expected::Revision(1)).await
    else {
        panic!("somebody else committed")
    };
    assert_eq!((current.revision, current.checkpoint), (2, checkpoint("b")));
    assert_eq!(commit(&checkpoints, "c", Expected::Any).await, committed(3));
    let stored = checkpoints.get(&key("orders")).await.unwrap().unwrap();
    assert_eq!(
        (stored.revision, stored.committed, stored.checkpoint),
        (3, now(), checkpoint("c"))
    );
}

#[tokio::test]
async fn of_two_commits_at_once_one_wins() {
    let (_dir, checkpoints) = checkpoints().await;
    commit(&checkpoints, "a", Expected::Absent).await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..16 {
        let checkpoints = checkpoints.clone();
        tasks.spawn(async move {
            commit(&checkpoints, &format!("b{index}"), Expected::Revision(1)).await
        });
    }
    let outcomes = tasks.join_all().await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == committed(2))
            .count(),
        1
    );
    let current = checkpoints.get(&key("orders")).await.unwrap().map(Box::new);
    let lost = Commit::Conflict { current };
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == lost).count(),
        15,
        "every loser is told the winner"
    );
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_can_be_repeated() {
    let (_dir, checkpoints) = checkpoints().await;
    for _ in 0..2 {
        assert_eq!(
            commit(&checkpoints, "a", Expected::Absent).await,
            committed(1)
        );
    }
    for _ in 0..2 {
        assert_eq!(
            commit(&checkpoints, "b", Expected::Revision(1)).await,
            committed(2)
        );
    }
    assert!(
        matches!(
            commit(&checkpoints, "a", Expected::Absent).await,
            Commit::Conflict { .. }
        ),
        "it is not the newest"
    );
    assert_eq!(
        checkpoints.history(&key("orders"), 10).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn the_state_is_opaque_bytes() {
    let (_dir, checkpoints) = checkpoints().await;
    let odd = NewCheckpoint {
        state: vec![0, 0xff, b'\n', 0],
        ..checkpoint("a")
    };
    checkpoints
        .commit(&key("orders"), &odd, Expected::Any, now())
        .await
        .unwrap();
    assert_eq!(
        checkpoints
            .get(&key("orders"))
            .await
            .unwrap()
            .unwrap()
            .checkpoint,
        odd
    );
    let large = NewCheckpoint {
        state: vec![0; MAX_STATE_BYTES + 1],
        ..checkpoint("b")
    };
    let error = checkpoints
        .commit(&key("orders"), &large, Expected::Any, now())
        .await
        .unwrap_err();
    assert!(matches!(error, CheckpointError::TooLarge { .. }), "{error}");
    let largest = NewCheckpoint {
        state: vec![0; MAX_STATE_BYTES],
        ..checkpoint("c")
    };
    checkpoints
        .commit(&key("orders"), &largest, Expected::Any, now())
        .await
        .unwrap();
}

#[tokio::test]
async fn every_stream_and_partition_has_its_own_checkpoint() {
    let (_dir, checkpoints) = checkpoints().await;
    let eu = StateKey {
        partition: "eu".into(),
        ..key("orders")
    };
    let elsewhere = StateKey {
        workspace: "staging".into(),
        ..key("orders")
    };
    for key in [&key("orders"), &eu, &key("customers"), &elsewhere] {
        let commit = checkpoints
            .commit(key, &checkpoint("a"), Expected::Absent, now())
            .await
            .unwrap();
        assert_eq!(commit, committed(1));
    }
    checkpoints
        .commit(&eu, &checkpoint("b"), Expected::Revision(1), now())
        .await
        .unwrap();
    let listed = checkpoints.list("default", "shop").await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|c| (c.key.stream.as_str(), c.key.partition.as_str(), c.revision))
        .collect();
    assert_eq!(
        shown,
        [("customers", "", 1), ("orders", "", 1), ("orders", "eu", 2)]
    );
    let bound = Bound {
        entries: 2,
        bytes: u64::MAX,
    };
    let page = async |token: Option<&str>| checkpoints.page("default", "shop", bound, token).await;
    let first = page(None).await.unwrap();
    let second = page(first.next.as_deref()).await.unwrap();
    assert_eq!(second.next, None);
    assert_eq!([first.entries, second.entries].concat(), listed);
    assert!(matches!(
        page(Some("orders")).await,
        Err(CheckpointError::PageToken)
    ));
}

#[tokio::test]
async fn a_revision_never_comes_back_after_the_state_was_cleared() {
    let (_dir, checkpoints) = checkpoints().await;
    commit(&checkpoints, "a", Expected::Absent).await;
    commit(&checkpoints, "b", Expected::Revision(1)).await;
    assert_eq!(checkpoints.clear("default", "shop").await.unwrap(), 1);
    assert_eq!(checkpoints.get(&key("orders")).await.unwrap(), None);
    assert!(
        checkpoints
            .list("default", "shop")
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        commit(&checkpoints, "c", Expected::Revision(2)).await,
        Commit::Conflict { current: None }
    );
    for _ in 0..2 {
        assert_eq!(
            commit(&checkpoints, "c", Expected::Absent).await,
            committed(3)
        );
    }
}

#[tokio::test]
async fn history_keeps_the_last_hundred_and_seven_days() {
    let (_dir, checkpoints) = checkpoints().await;
    let at = |index: i64| now() + TimeDelta::hours(index);
    for index in 1..=400 {
        checkpoints
            .commit(&key("orders"), &checkpoint("x"), Expected::Any, at(index))
            .await
            .unwrap();
    }
    // One an hour: seven days are 168 hours, and the one exactly seven days old stays.
    let kept = checkpoints.history(&key("orders"), 1000).await.unwrap();
    assert_eq!((kept.len(), kept[0].revision), (169, 400));
    for index in 1..=150 {
        checkpoints
            .commit(
                &key("orders"),
                &checkpoint("x"),
                Expected::Any,
                at(400 + 1000 * index),
            )
            .await
            .unwrap();
    }
    let kept = checkpoints.history(&key("orders"), 1000).await.unwrap();
    assert_eq!((kept.len() as u64, kept[0].revision), (KEEP_ALWAYS, 550));
}

#[tokio::test]
async fn history_is_bounded_however_fast_it_grows() {
    let (_dir, checkpoints) = checkpoints().await;
    for _ in 0..KEEP_AT_MOST + 5 {
        checkpoints
            .commit(&key("orders"), &checkpoint("x"), Expected::Any, now())
            .await
            .unwrap();
    }
    let kept = checkpoints.history(&key("orders"), 2000).await.unwrap();
    assert_eq!(
        (kept.len() as u64, kept[0].revision),
        (KEEP_AT_MOST, KEEP_AT_MOST + 5)
    );
}

#[tokio::test]
async fn states_are_those_that_are_wanted_and_no_more_of_them_is_held_than_is_allowed() {
    let (_dir, checkpoints) = checkpoints().await;
    for stream in ["a", "b", "c"] {
        let mut large = checkpoint("1");
        large.state = vec![b'x'; 1000];
        checkpoints
            .commit(&key(stream), &large, Expected::Any, now())
            .await
            .unwrap();
    }
    let states = async |limit, wanted: &[&str]| {
        let wanted = |stream: &str, _: &str| wanted.contains(&stream);
        checkpoints.states("default", "shop", limit, wanted).await
    };
    let two = states(2000, &["a", "c"]).await.unwrap();
    let names: Vec<_> = two.iter().map(|((stream, _), _)| stream.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(matches!(
        states(2000, &["a", "b", "c"]).await,
        Err(CheckpointError::TooLargeTogether { limit: 2000 })
    ));
    assert!(
        checkpoints
            .states("default", "other", 0, |_, _| true)
            .await
            .unwrap()
            .is_empty()
    );
}
