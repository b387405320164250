//! Stored connections and their revisions.

use caisson_state::*;
use chrono::{DateTime, Utc};
use serde_json::json;

async fn connections() -> (tempfile::TempDir, Connections) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state.db")).await.unwrap();
    (dir, Connections::new(&store))
}

/// The names of every page of two.
async fn names(connections: &Connections) -> Vec<String> {
    let bound = Bound {
        entries: 2,
        bytes: u64::MAX,
    };
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let page = connections
            .list("default", bound, token.as_deref())
            .await
            .unwrap();
        assert!(page.entries.len() <= 2);
        names.extend(page.entries.into_iter().map(|stored| stored.name));
        token = page.next;
        if token.is_none() {
            return names;
        }
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap()
}

#[tokio::test]
async fn every_put_raises_the_revision_by_one() {
    let (_dir, connections) = connections().await;
    let body = json!({ "connector": "shop@1.4.2", "config": { "key": { "$secret": "env:CAISSON_SECRET_SHOP" } } });
    for revision in 1..=3 {
        let stored = connections
            .put("default", "shop", &body, Expected::Any, now())
            .await
            .unwrap();
        assert_eq!(stored.revision, revision);
    }
    let stored = connections.get("default", "shop").await.unwrap();
    assert_eq!(
        (stored.revision, stored.body, stored.updated),
        (3, body, now())
    );
}

#[tokio::test]
async fn a_put_over_an_unseen_change_is_a_conflict() {
    let (_dir, connections) = connections().await;
    let put = async |expected| match connections
        .put("default", "shop", &json!({}), expected, now())
        .await
    {
        Ok(stored) => Ok(stored.revision),
        Err(ConnectionError::Conflict { current, .. }) => Err(current),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(put(Expected::Revision(1)).await, Err(None));
    assert_eq!(put(Expected::Absent).await, Ok(1));
    assert_eq!(put(Expected::Absent).await, Err(Some(1)));
    assert_eq!(put(Expected::Revision(1)).await, Ok(2));
    assert_eq!(put(Expected::Revision(1)).await, Err(Some(2)));
}

#[tokio::test]
async fn a_revision_never_comes_back_after_a_deletion() {
    let (_dir, connections) = connections().await;
    connections
        .put("default", "shop", &json!({}), Expected::Any, now())
        .await
        .unwrap();
    connections.delete("default", "shop", now()).await.unwrap();
    assert!(matches!(
        connections.delete("default", "shop", now()).await,
        Err(ConnectionError::Unknown { .. })
    ));
    assert!(names(&connections).await.is_empty());
    let again = connections
        .put("default", "shop", &json!({}), Expected::Absent, now())
        .await
        .unwrap();
    assert_eq!(again.revision, 3);
    let stale = connections
        .put("default", "shop", &json!({}), Expected::Revision(1), now())
        .await;
    assert!(matches!(
        stale,
        Err(ConnectionError::Conflict {
            current: Some(3),
            ..
        })
    ));
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_the_nearest_ones() {
    let (_dir, connections) = connections().await;
    for name in ["warehouse", "shop", "shop-eu"] {
        connections
            .put("default", name, &json!({}), Expected::Any, now())
            .await
            .unwrap();
    }
    connections
        .put("staging", "shpo", &json!({}), Expected::Any, now())
        .await
        .unwrap();
    let error = connections
        .get("default", "shpo")
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "workspace default has no connection \"shpo\"; there is shop, shop-eu, warehouse"
    );
    assert_eq!(names(&connections).await, ["shop", "shop-eu", "warehouse"]);
}

#[tokio::test]
async fn a_connection_that_carries_data_is_refused() {
    let (_dir, connections) = connections().await;
    let body = json!({ "x": "y".repeat(MAX_CONNECTION_BYTES) });
    let error = connections
        .put("default", "big", &body, Expected::Any, now())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectionError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn of_writers_at_once_exactly_one_wins() {
    let (_dir, connections) = connections().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let connections = connections.clone();
        tasks.spawn(async move {
            connections
                .put("default", "shop", &json!({}), Expected::Absent, now())
                .await
                .is_ok()
        });
    }
    assert_eq!(
        tasks
            .join_all()
            .await
            .into_iter()
            .filter(|won| *won)
            .count(),
        1
    );
}
