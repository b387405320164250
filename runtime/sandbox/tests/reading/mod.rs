//! Profiles read a second time, from their JSON alone: nothing here is shared with what compiles them.
#![allow(dead_code, unreachable_pub)]

pub mod constants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Every profile that there is.
pub const NAMES: [&str; 3] = ["strict", "native", "exec"];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// EPERM.
    Refuse,
    /// ENOSYS.
    Absent,
    Kill,
}

/// One rule, as its file has it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The profile whose file holds it.
    pub profile: String,
    pub call: String,
    pub json: Value,
}

impl Rule {
    /// The lists of conditions of which one must hold; none at all means always.
    pub fn alternatives(&self) -> Vec<Vec<Condition>> {
        let lists = self.json["args"].as_array().cloned().unwrap_or_default();
        lists
            .iter()
            .map(|list| {
                list.as_array()
                    .expect("a list of conditions")
                    .iter()
                    .map(Condition::read)
                    .collect()
            })
            .collect()
    }

    pub fn is_for(&self, arch: &str) -> bool {
        self.json["arch"].as_str().is_none_or(|only| only == arch)
    }

    pub fn keep(&self) -> Option<&str> {
        self.json["keep"].as_str()
    }
}

/// What one argument must be.
#[derive(Clone, Debug)]
pub struct Condition {
    pub arg: usize,
    /// The bits that are looked at.
    pub width: u64,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// These bits are these.
    Masked {
        mask: u64,
        is: u64,
    },
    OneOf(Vec<u64>),
    Lacks(Vec<u64>),
}

impl Condition {
    fn read(json: &Value) -> Condition {
        let width = if json["long"].as_bool() == Some(true) {
            u64::MAX
        } else {
            0xffff_ffff
        };
        let numbers = |value: &Value| {
            let list = value.as_array().expect("a list of values");
            list.iter().map(number).collect::<Vec<u64>>()
        };
        let kind = match (json.get("is"), json.get("in"), json.get("lacks")) {
            (Some(is), None, None) => Kind::Masked {
                mask: json.get("mask").map_or(u64::MAX, number),
                is: number(is),
            },
            (None, Some(list), None) => Kind::OneOf(numbers(list)),
            (None, None, Some(list)) => Kind::Lacks(numbers(list)),
            _ => panic!("not one of is, in and lacks: {json}"),
        };
        let arg = json["arg"].as_u64().expect("the number of an argument") as usize;
        Condition { arg, width, kind }
    }

    pub fn holds(&self, value: u64) -> bool {
        let seen = value & self.width;
        match &self.kind {
            Kind::Masked { mask, is } => seen & mask == *is & self.width & mask,
            Kind::OneOf(list) => list.iter().any(|one| seen == one & self.width),
            Kind::Lacks(bits) => bits.iter().all(|bit| seen & bit == 0),
        }
    }

    /// Values that hold, each for a reason of its own.
    pub fn allowed(&self) -> Vec<u64> {
        match &self.kind {
            Kind::Masked { is, .. } => vec![*is],
            Kind::OneOf(list) => list.clone(),
            Kind::Lacks(_) => vec![0],
        }
    }

    /// Values next to those that hold.
    pub fn near(&self) -> Vec<u64> {
        let mut near: Vec<u64> = match &self.kind {
            Kind::Lacks(bits) => bits.clone(),
            _ => Vec::new(),
        };
        for value in self.allowed() {
            near.extend((0..32).map(|bit| value ^ (1 << bit)));
            near.extend([value.wrapping_add(1), value.wrapping_sub(1)]);
        }
        near
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::Number(plain) => plain.as_u64().expect("a number from 0"),
        Value::String(name) => {
            constants::VALUES
                .iter()
                .find(|(known, _)| known == name)
                .unwrap_or_else(|| panic!("tests/reading/constants.rs has no {name}"))
                .1
        }
        other => panic!("no value: {other}"),
    }
}

/// A profile with what it extends.
pub struct Profile {
    pub name: String,
    pub allow: Vec<Rule>,
    pub absent: Vec<Rule>,
    pub kill: Vec<Rule>,
    /// What workloads ask for and do not get.
    pub refused: Vec<Rule>,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sandbox-profiles")
}

pub fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Profile {
    pub fn read(name: &str) -> Profile {
        let json = json(&folder().join(format!("{name}.json")));
        let mut profile = match json["extends"].as_str() {
            Some(base) => Profile::read(base),
            None => Profile {
                name: String::new(),
                allow: Vec::new(),
                absent: Vec::new(),
                kill: Vec::new(),
                refused: Vec::new(),
            },
        };
        profile.name = name.to_owned();
        let rules = |list: &str| {
            let rules = json[list].as_array().cloned().unwrap_or_default();
            rules.into_iter().map(|json| Rule {
                profile: name.to_owned(),
                call: json["call"].as_str().expect("a call").to_owned(),
                json,
            })
        };
        profile.allow.extend(rules("allow"));
        profile.absent.extend(rules("absent"));
        profile.kill.extend(rules("kill"));
        profile.refused.extend(rules("refused"));
        profile
    }

    /// What the profile says to a call by its name.
    pub fn verdict(&self, arch: &str, call: &str, args: &[u64; 6]) -> Verdict {
        let named = |rules: &[Rule]| {
            rules
                .iter()
                .any(|rule| rule.call == call && rule.is_for(arch))
        };
        if named(&self.kill) {
            return Verdict::Kill;
        }
        if named(&self.absent) {
            return Verdict::Absent;
        }
        let allows = |rule: &Rule| {
            let alternatives = rule.alternatives();
            let holds = |list: &Vec<Condition>| list.iter().all(|one| one.holds(args[one.arg]));
            alternatives.is_empty() || alternatives.iter().any(holds)
        };
        let allowed = self
            .allow
            .iter()
            .any(|rule| rule.call == call && rule.is_for(arch) && allows(rule));
        if allowed {
            Verdict::Allow
        } else {
            Verdict::Refuse
        }
    }
}

/// Names and numbers of an architecture's calls, from a table that the compiler of the profiles does not use.
pub fn numbers(arch: &str) -> BTreeMap<u32, &'static str> {
    match arch {
        "x86_64" => syscalls::x86_64::Sysno::iter()
            .map(|call| (call.id() as u32, call.name()))
            .collect(),
        "aarch64" => syscalls::aarch64::Sysno::iter()
            .map(|call| match call.name() {
                // The table's name is the 32-bit one; uapi/asm-generic/unistd.h says __NR_newfstatat.
                "fstatat" => (call.id() as u32, "newfstatat"),
                name => (call.id() as u32, name),
            })
            .collect(),
        other => panic!("no table of {other}"),
    }
}
