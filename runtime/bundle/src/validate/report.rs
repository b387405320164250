//! All findings together, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::{Finding, Severity};

/// What a validation found, sorted by file, line and id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many findings refuse publishing.
    pub errors: usize,
    /// How many do not.
    pub warnings: usize,
    /// All of them.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(mut findings: Vec<Finding>) -> Report {
        findings.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.id, &a.found)
                .cmp(&(&b.file, b.line, b.column, b.id, &b.found))
        });
        findings.dedup();
        let errors = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .count();
        Report {
            errors,
            warnings: findings.len() - errors,
            findings,
        }
    }

    /// True if publishing is not refused.
    #[must_use]
    pub fn publishable(&self) -> bool {
        self.errors == 0
    }

    /// One JSON object with `errors`, `warnings` and `findings`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            f.write_str(&finding.file)?;
            if finding.line > 0 {
                write!(f, ":{}", finding.line)?;
            }
            if finding.column > 0 {
                write!(f, ":{}", finding.column)?;
            }
            writeln!(
                f,
                ": {severity} {} {}: {}",
                finding.id, finding.check, finding.found
            )?;
            if !finding.write_instead.is_empty() {
                writeln!(f, "    {}", finding.write_instead)?;
            }
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{} error{}, {} warning{}",
            self.errors,
            plural(self.errors),
            self.warnings,
            plural(self.warnings)
        )
    }
}
