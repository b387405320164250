//! `caisson validate`: what must be true of a connector before anybody may
//! publish it. Every check reads files and [`Facts`]; nothing here runs the
//! connector, opens a socket or needs a secret.

mod checks;
mod code;
mod config;
mod dependencies;
mod egress;
mod files;
mod literals;
mod report;
mod reveals;
mod secrets;
mod surface;

use caisson_document::{Document, Fault};
use serde::Serialize;

use crate::{AllowedDependencies, Facts, ProjectDir};

pub use checks::{CHECKS, Check};
pub use report::Report;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Publishing is refused.
    Error,
    /// Publishing goes on.
    Warning,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's stable id, such as `C206`.
    pub id: &'static str,
    /// The check's name, such as `secret-unmarked`.
    pub check: &'static str,
    /// What it means for publishing.
    pub severity: Severity,
    /// The file within the project.
    pub file: String,
    /// The line from 1; 0 where the finding is about the file.
    pub line: usize,
    /// The column from 1; 0 where it is not known.
    pub column: usize,
    /// What was found. Never a value that may be secret.
    pub found: String,
    /// What to write instead; may be empty.
    pub write_instead: String,
}

/// Runs every static check over a project.
///
/// # Errors
/// If the project cannot be read. Whatever is wrong inside it is a finding.
pub fn validate(
    project: &ProjectDir,
    facts: &Facts,
    allowed: &AllowedDependencies,
) -> Result<Report, crate::ProjectError> {
    let mut findings = Findings::default();
    let document = files::manifest(project, &mut findings)?;
    files::tree(project, &mut findings);
    if let Some(document) = &document {
        let context = Context {
            project,
            facts,
            document,
        };
        config::check(&context, &mut findings);
        code::check(&context, &mut findings);
        surface::check(&context, &mut findings);
        reveals::check(&context, &mut findings);
        egress::check(&context, &mut findings);
        dependencies::check(&context, allowed, &mut findings)?;
        files::readme(&context, &mut findings);
    }
    secrets::check(project, &mut findings)?;
    Ok(Report::new(findings.0))
}

/// What the checks look at.
struct Context<'a> {
    project: &'a ProjectDir,
    facts: &'a Facts,
    /// connector.yaml: a document, whether or not it has faults.
    document: &'a Document,
}

impl Context<'_> {
    fn text(&self, pointer: &str) -> Option<&str> {
        self.document.pointer(pointer)?.as_str()
    }

    fn capabilities(&self) -> Vec<&str> {
        let list = self
            .document
            .pointer("/capabilities")
            .and_then(|value| value.as_array());
        list.into_iter()
            .flatten()
            .filter_map(|value| value.as_str())
            .collect()
    }

    fn properties(&self) -> Option<&serde_json::Map<String, serde_json::Value>> {
        self.document.pointer("/config/properties")?.as_object()
    }

    /// Module and class of the entrypoint, if it is written as one.
    fn entrypoint(&self) -> Option<(&str, &str)> {
        self.text("/entrypoint")?.split_once(':')
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        id: &'static str,
        file: &str,
        line: usize,
        found: impl Into<String>,
        write_instead: impl Into<String>,
    ) {
        let check = checks::named(id);
        self.0.push(Finding {
            id,
            check: check.name,
            severity: check.severity,
            file: file.to_owned(),
            line,
            column: 0,
            found: found.into(),
            write_instead: write_instead.into(),
        });
    }

    fn fault(&mut self, id: &'static str, fault: &Fault) {
        let found = if fault.path.is_empty() {
            fault.message.clone()
        } else {
            format!("{}: {}", fault.path, fault.message)
        };
        self.add(id, &fault.file, fault.line, found, fault.help.clone());
        if let Some(finding) = self.0.last_mut() {
            finding.column = fault.column;
        }
    }
}
