//! What needs no daemon: reading policy files, and comparing them with what was seen.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caisson_bundle::{Manifest, Port, Protocol};
use caisson_egress::{Declared, Observed, Policy};

use crate::args::{DiffArgs, LearnArgs};
use crate::commands::out;
use crate::exit::Exit;
use crate::stop::Result;

/// Reads every policy of a folder, or one file. Warnings are findings where the user is strict.
pub(crate) fn check_policies(
    path: &Path,
    audit: &[PathBuf],
    workspace: Option<&str>,
    strict: bool,
) -> Result<Exit> {
    let seen = observed(audit, workspace)?;
    let checked = caisson_egress::check(path)?;
    let mut text = String::new();
    for policy in &checked.policies {
        text.push_str(&format!("{}: {}\n", policy.file, policy.connector));
        text.push_str(&format!("  profile {}\n", policy.profile.as_str()));
        for rule in &policy.egress {
            text.push_str(&format!("  egress {rule}\n"));
        }
        for secret in &policy.secrets {
            text.push_str(&format!("  secret {secret}\n"));
        }
        if policy.files > 0 {
            text.push_str(&format!("  {} host directories\n", policy.files));
        }
    }
    let warnings = caisson_egress::lint_all(path, &seen)?;
    for warning in &warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let said = match warnings.len() {
        0 => "no fault".to_owned(),
        number => format!("no fault, {number} warnings"),
    };
    text.push_str(&format!("{} policies, {said}\n", checked.policies.len()));
    out(&text)?;
    Ok(if strict && !warnings.is_empty() {
        Exit::Findings
    } else {
        Exit::Done
    })
}

/// Writes a policy out of what was seen.
pub(crate) fn learn(args: &LearnArgs) -> Result<Exit> {
    // All of it: what is of no workspace that was named is told by its connector.
    let seen = observed(&args.files, None)?;
    let (connector, workspace) = (args.connector.as_deref(), args.workspace.as_deref());
    let text = caisson_egress::learn(&seen, connector, workspace).map_err(anyhow::Error::from)?;
    out(&text)?;
    Ok(Exit::Done)
}

/// Compares what is declared, allowed and seen.
pub(crate) fn diff(args: &DiffArgs) -> Result<Exit> {
    let manifest = Manifest::parse(&args.declared.display().to_string(), &text(&args.declared)?)?;
    let policy = Policy::parse(&args.policy.display().to_string(), &text(&args.policy)?)?;
    let seen = observed(&args.observed, args.workspace.as_deref())?;
    let declared: Vec<Declared> = manifest
        .egress
        .iter()
        .map(|egress| Declared {
            host: egress.host.clone(),
            ports: egress.ports.iter().map(port).collect(),
            protocol: protocol(egress.protocol).to_owned(),
        })
        .collect();
    let given = (!args.observed.is_empty()).then_some(&seen[..]);
    let rows = caisson_egress::compare(&declared, &policy, given);
    let mut said = String::new();
    for row in &rows {
        let line = if args.json {
            serde_json::to_string(row).map_err(anyhow::Error::from)?
        } else {
            row.to_string()
        };
        said.push_str(&line);
        said.push('\n');
    }
    out(&said)?;
    Ok(if rows.iter().any(caisson_egress::Row::differs) {
        Exit::Findings
    } else {
        Exit::Done
    })
}

/// What the files tell, of one workspace where it is named; cassettes are of none.
fn observed(files: &[PathBuf], workspace: Option<&str>) -> Result<Vec<Observed>> {
    let mut seen: Vec<Observed> = Vec::new();
    for file in files {
        let read = caisson_egress::observe(&file.display().to_string(), &text(file)?);
        seen.extend(read.map_err(anyhow::Error::from)?);
    }
    seen.retain(|one| workspace.is_none_or(|name| one.is_of_workspace(name)));
    Ok(seen)
}

fn text(path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?)
}

fn port(port: &Port) -> String {
    match port {
        Port::Number(number) => number.to_string(),
        Port::Template(text) => text.clone(),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Tls => "tls",
        Protocol::Https => "https",
        Protocol::Postgres => "postgres",
    }
}
