//! Columns for people, on standard output.

use std::io::{self, Write as _};

use crate::printable;
use crate::stop::{Result, Stop};

/// Prints rows under a heading, each column as wide as its widest cell.
pub(crate) fn print<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Result<()> {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| printable::word(cell)))
        .collect();
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let heading = heading.map(str::to_owned);
    for row in std::iter::once(&heading).chain(&rows) {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    out(&text)
}

/// Writes to standard output; a reader that went away ends the command quietly.
pub(crate) fn out(text: &str) -> Result<()> {
    let text = printable::lines(text);
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::BrokenPipe),
        Err(error) => Err(Stop::Other(
            anyhow::Error::new(error).context("cannot write to standard output"),
        )),
    }
}
