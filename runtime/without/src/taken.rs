//! The build of the tests: a variable names the parts.

use std::sync::OnceLock;

use crate::Part;

const VARIABLE: &str = "CAISSON_WITHOUT";

/// Every part by its name.
const NAMES: [(&str, Part); 37] = [
    ("user-namespace", Part::UserNamespace),
    ("id-map", Part::IdMap),
    ("own-ids", Part::OwnIds),
    ("pid-namespace", Part::PidNamespace),
    ("root", Part::Root),
    ("net-namespace", Part::NetNamespace),
    ("ipc-namespace", Part::IpcNamespace),
    ("uts-namespace", Part::UtsNamespace),
    ("cgroup-namespace", Part::CgroupNamespace),
    ("capabilities", Part::Capabilities),
    ("no-new-privileges", Part::NoNewPrivileges),
    ("seccomp", Part::Seccomp),
    ("landlock", Part::Landlock),
    ("cgroup", Part::Cgroup),
    ("rlimits", Part::Rlimits),
    ("descriptors", Part::Descriptors),
    ("environment", Part::Environment),
    ("death", Part::Death),
    ("read-only", Part::ReadOnly),
    ("proc", Part::Proc),
    ("beneath", Part::Beneath),
    ("forbidden", Part::Forbidden),
    ("tmp-size", Part::TmpSize),
    ("first-code", Part::FirstCode),
    ("policy", Part::Policy),
    ("addresses", Part::Addresses),
    ("dns", Part::Dns),
    ("sni", Part::Sni),
    ("http-rules", Part::HttpRules),
    ("own-sockets", Part::OwnSockets),
    ("revocation", Part::Revocation),
    ("watch", Part::Watch),
    ("secrets-from", Part::SecretsFrom),
    ("redactor", Part::Redactor),
    ("order", Part::Order),
    ("deadline", Part::Deadline),
    ("log-quota", Part::LogQuota),
];

/// The names of all parts.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

fn said() -> &'static str {
    static SAID: OnceLock<String> = OnceLock::new();
    SAID.get_or_init(|| std::env::var(VARIABLE).unwrap_or_default())
}

fn taken() -> &'static [Part] {
    static TAKEN: OnceLock<Vec<Part>> = OnceLock::new();
    TAKEN.get_or_init(|| {
        let words = said().split(',').filter(|word| !word.is_empty());
        words
            .map(|word| {
                let found = NAMES.iter().find(|(name, _)| *name == word);
                found
                    .unwrap_or_else(|| panic!("{VARIABLE}: there is no {word:?}"))
                    .1
            })
            .collect()
    })
}

/// Whether a part was left out.
#[must_use]
pub fn without(part: Part) -> bool {
    taken().contains(&part)
}

/// What a launcher is told in its environment.
#[must_use]
pub fn handed_on() -> Option<(&'static str, String)> {
    Some((VARIABLE, said().to_owned()))
}

/// Reads the environment before it is cleared.
pub fn remember() {
    let _ = taken();
}
