//! Profiles: system calls as data, read from `sandbox-profiles/` at build time and compiled to filters.
//!
//! seccompiler knows one action for a match and one for the rest per filter, so a profile becomes a stack:
//! `kill` (before exec), `absent` and `allow` (the lock).

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, TargetArch};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::LockError;
use crate::seccomp::constant;

/// The text of every profile, by name.
const PROFILES: &[(&str, &str)] = &[(
    "strict",
    include_str!("../../../sandbox-profiles/strict.json"),
)];

/// A profile as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    format: u32,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub why: String,
    /// May the worker run other programs after the lock?
    pub exec: bool,
    /// What runs.
    pub allow: Vec<Rule>,
    /// What answers ENOSYS.
    pub absent: Vec<Rule>,
    /// What ends the worker.
    pub kill: Vec<Rule>,
}

/// One system call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub call: String,
    /// Why it is in this list.
    pub why: String,
    /// The only architecture that has it.
    pub arch: Option<String>,
    /// Any one of these lists must hold whole; empty means always.
    #[serde(default)]
    pub args: Vec<Vec<Condition>>,
}

/// What must hold for one argument.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    arg: u8,
    #[serde(default)]
    long: bool,
    mask: Option<Number>,
    is: Option<Number>,
    #[serde(rename = "in")]
    one_of: Option<Vec<Number>>,
    lacks: Option<Vec<Number>>,
}

/// A number, or the name of a kernel constant.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Named(String),
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

/// The filters of one profile.
pub struct Filters {
    /// In force before exec.
    pub before_exec: Vec<BpfProgram>,
    /// The lock, in this order.
    pub lock: Vec<BpfProgram>,
}

impl Profile {
    /// The profile of this name.
    ///
    /// # Errors
    /// When there is none, or its text is not a profile.
    pub fn named(name: &str) -> Result<Profile, LockError> {
        let (_, text) = PROFILES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| LockError::UnknownProfile(name.into()))?;
        let profile: Profile = serde_json::from_str(text).map_err(|e| LockError::Profile {
            profile: name.into(),
            detail: e.to_string(),
        })?;
        if profile.format != 1 || profile.name != name {
            return Err(LockError::Profile {
                profile: name.into(),
                detail: "format or name does not fit".into(),
            });
        }
        Ok(profile)
    }

    /// Compiles for the machine this runs on.
    ///
    /// # Errors
    /// When a call or constant is unknown or a condition is not one.
    pub fn compile(&self) -> Result<Filters, LockError> {
        let arch: TargetArch = std::env::consts::ARCH
            .try_into()
            .map_err(|e| self.fault(format!("{e}")))?;
        // `absent` calls are let through by the allowlist: of two errnos the newest filter's would win.
        let allowed: Vec<&Rule> = self.allow.iter().chain(&self.absent).collect();
        let mut filters = json!({
            "kill": { "mismatch_action": "allow", "match_action": "kill_process", "filter": self.rules(&self.kill.iter().collect::<Vec<_>>())? },
            "absent": { "mismatch_action": "allow", "match_action": { "errno": libc::ENOSYS }, "filter": self.rules(&self.absent.iter().collect::<Vec<_>>())? },
            "allow": { "mismatch_action": { "errno": libc::EPERM }, "match_action": "allow", "filter": self.rules(&allowed)? },
        });
        if self.exec {
            let list = filters["allow"]["filter"].as_array_mut().into_iter();
            list.for_each(|list| {
                list.extend([
                    json!({ "syscall": "execve" }),
                    json!({ "syscall": "execveat" }),
                ])
            });
        }
        let mut compiled: BTreeMap<String, BpfProgram> =
            seccompiler::compile_from_json(filters.to_string().as_bytes(), arch)
                .map_err(|e| self.fault(e.to_string()))?
                .into_iter()
                .collect();
        let mut take = |name: &str| {
            compiled
                .remove(name)
                .ok_or_else(|| self.fault(format!("no {name} filter")))
        };
        Ok(Filters {
            before_exec: vec![crate::seccomp::foreign_abi_filter(), take("kill")?],
            lock: vec![take("absent")?, take("allow")?],
        })
    }

    fn rules(&self, rules: &[&Rule]) -> Result<Vec<Value>, LockError> {
        let mut out = Vec::new();
        for rule in rules.iter().filter(|rule| {
            rule.arch
                .as_deref()
                .is_none_or(|arch| arch == std::env::consts::ARCH)
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

    fn fault(&self, detail: String) -> LockError {
        LockError::Profile {
            profile: self.name.clone(),
            detail,
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
