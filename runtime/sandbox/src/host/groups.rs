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

/// One that exists, with these limits for now.
struct Spare {
    name: String,
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

    /// The group that is planned, or one that waits, which the plan then names.
    pub(super) fn take(&self, plan: &mut CgroupPlan, limits: &Limits) -> io::Result<Cgroup> {
        let Some(spare) = self.lock().pop() else {
            return Cgroup::create(plan);
        };
        *plan = self.plan(&spare.name, limits);
        let written = &spare.plan.values;
        let differ = plan.values.iter().filter(|value| !written.contains(value));
        let adapted = spare.group.write(differ);
        if adapted.is_err() {
            spare.group.remove();
        }
        adapted.map(|()| spare.group)
    }

    /// Makes those that should wait, with limits that the next worker is likely to have.
    pub(super) fn provide(&self, limits: &Limits) {
        let Ok(_making) = self.making.try_lock() else {
            return;
        };
        while self.lock().len() < SPARES {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}{number}", self.prefix);
            let plan = self.plan(&name, limits);
            // Whoever needs one is told why there is none.
            let Ok(group) = Cgroup::create(&plan) else {
                return;
            };
            self.lock().push(Spare { name, plan, group });
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
