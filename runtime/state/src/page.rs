//! Pages: some rows of a query, bounded in number and in bytes. No more is read from the database than is given.

use sqlx::sqlite::SqliteRow;
use tokio_stream::{Stream, StreamExt};

use crate::storage::StorageError;

/// The most that one page holds. The first entry is always given, however large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Entries; 0 is taken for 1.
    pub entries: u32,
    /// Bytes as they are stored.
    pub bytes: u64,
}

/// Some entries, and where the next begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The entries, in their order.
    pub entries: Vec<T>,
    /// What to ask the next page with; nothing on the last.
    pub next: Option<String>,
}

/// Reads rows until the page is full. `read` gives an entry and its bytes, `token` what follows an entry.
pub(crate) async fn fill<T>(
    doing: &'static str,
    mut rows: impl Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin,
    bound: Bound,
    read: impl Fn(&SqliteRow) -> Result<(T, usize), StorageError>,
    token: impl Fn(&T) -> String,
) -> Result<Page<T>, StorageError> {
    let (mut entries, mut bytes) = (Vec::new(), 0_u64);
    while let Some(row) = rows.next().await {
        let (entry, size) = read(&row.map_err(StorageError::of(doing))?)?;
        bytes = bytes.saturating_add(size as u64);
        let full = entries.len() >= bound.entries.max(1) as usize || bytes > bound.bytes;
        if full && let Some(last) = entries.last() {
            let next = Some(token(last));
            return Ok(Page { entries, next });
        }
        entries.push(entry);
    }
    Ok(Page {
        entries,
        next: None,
    })
}
