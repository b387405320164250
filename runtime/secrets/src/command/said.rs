//! What a command wrote to stderr: for the daemon's log alone, and only where what it printed can be taken out of it.

use std::process::ExitStatus;

use crate::redact::Redactor;
use crate::value::SecretValue;

/// What a run wrote.
pub(super) struct Said<'a> {
    pub(super) printed: &'a [u8],
    /// `printed` is all of it.
    pub(super) whole: bool,
    pub(super) stderr: &'a [u8],
    /// `stderr` is the beginning of it.
    pub(super) cut: bool,
}

impl Said<'_> {
    /// As an event: a warning unless the run succeeded.
    pub(super) fn log(&self, program: &str, path: &str, status: Option<ExitStatus>) {
        let stderr = self.text();
        // Debug, so that no line of the log can be made up.
        match status {
            Some(status) if status.success() => {
                if !self.stderr.is_empty() {
                    tracing::debug!(
                        program,
                        path,
                        ?stderr,
                        "the command of secrets wrote to stderr"
                    );
                }
            }
            Some(status) => {
                tracing::warn!(program, path, %status, ?stderr, "the command of secrets failed");
            }
            None => {
                tracing::warn!(
                    program,
                    path,
                    ?stderr,
                    "the command of secrets did not come to its end"
                );
            }
        }
    }

    /// Without anything that was printed.
    fn text(&self) -> String {
        const WITHHELD: &str = "[withheld: what was printed cannot be told apart from it]";
        // What a run that did not end would have printed may not have left its buffer.
        if self.stderr.is_empty() || (self.whole && self.printed.is_empty()) {
            return self.plain(self.stderr);
        }
        let printed = std::str::from_utf8(self.printed).ok();
        let Some(printed) = printed.filter(|_| self.whole) else {
            return WITHHELD.into();
        };
        let printed = SecretValue::new(printed.trim_end_matches(['\n', '\r']));
        let redactor = Redactor::new([("", &printed)]);
        if !redactor.gaps().is_empty() {
            return WITHHELD.into();
        }
        let mut redacted = redactor.stream();
        let mut text = redacted.push(self.stderr);
        // What is held back may be the beginning of a value that goes on behind the cut.
        if !self.cut {
            text.extend(redacted.finish());
        }
        self.plain(&text)
    }

    fn plain(&self, text: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(text).trim_end().to_owned();
        if self.cut {
            text.push('…');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "hunter22-hunter22";

    fn said(printed: &str, whole: bool, stderr: &str, cut: bool) -> String {
        let said = Said {
            printed: printed.as_bytes(),
            whole,
            stderr: stderr.as_bytes(),
            cut,
        };
        said.text()
    }

    #[test]
    fn what_was_printed_is_taken_out() {
        let line = format!("+ echo {VALUE}");
        assert_eq!(
            said(&format!("{VALUE}\n"), true, &line, false),
            "+ echo [redacted]"
        );
        let object = format!(r#"{{"user": "reader", "password": "{VALUE}"}}"#);
        assert_eq!(said(&object, true, &line, false), "+ echo [redacted]");
    }

    #[test]
    fn a_value_that_the_cut_goes_through_is_not_begun() {
        let line = format!("+ echo {}", &VALUE[..12]);
        let told = said(VALUE, true, &line, true);
        assert_eq!(told, "+ echo…");
    }

    #[test]
    fn what_cannot_be_taken_out_is_withheld() {
        for (printed, whole) in [("hunter22-h", false), ("", false), ("pin12", true)] {
            let told = said(printed, whole, &format!("+ echo {VALUE} pin12"), false);
            assert!(told.starts_with("[withheld"), "{told}");
        }
    }

    #[test]
    fn of_a_command_that_printed_nothing_all_is_told() {
        assert_eq!(said("", true, "no such secret\n", false), "no such secret");
        assert_eq!(said("", true, "no such secret\n", true), "no such secret…");
    }
}
