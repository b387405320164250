//! Profiles: system calls as data, read from `sandbox-profiles/` at build time.
//!
//! A profile stands alone (`strict`), or extends another one: then it allows what that one allows and what it adds,
//! and neither `absent` nor `kill` can be loosened. `compile` turns one into filters.

mod compile;
mod constants;
mod search;

pub use compile::{Filters, Target};

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::LockError;

/// The text of every profile, by name.
pub const PROFILES: &[(&str, &str)] = &[
    (
        "strict",
        include_str!("../../../sandbox-profiles/strict.json"),
    ),
    (
        "native",
        include_str!("../../../sandbox-profiles/native.json"),
    ),
    ("exec", include_str!("../../../sandbox-profiles/exec.json")),
];

/// A profile with everything that it extends.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub why: String,
    /// What runs.
    pub allow: Vec<Rule>,
    /// What answers ENOSYS.
    pub absent: Vec<Rule>,
    /// What ends the worker.
    pub kill: Vec<Rule>,
    /// What programs ask for and do not get: for readers, for it is refused like all that is not named.
    pub refused: Vec<Rule>,
}

/// A profile as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "$schema")]
    _schema: Option<String>,
    format: u32,
    name: String,
    why: String,
    extends: Option<String>,
    allow: Vec<Rule>,
    #[serde(default)]
    absent: Vec<Rule>,
    #[serde(default)]
    kill: Vec<Rule>,
    #[serde(default)]
    refused: Vec<Rule>,
}

/// One system call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub call: String,
    /// Why it is in this list.
    pub why: String,
    /// Why it stays although no traced workload makes it.
    pub keep: Option<String>,
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
        let fault = |detail: String| LockError::Profile {
            profile: name.into(),
            detail,
        };
        let written: Written = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        if written.format != 1 || written.name != name {
            return Err(fault("format or name does not fit".into()));
        }
        let Some(base) = &written.extends else {
            return Profile {
                name: written.name,
                why: written.why,
                allow: written.allow,
                absent: written.absent,
                kill: written.kill,
                refused: written.refused,
            }
            .checked();
        };
        if !written.absent.is_empty() || !written.kill.is_empty() {
            return Err(fault(
                "absent and kill are those of the profile that it extends".into(),
            ));
        }
        let base = Profile::named(base)?;
        let (mut allow, mut refused) = (base.allow, base.refused);
        allow.extend(written.allow);
        refused.retain(|rule| {
            allow
                .iter()
                .all(|allowed| allowed.call != rule.call || !allowed.args.is_empty())
        });
        refused.extend(written.refused);
        Profile {
            name: written.name,
            why: written.why,
            allow,
            absent: base.absent,
            kill: base.kill,
            refused,
        }
        .checked()
    }

    /// No call is in two lists, and none is allowed twice unless each time for other arguments.
    fn checked(self) -> Result<Profile, LockError> {
        let mut seen: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
        for (list, rules) in [
            ("kill", &self.kill),
            ("absent", &self.absent),
            ("allow", &self.allow),
        ] {
            for rule in rules {
                let some = !rule.args.is_empty() && list == "allow";
                match seen.insert(&rule.call, (list, some)) {
                    None => {}
                    Some(("allow", true)) if some => {}
                    Some((other, _)) => {
                        let detail = format!("{} is in {other} and again in {list}", rule.call);
                        return Err(self.fault(detail));
                    }
                }
            }
        }
        Ok(self)
    }

    fn fault(&self, detail: String) -> LockError {
        LockError::Profile {
            profile: self.name.clone(),
            detail,
        }
    }
}
