//! Slots for workers, in all and for each tenant. Whatever makes a worker
//! holds one while it has it: calls, and the inspection of a connector's
//! source when it is validated or published.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use caisson_proto::v1::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Slots;
use crate::error::CallError;

/// The daemon's slots.
pub(crate) struct Admission {
    slots: Slots,
    total: Arc<Semaphore>,
    tenants: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

/// Slots that are taken until this is dropped.
pub(crate) struct Admitted {
    _tenant: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(slots: Slots) -> Self {
        Self {
            slots,
            total: Arc::new(Semaphore::new(slots.total)),
            tenants: Mutex::default(),
        }
    }

    /// Slots for `workers` more, if they are free now.
    pub(crate) fn try_enter(&self, tenant: &Arc<str>, workers: u32) -> Option<Admitted> {
        Some(Admitted {
            _tenant: self.of(tenant).try_acquire_many_owned(workers).ok()?,
            _total: self.total.clone().try_acquire_many_owned(workers).ok()?,
        })
    }

    /// Waits until `workers` more may run; what is stopped waits no longer.
    pub(crate) async fn enter(
        &self,
        tenant: &Arc<str>,
        workers: u32,
        deadline: Option<Instant>,
        cancel: &CancellationToken,
    ) -> Result<Admitted, CallError> {
        let most = self.slots.total.min(self.slots.tenant);
        if workers as usize > most {
            let message = format!(
                "the call needs {workers} workers at once, and the daemon has slots for {most}"
            );
            return Err(CallError::new(ErrorCode::QuotaExhausted, message)
                .with_action("raise `slots` in the daemon's configuration"));
        }
        let own = self.of(tenant);
        let total = self.total.clone();
        let internal = |error| CallError::internal("slots", error);
        let slots = async {
            // The tenant's own first: waiting for it must not hold others up.
            let tenant = own.acquire_many_owned(workers).await.map_err(internal)?;
            let total = total.acquire_many_owned(workers).await.map_err(internal)?;
            Ok(Admitted {
                _tenant: tenant,
                _total: total,
            })
        };
        let late = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            slots = slots => slots,
            () = late => Err(CallError::new(
                ErrorCode::Timeout,
                "the call reached its deadline while it waited for a slot",
            )),
            () = cancel.cancelled() => Err(CallError::new(
                ErrorCode::Cancelled,
                "the call was cancelled while it waited for a slot",
            )),
        }
    }

    fn of(&self, tenant: &Arc<str>) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.slots.tenant)))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admission(total: usize, tenant: usize) -> Admission {
        Admission::new(Slots { total, tenant })
    }

    async fn enter(
        admission: &Admission,
        tenant: &str,
        workers: u32,
    ) -> Result<Admitted, CallError> {
        let soon = Instant::now() + Duration::from_millis(20);
        let never = CancellationToken::new();
        admission
            .enter(&tenant.into(), workers, Some(soon), &never)
            .await
    }

    #[tokio::test]
    async fn a_slot_is_free_again_when_its_holder_lets_go() {
        let admission = admission(1, 1);
        let held = enter(&admission, "a", 1).await.unwrap();
        let refused = enter(&admission, "b", 1).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Timeout);
        drop(held);
        assert!(enter(&admission, "b", 1).await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_for_its_own_slots_takes_none_of_the_others() {
        let admission = admission(2, 1);
        let _held = enter(&admission, "a", 1).await.unwrap();
        assert!(enter(&admission, "a", 1).await.is_err());
        assert!(enter(&admission, "b", 1).await.is_ok());
    }

    #[tokio::test]
    async fn who_does_not_wait_gets_all_that_it_asks_for_or_nothing() {
        let admission = admission(2, 2);
        let held = admission.try_enter(&"a".into(), 1);
        assert!(held.is_some());
        assert!(admission.try_enter(&"b".into(), 2).is_none());
        assert!(enter(&admission, "b", 1).await.is_ok());
    }

    #[tokio::test]
    async fn what_can_never_be_admitted_is_refused_at_once() {
        let refused = enter(&admission(8, 1), "a", 2).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuotaExhausted);
    }
}
