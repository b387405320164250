//! Groups that are made ahead of need: making one takes a third of a millisecond, and sometimes ten.
//!
//! None is used twice: what a worker has charged to its group stays there for a while after its end, and would count
//! against the next.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::cgroup::{Cgroup, Hierarchy};
use crate::plan::CgroupPlan;
use crate::{Instance, Limits};

/// Groups that wait.
const SPARES: usize = 2;

pub(super) struct Groups {
    hierarchy: Hierarchy,
    /// What the names of those that wait begin with.
    prefix: String,
    made: AtomicU64,
    spares: Mutex<Vec<Spare>>,
    /// Held by whoever makes more.
    making: Mutex<()>,
}

struct Spare {
    limits: Limits,
    plan: CgroupPlan,
    group: Cgroup,
}

impl Groups {
    pub(super) fn new(hierarchy: Hierarchy, instance: &Instance) -> Groups {
        Groups {
            hierarchy,
            prefix: instance.spare_group_prefix(),
            made: AtomicU64::new(0),
            spares: Mutex::default(),
            making: Mutex::default(),
        }
    }

    /// What a worker's group is to be.
    pub(super) fn plan(&self, name: &str, limits: &Limits) -> CgroupPlan {
        self.hierarchy.plan(name, limits)
    }

    /// The group that is planned, or one with the same limits that waits, which the plan then names.
    pub(super) fn take(&self, plan: &mut CgroupPlan, limits: &Limits) -> io::Result<Cgroup> {
        let mut spares = self.lock();
        let Some(at) = spares.iter().position(|spare| spare.limits == *limits) else {
            drop(spares);
            return Cgroup::create(plan);
        };
        let spare = spares.remove(at);
        *plan = spare.plan;
        Ok(spare.group)
    }

    /// Makes those that should wait, for workers like the last one.
    pub(super) fn provide(&self, limits: &Limits) {
        let Ok(_making) = self.making.try_lock() else {
            return;
        };
        let others = {
            let mut spares = self.lock();
            let is_other = |spare: &Spare| spare.limits != *limits;
            if spares.len() == SPARES && spares.iter().all(is_other) {
                std::mem::take(&mut *spares)
            } else {
                Vec::new()
            }
        };
        for spare in others {
            spare.group.remove();
        }
        while self.lock().len() < SPARES {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}{number}", self.prefix);
            let plan = self.plan(&name, limits);
            // Whoever needs one is told why there is none.
            let Ok(group) = Cgroup::create(&plan) else {
                return;
            };
            let limits = limits.clone();
            self.lock().push(Spare {
                limits,
                plan,
                group,
            });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Spare>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for spare in self.lock().drain(..) {
            spare.group.remove();
        }
    }
}
