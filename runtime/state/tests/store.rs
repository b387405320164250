//! The state file: opened, reopened, damaged, foreign, newer.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use caisson_state::*;
use chrono::Utc;
use serde_json::json;

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart_and_only_for_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = Store::open(&path).await.unwrap();
    Connections::new(&store)
        .put(
            "default",
            "shop",
            &json!({"a": 1}),
            Expected::Any,
            Utc::now(),
        )
        .await
        .unwrap();
    store.close().await;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.path()
        );
    }
    let store = Store::open(&path).await.unwrap();
    assert_eq!(
        Connections::new(&store)
            .get("default", "shop")
            .await
            .unwrap()
            .body,
        json!({"a": 1})
    );
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_death_without_goodbye() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = Store::open(&path).await.unwrap();
    Connections::new(&store)
        .put("default", "shop", &json!({}), Expected::Any, Utc::now())
        .await
        .unwrap();
    // As after SIGKILL: the log was never written back, nothing was closed.
    let copy = dir.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    fs::copy(
        dir.path().join("state.db-wal"),
        dir.path().join("copy.db-wal"),
    )
    .unwrap();
    let copy = Store::open(&copy).await.unwrap();
    assert_eq!(
        Connections::new(&copy)
            .get("default", "shop")
            .await
            .unwrap()
            .revision,
        1
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, "x".repeat(8192)).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Storage {
                source: StorageError::Damaged { .. },
                ..
            }
        ),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("state.db") && text.contains("restore the file from a backup"),
        "{text}"
    );
}

#[tokio::test]
async fn a_damaged_database_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = Store::open(&path).await.unwrap();
    let connections = Connections::new(&store);
    for index in 0..200 {
        let body = json!({ "filler": "x".repeat(500) });
        connections
            .put(
                "default",
                &format!("c{index}"),
                &body,
                Expected::Any,
                Utc::now(),
            )
            .await
            .unwrap();
    }
    store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Storage {
                source: StorageError::Damaged { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_database_of_something_else_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let other = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE calls (mine TEXT)")
        .execute(&other)
        .await
        .unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('connections', 'checkpoints')",
    )
    .fetch_one(&other)
    .await
    .unwrap();
    assert_eq!(tables, 0, "a migration is carried out whole or not at all");
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    Store::open(&path).await.unwrap().close().await;
    let pool =
        sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&path))
            .await
            .unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (7, 'later', current_timestamp, 1, x'00', 1)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let error = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 7,
                known: 2,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let error = Store::open("/nonexistent/state.db".as_ref())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("create its directory"),
        "{error}"
    );
}
