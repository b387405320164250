//! The requests of one connection that are under way: judged again where the policy changes.

use super::ask::Ask;
use super::exchange::Connection;
use super::judge::rejudge;
use crate::decision::Refusal;
use crate::relay::PolicyInForce;
use caisson_without::{Part, without};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Asks>);

#[derive(Debug, Default)]
struct Asks {
    next: u64,
    asks: HashMap<u64, Arc<Ask>>,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    list: Arc<UnderWay>,
    number: u64,
}

impl UnderWay {
    pub(super) fn list(self: &Arc<Self>, ask: Arc<Ask>) -> Listed {
        let mut asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = asks.next;
        asks.next += 1;
        asks.asks.insert(number, ask);
        Listed {
            list: Arc::clone(self),
            number,
        }
    }

    fn all(&self) -> Vec<Arc<Ask>> {
        let asks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asks.asks.values().cloned().collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut asks = self.list.0.lock().unwrap_or_else(PoisonError::into_inner);
        asks.asks.remove(&self.number);
    }
}

/// Returns the refusal once the policy in force no longer allows a request that is under way.
pub(super) async fn revoked(connection: &Connection, policy: &mut PolicyInForce) -> Refusal {
    while policy.changed().await.is_ok() {
        let bound = policy.borrow_and_update().clone();
        if without(Part::Revocation) {
            continue;
        }
        let (place, address) = (&connection.place, connection.far.address());
        let refused = |ask: Arc<Ask>| rejudge(bound.as_deref(), place, address, &ask).err();
        if let Some(refusal) = connection.under_way.all().into_iter().find_map(refused) {
            return refusal;
        }
    }
    std::future::pending().await
}
