//! Checks of what the connector depends on, against the operator's list.

use std::collections::BTreeSet;

use caisson_document::Faults;

use super::{Context, Findings};
use crate::{Allowance, AllowedDependencies, LOCK_FILE, Lock, ProjectError};

/// The CDK's own name.
const CDK: &str = "caisson";

pub(super) fn check(
    context: &Context<'_>,
    allowed: &AllowedDependencies,
    findings: &mut Findings,
) -> Result<(), ProjectError> {
    let lock = match context.project.lock() {
        Ok(lock) => Some(lock),
        Err(ProjectError::Faults(Faults(faults))) => {
            faults
                .iter()
                .for_each(|fault| findings.fault("C401", fault));
            None
        }
        Err(error) => return Err(error),
    };
    named(context, lock.as_ref(), findings);
    for entry in lock.iter().flat_map(|lock| &lock.entries) {
        if context.facts.stdlib.contains(&entry.name)
            || entry.name == CDK
            || entry.name.starts_with("caisson-")
        {
            let found = format!(
                "{} is named like the standard library or the CDK",
                entry.name
            );
            findings.add(
                "C404",
                LOCK_FILE,
                entry.line,
                found,
                "leave it out; both are there already",
            );
            continue;
        }
        let allowance = allowed.allows(&entry.name, &entry.version);
        if let Some((found, help)) = allowance.refusal(entry) {
            let code = match allowance {
                Allowance::OutOfRange(_) => "C403",
                _ => "C402",
            };
            findings.add(code, LOCK_FILE, entry.line, found, help);
        }
    }
    own_packages(context, findings);
    if lock.is_some_and(|lock| lock.entries.is_empty()) {
        imports(context, findings);
    }
    Ok(())
}

/// C401: the lock and connector.yaml name each other.
fn named(context: &Context<'_>, lock: Option<&Lock>, findings: &mut Findings) {
    let declared = context.document.pointer("/dependencies").is_some();
    let there = context.project.has(LOCK_FILE);
    if declared && !there {
        let fault = context.document.fault(
            "/dependencies",
            format!("there is no {LOCK_FILE}"),
            "write it with `uv pip compile --generate-hashes`; it may be empty",
        );
        findings.fault("C401", &fault);
    }
    if !declared && lock.is_some_and(|lock| !lock.entries.is_empty()) {
        let fault = context.document.fault(
            "",
            format!("{LOCK_FILE} has dependencies, and connector.yaml does not name it"),
            format!("write `dependencies: {LOCK_FILE}`"),
        );
        findings.fault("C401", &fault);
    }
}

/// C404 for what stands under src/.
fn own_packages(context: &Context<'_>, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for module in &context.facts.modules {
        let top = module.module.split('.').next().unwrap_or_default();
        let shadows = top == CDK || context.facts.stdlib.iter().any(|name| name == top);
        if shadows && seen.insert(top) {
            findings.add(
                "C404",
                &module.file,
                1,
                format!("`{top}` is the name of a package that is there already"),
                "give yours another name",
            );
        }
    }
}

/// C405.
fn imports(context: &Context<'_>, findings: &mut Findings) {
    if context.facts.stdlib.is_empty() {
        return;
    }
    let own: BTreeSet<&str> = context
        .facts
        .modules
        .iter()
        .filter_map(|module| module.module.split('.').next())
        .collect();
    for module in &context.facts.modules {
        for import in &module.imports {
            let top = import.module.split('.').next().unwrap_or_default();
            let known = top == CDK
                || top == "__future__"
                || own.contains(top)
                || context.facts.stdlib.iter().any(|name| name == top);
            if !known {
                findings.add(
                    "C405",
                    &module.file,
                    import.line,
                    format!("imports `{top}`, and {LOCK_FILE} is empty"),
                    "lock the distribution that carries it, with its hashes",
                );
            }
        }
    }
}
