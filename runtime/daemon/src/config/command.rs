//! `secrets.command`: the program that `command:` references run.

use std::path::PathBuf;

use caisson_bundle::{Size, Span};
use caisson_document::{Document, Fault};
use caisson_secrets::CommandConfig;

use super::wire::WireCommand;

const AT: &str = "/secrets/command";

/// No worker is granted the program, nor a file that it is told of, such as its script: who could write either would be
/// given every secret.
pub(super) fn command(
    document: &Document,
    wire: WireCommand,
    own_files: &mut Vec<PathBuf>,
    faults: &mut Vec<Fault>,
) -> CommandConfig {
    let words = wire.run.iter().map(PathBuf::from);
    own_files.extend(words.filter(|word| word.is_absolute() && !word.is_dir()));
    let mut config = CommandConfig::new(wire.run);
    config.environment = wire.environment;
    match wire.timeout.map(|text| text.parse::<Span>()) {
        Some(Ok(Span(timeout))) => config.timeout = timeout,
        Some(Err(error)) => faults.push(document.fault(
            &format!("{AT}/timeout"),
            error.to_string(),
            "write a duration such as 10s",
        )),
        None => {}
    }
    match wire.max_output.map(|text| text.parse::<Size>()) {
        Some(Ok(Size(bytes))) => config.max_output = usize::try_from(bytes).unwrap_or(usize::MAX),
        Some(Err(error)) => faults.push(document.fault(
            &format!("{AT}/max_output"),
            error.to_string(),
            "write a size such as 64KiB",
        )),
        None => {}
    }
    for fault in config.faults() {
        faults.push(document.fault(&format!("{AT}{}", fault.at), fault.message, fault.help));
    }
    config
}
