//! The table of checks. An id is stable: it is never given to another check.

use serde::Serialize;

use super::Severity::{self, Error, Warning};

/// A check as documentation names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The stable id.
    pub id: &'static str,
    /// A short name.
    pub name: &'static str,
    /// What its findings mean for publishing.
    pub severity: Severity,
    /// What it holds.
    pub about: &'static str,
}

const fn check(
    id: &'static str,
    name: &'static str,
    severity: Severity,
    about: &'static str,
) -> Check {
    Check {
        id,
        name,
        severity,
        about,
    }
}

/// Every check, by id.
pub const CHECKS: &[Check] = &[
    check(
        "C101",
        "manifest",
        Error,
        "connector.yaml parses, has no unknown keys and no contradictions",
    ),
    check(
        "C102",
        "files",
        Error,
        "the bundle's files are plain files, small enough and not too many",
    ),
    check(
        "C103",
        "readme",
        Warning,
        "a README.md says what the connector is for",
    ),
    check(
        "C201",
        "form-missing",
        Error,
        "every property of config stands in the form",
    ),
    check(
        "C202",
        "form-unknown",
        Error,
        "every field of the form is a property of config",
    ),
    check(
        "C203",
        "form-twice",
        Error,
        "no field stands in the form twice",
    ),
    check(
        "C204",
        "untitled",
        Error,
        "every property of config has a title",
    ),
    check(
        "C205",
        "secret-unmarked",
        Error,
        "a property that is named like a secret says `secret: true` (or `secret: false`)",
    ),
    check(
        "C206",
        "default-invalid",
        Error,
        "every default fits its own schema",
    ),
    check("C207", "secret-default", Error, "no secret has a default"),
    check(
        "C208",
        "required-unknown",
        Error,
        "every required property exists",
    ),
    check(
        "C209",
        "property-name",
        Error,
        "every property can be a Python attribute",
    ),
    check(
        "C210",
        "config-unknown",
        Error,
        "every self.config.x in the code is a property of config",
    ),
    check(
        "C211",
        "config-unused",
        Warning,
        "every property of config is used",
    ),
    check("C301", "syntax", Error, "every Python file parses"),
    check(
        "C302",
        "entrypoint",
        Error,
        "the entrypoint's class exists under src/",
    ),
    check(
        "C303",
        "base-class",
        Error,
        "the entrypoint's class is a caisson.Connector",
    ),
    check(
        "C304",
        "method-missing",
        Error,
        "the methods that the advertised capabilities need exist",
    ),
    check(
        "C305",
        "signature",
        Error,
        "those methods take what the CDK gives them",
    ),
    check(
        "C306",
        "capability-missing",
        Error,
        "what the class can do is advertised",
    ),
    check(
        "C307",
        "config-module",
        Error,
        "a generated config.py is what would be generated now",
    ),
    check(
        "C401",
        "lock",
        Error,
        "every dependency is locked to one version and hashed, and the lock is named",
    ),
    check(
        "C402",
        "dependency-denied",
        Error,
        "every dependency is named in the operator's dependencies.toml",
    ),
    check(
        "C403",
        "dependency-range",
        Error,
        "every dependency is inside the operator's range",
    ),
    check(
        "C404",
        "shadowing",
        Error,
        "no package is named like the standard library or the CDK",
    ),
    check(
        "C405",
        "import-unlocked",
        Error,
        "with an empty lock, nothing outside the standard library is imported",
    ),
    check(
        "C501",
        "secret-literal",
        Error,
        "no credential stands in any file",
    ),
    check(
        "C502",
        "secret-revealed",
        Warning,
        "no code takes the value out of a secret",
    ),
    check(
        "C601",
        "egress-undeclared",
        Warning,
        "every URL in the code is inside the declared egress",
    ),
];

/// The check of an id that this crate uses.
pub(super) fn named(id: &str) -> Check {
    match CHECKS.iter().find(|check| check.id == id) {
        Some(check) => *check,
        None => unreachable!("every id that is used is in the table; a test holds it"),
    }
}
