//! From a profile to filters.
//!
//! seccompiler knows one action for a match and one for the rest per filter, so a profile becomes a stack:
//! `kill` (before exec), `absent` and `allow` (the lock).

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, TargetArch};
use serde_json::{Value, json};

use super::constants::constant;
use super::search::by_halves;
use super::{Condition, Number, Profile, Rule};
use crate::LockError;

/// The filters of one profile.
pub struct Filters {
    /// In force before exec.
    pub before_exec: Vec<BpfProgram>,
    /// The lock, in this order.
    pub lock: Vec<BpfProgram>,
}

/// The machine that filters are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// 64-bit x86; also refuses x32.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Target {
    /// The name that profiles use for it.
    pub fn name(self) -> &'static str {
        match self {
            Target::X86_64 => "x86_64",
            Target::Aarch64 => "aarch64",
        }
    }

    fn of_this_machine() -> Result<Target, String> {
        [Target::X86_64, Target::Aarch64]
            .into_iter()
            .find(|target| target.name() == std::env::consts::ARCH)
            .ok_or_else(|| format!("{} is not supported", std::env::consts::ARCH))
    }

    fn seccompiler(self) -> TargetArch {
        match self {
            Target::X86_64 => TargetArch::x86_64,
            Target::Aarch64 => TargetArch::aarch64,
        }
    }
}

impl Profile {
    /// Compiles for the machine this runs on.
    ///
    /// # Errors
    /// When a call or constant is unknown or a condition is not one.
    pub fn compile(&self) -> Result<Filters, LockError> {
        self.compile_for(Target::of_this_machine().map_err(|e| self.fault(e))?)
    }

    /// Compiles for a machine.
    ///
    /// # Errors
    /// As [`Profile::compile`].
    pub fn compile_for(&self, target: Target) -> Result<Filters, LockError> {
        let mut programs = self.programs(target)?;
        let mut take = |name: &str| {
            programs
                .remove(name)
                .map(by_halves)
                .ok_or_else(|| self.fault(format!("no {name} filter")))
        };
        Ok(Filters {
            before_exec: vec![crate::seccomp::foreign_abi_filter(), take("kill")?],
            lock: vec![take("absent")?, take("allow")?],
        })
    }

    /// What seccompiler makes of it, by name.
    pub(super) fn programs(
        &self,
        target: Target,
    ) -> Result<BTreeMap<String, BpfProgram>, LockError> {
        // `absent` calls are let through by the allowlist: of two errnos the newest filter's would win.
        let allowed = self.allow.iter().chain(&self.absent);
        let filters = json!({
            "kill": { "mismatch_action": "allow", "match_action": "kill_process", "filter": self.rules(self.kill.iter(), target)? },
            "absent": { "mismatch_action": "allow", "match_action": { "errno": libc::ENOSYS }, "filter": self.rules(self.absent.iter(), target)? },
            "allow": { "mismatch_action": { "errno": libc::EPERM }, "match_action": "allow", "filter": self.rules(allowed, target)? },
        });
        let compiled =
            seccompiler::compile_from_json(filters.to_string().as_bytes(), target.seccompiler())
                .map_err(|e| self.fault(e.to_string()))?;
        Ok(compiled.into_iter().collect())
    }

    fn rules<'a>(
        &self,
        rules: impl Iterator<Item = &'a Rule>,
        target: Target,
    ) -> Result<Vec<Value>, LockError> {
        let mut out = Vec::new();
        for rule in rules.filter(|rule| {
            rule.arch
                .as_deref()
                .is_none_or(|arch| arch == target.name())
        }) {
            if rule.args.is_empty() {
                out.push(json!({ "syscall": rule.call }));
            }
            for conditions in &rule.args {
                let expanded =
                    expand(conditions).map_err(|e| self.fault(format!("{}: {e}", rule.call)))?;
                out.extend(
                    expanded
                        .into_iter()
                        .map(|args| json!({ "syscall": rule.call, "args": args })),
                );
            }
        }
        Ok(out)
    }
}

impl Number {
    fn value(&self) -> Result<u64, String> {
        match self {
            Number::Plain(value) => Ok(*value),
            Number::Named(name) => {
                constant(name).ok_or_else(|| format!("no kernel constant is called {name}"))
            }
        }
    }
}

/// One list of conditions as lists that seccompiler knows: `in` becomes one list per value.
fn expand(conditions: &[Condition]) -> Result<Vec<Vec<Value>>, String> {
    let mut lists = vec![Vec::new()];
    for condition in conditions {
        let mut next = Vec::new();
        for choice in choices(condition)? {
            next.extend(lists.iter().map(|list| {
                let mut list = list.clone();
                list.push(choice.clone());
                list
            }));
        }
        lists = next;
    }
    Ok(lists)
}

fn choices(condition: &Condition) -> Result<Vec<Value>, String> {
    let kind = if condition.long { "qword" } else { "dword" };
    let wire = |op: Value, value: u64| json!({ "index": condition.arg, "type": kind, "op": op, "val": value });
    match (
        &condition.mask,
        &condition.is,
        &condition.one_of,
        &condition.lacks,
    ) {
        (None, Some(value), None, None) => Ok(vec![wire(json!("eq"), value.value()?)]),
        (Some(mask), Some(value), None, None) => Ok(vec![wire(
            json!({ "masked_eq": mask.value()? }),
            value.value()?,
        )]),
        (None, None, Some(values), None) => values
            .iter()
            .map(|value| Ok(wire(json!("eq"), value.value()?)))
            .collect(),
        (None, None, None, Some(bits)) => {
            let mask = bits
                .iter()
                .try_fold(0, |mask, bit| Ok::<u64, String>(mask | bit.value()?))?;
            Ok(vec![wire(json!({ "masked_eq": mask }), 0)])
        }
        _ => Err(format!(
            "argument {}: exactly one of is, in, lacks; mask goes with is",
            condition.arg
        )),
    }
}
