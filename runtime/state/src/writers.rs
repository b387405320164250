//! Who is writing which state now. In memory: one daemon has one data directory, and what it held ends with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What a call is going to move the checkpoints of. Nothing means all: a call may not know its streams or partitions yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The workspace.
    pub workspace: String,
    /// A stored connection's name or the state key of an inline one.
    pub state_key: String,
    /// One stream, or all.
    pub stream: Option<String>,
    /// One partition, or all.
    pub partition: Option<String>,
}

impl Scope {
    fn overlaps(&self, other: &Scope) -> bool {
        let may_equal =
            |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        self.workspace == other.workspace
            && self.state_key == other.state_key
            && may_equal(&self.stream, &other.stream)
            && may_equal(&self.partition, &other.partition)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.state_key)?;
        if let Some(stream) = &self.stream {
            write!(f, " stream {stream}")?;
        }
        match &self.partition {
            Some(partition) if !partition.is_empty() => write!(f, " partition {partition}"),
            _ => Ok(()),
        }
    }
}

/// Another call is writing the same state (STATE_CONFLICT).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state of {scope} is being written by call {holder}; wait for that call to end, or cancel it"
)]
pub struct Held {
    /// What is held.
    pub scope: Scope,
    /// The call that holds it.
    pub holder: String,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    held: BTreeMap<u64, (String, Vec<Scope>)>,
}

/// The writers of this daemon. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Writers(Arc<Mutex<Table>>);

impl Writers {
    /// No writer yet.
    pub fn new() -> Writers {
        Writers::default()
    }

    /// Takes all of the scopes for a call, or none. A call may take more later, also what overlaps its own.
    ///
    /// # Errors
    /// Names the first call that stands in the way.
    pub fn acquire(&self, scopes: Vec<Scope>, holder: &str) -> Result<WriterGuard, Held> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = table.held.values().filter(|(call, _)| call != holder);
        for (call, held) in others {
            if let Some(scope) = held
                .iter()
                .find(|held| scopes.iter().any(|scope| scope.overlaps(held)))
            {
                return Err(Held {
                    scope: scope.clone(),
                    holder: call.clone(),
                });
            }
        }
        let ticket = table.next;
        table.next += 1;
        table.held.insert(ticket, (holder.to_owned(), scopes));
        Ok(WriterGuard {
            table: self.0.clone(),
            ticket,
        })
    }
}

/// Holds scopes until it is dropped.
#[derive(Debug)]
#[must_use = "the scopes are free again as soon as this is dropped"]
pub struct WriterGuard {
    table: Arc<Mutex<Table>>,
    ticket: u64,
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .held
            .remove(&self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(state_key: &str, stream: Option<&str>, partition: Option<&str>) -> Scope {
        Scope {
            workspace: "default".into(),
            state_key: state_key.into(),
            stream: stream.map(Into::into),
            partition: partition.map(Into::into),
        }
    }

    #[test]
    fn two_writers_of_one_key_are_refused_and_the_holder_is_named() {
        let writers = Writers::new();
        let guard = writers
            .acquire(vec![scope("shop", Some("orders"), Some(""))], "call-1")
            .unwrap();
        let wanted = || {
            vec![
                scope("other", None, None),
                scope("shop", Some("orders"), Some("")),
            ]
        };
        let held = writers.acquire(wanted(), "call-2").unwrap_err();
        assert_eq!(
            held.to_string(),
            "the state of default/shop stream orders is being written by call call-1; wait for that call to end, or cancel it"
        );
        assert!(
            writers
                .acquire(vec![scope("other", None, None)], "call-3")
                .is_ok(),
            "a refusal takes nothing"
        );
        drop(guard);
        assert!(writers.acquire(wanted(), "call-2").is_ok());
    }

    #[test]
    fn what_is_not_named_is_all_of_it() {
        let writers = Writers::new();
        let _guard = writers
            .acquire(vec![scope("shop", Some("orders"), None)], "call-1")
            .unwrap();
        let refused = |stream, partition| {
            writers
                .acquire(vec![scope("shop", stream, partition)], "call-2")
                .is_err()
        };
        assert!(refused(None, None));
        assert!(refused(Some("orders"), Some("eu")));
        assert!(!refused(Some("customers"), None));
    }

    #[test]
    fn a_call_may_take_more_of_what_it_has() {
        let writers = Writers::new();
        let first = writers
            .acquire(vec![scope("shop", None, None)], "call-1")
            .unwrap();
        let second = writers
            .acquire(vec![scope("shop", Some("orders"), None)], "call-1")
            .unwrap();
        drop(first);
        assert!(
            writers
                .acquire(vec![scope("shop", Some("orders"), Some("eu"))], "call-2")
                .is_err()
        );
        drop(second);
        assert!(
            writers
                .acquire(vec![scope("shop", None, None)], "call-2")
                .is_ok()
        );
    }
}
