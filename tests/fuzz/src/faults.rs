//! What every refusal of a document promises, whatever the document.

use caisson_document::{Document, Faults};

/// Faults are told, one a line, each at a place that the text has, and nothing in them moves a terminal's cursor. The same
/// text under a name that makes it JSON is refused as well as that, if it is.
pub(crate) fn are_well_told(faults: &Faults, text: &str) {
    // As YAML counts lines: CR LF, LF and CR alone end one.
    let yaml = text.replace("\r\n", "\n").replace('\r', "\n");
    are_in(faults, &yaml);
    if let Err(faults) = Document::parse("text.json", text) {
        are_in(&faults, text);
    }
}

fn are_in(faults: &Faults, text: &str) {
    assert!(!faults.0.is_empty(), "a refusal without a fault");
    let lines: Vec<usize> = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .split('\n')
        .map(|line| line.chars().count())
        .collect();
    for fault in &faults.0 {
        let place = format!("{fault} of {} lines", lines.len());
        assert!(!fault.message.is_empty(), "no message: {place}");
        // A text that is too long to be looked at has no place; it never gets here.
        assert!(
            (1..=lines.len()).contains(&fault.line),
            "no such line: {place}"
        );
        assert!(
            (1..=lines[fault.line - 1] + 1).contains(&fault.column),
            "no such column: {place}"
        );
    }
    let told = faults.to_string();
    assert_eq!(told.lines().count(), faults.0.len(), "one a line: {told:?}");
    let raw = told.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(raw, None, "{told:?}");
}
