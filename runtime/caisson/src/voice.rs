//! What a command says while it runs, on standard error: progress bars on a
//! terminal, plain lines elsewhere, nothing when told to be quiet. Standard
//! output belongs to data.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use caisson_proto::v1::{self, Side, log::Level};
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

use crate::args::{OutputArgs, ProgressArg};
use crate::printable::{self, word};
use crate::report;
use crate::stop::Result;

/// Plain lines repeat a stream's progress no more often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What the daemon says of a stream by itself; bars and lines show it already.
const STATUSES: [&str; 3] = ["started", "running", "complete"];

/// More refused records than this are only counted.
const REJECTS_SHOWN: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Quiet,
    Messages,
    Lines,
    Bars,
}

pub(crate) struct Voice {
    manner: Manner,
    bars: MultiProgress,
    streams: BTreeMap<String, Stream>,
    rejects: u64,
    /// Where refused records are kept, one JSON object a line.
    kept: Option<BufWriter<File>>,
}

/// How far one stream is.
struct Stream {
    bar: Option<ProgressBar>,
    text: String,
    started: Instant,
    said: Option<Instant>,
    unsaid: bool,
}

impl Voice {
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let manner = match args.progress {
            _ if args.quiet => Manner::Quiet,
            ProgressArg::None => Manner::Messages,
            ProgressArg::Auto | ProgressArg::Bars if terminal => Manner::Bars,
            _ => Manner::Lines,
        };
        Self {
            manner,
            bars: MultiProgress::new(),
            streams: BTreeMap::new(),
            rejects: 0,
            kept: None,
        }
    }

    /// A line for people.
    pub(crate) fn line(&mut self, text: &str) {
        let text = printable::lines(text);
        match self.manner {
            Manner::Quiet => {}
            Manner::Bars => self.bars.suspend(|| eprintln!("{text}")),
            Manner::Messages | Manner::Lines => eprintln!("{text}"),
        }
    }

    /// Records and bytes of a stream until now; `total` 0 where it is not known.
    pub(crate) fn moved(&mut self, stream: &str, records: u64, bytes: u64, total: u64) {
        let text = format!("{} records, {}", HumanCount(records), HumanBytes(bytes));
        self.show(stream, text, records, total);
    }

    /// Records that a destination took, of those that were sent.
    pub(crate) fn written(&mut self, stream: &str, taken: u64, sent: u64) {
        let text = format!(
            "{} of {} records taken",
            HumanCount(taken),
            HumanCount(sent)
        );
        self.show(stream, text, taken, sent);
    }

    /// Records of a stream that were read and that the destination took.
    pub(crate) fn synced(&mut self, stream: &str, progress: &v1::SyncProgress) {
        let text = format!(
            "{} read, {} written, {}",
            HumanCount(progress.records_read),
            HumanCount(progress.records_written),
            HumanBytes(progress.bytes)
        );
        self.show(
            stream,
            text,
            progress.records_written,
            progress.records_read,
        );
    }

    fn show(&mut self, name: &str, text: String, position: u64, length: u64) {
        if !matches!(self.manner, Manner::Lines | Manner::Bars) {
            return;
        }
        let (manner, bars) = (self.manner, &self.bars);
        let shown = word(name);
        let stream = self
            .streams
            .entry(name.to_owned())
            .or_insert_with(|| Stream {
                bar: (manner == Manner::Bars).then(|| bar(bars, &shown)),
                text: String::new(),
                started: Instant::now(),
                said: None,
                unsaid: false,
            });
        stream.text = text;
        if let Some(bar) = &stream.bar {
            if length > 0 && bar.length().is_none() {
                bar.set_style(known());
            }
            if length > 0 {
                bar.set_length(length.max(position));
            }
            bar.set_position(position);
            bar.set_message(stream.text.clone());
            return;
        }
        let due = stream.said.unwrap_or(stream.started).elapsed() >= LINE_EVERY;
        stream.unsaid = !due;
        if due {
            stream.said = Some(Instant::now());
            eprintln!("{shown}: {}", stream.text);
        }
    }

    /// Leaves bars and lines at their last figures.
    pub(crate) fn finish(&mut self) {
        for (name, stream) in std::mem::take(&mut self.streams) {
            let seconds = stream.started.elapsed().as_secs_f64();
            match stream.bar {
                Some(bar) => bar.abandon_with_message(stream.text),
                None if stream.unsaid => {
                    eprintln!("{}: {} in {seconds:.1} s", word(&name), stream.text)
                }
                None => {}
            }
        }
        if let Some(kept) = &mut self.kept {
            let _ = kept.flush();
        }
        if self.rejects > REJECTS_SHOWN {
            self.line(&format!(
                "{} records refused in all",
                HumanCount(self.rejects)
            ));
        }
    }

    /// Keeps every refused record's place and reason in a file.
    pub(crate) fn keep_rejects(&mut self, path: &Path) -> Result<()> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        self.kept = Some(BufWriter::new(file));
        Ok(())
    }

    /// Records that the destination refused until now.
    pub(crate) fn rejects(&self) -> u64 {
        self.rejects
    }

    pub(crate) fn log(&mut self, side: Side, header: &v1::EventHeader, log: &v1::Log) {
        let level = match log.level() {
            Level::Debug => "debug",
            Level::Warn => "warning",
            Level::Error => "error",
            Level::Info | Level::Unspecified => "info",
        };
        self.line(&logged(side, level, header, log));
    }

    pub(crate) fn throttled(&mut self, side: Side, throttled: &v1::Throttled) {
        let until = throttled
            .until
            .as_ref()
            .map(report::time)
            .unwrap_or_default();
        self.line(&format!(
            "{} waits until {until} for {}: {}",
            named(side),
            word(&throttled.host),
            word(&throttled.cause)
        ));
    }

    pub(crate) fn refused(&mut self, side: Side, refused: &v1::EgressRefusal) {
        let text = report::refused(refused);
        self.line(&match prefix(side) {
            "" => text,
            side => format!("{side}: {text}"),
        });
    }

    pub(crate) fn rejected(&mut self, header: &v1::EventHeader, rejected: &v1::Rejected) {
        self.rejects += 1;
        if let Some(kept) = &mut self.kept {
            let line = serde_json::json!({
                "stream": header.stream,
                "partition": header.partition,
                "batch": rejected.sequence,
                "record": rejected.record,
                "key": serde_json::from_str::<serde_json::Value>(&rejected.key_json).ok(),
                "reason": rejected.reason,
            });
            // The records are counted and shown as well; a full disk does not end the call.
            let _ = writeln!(kept, "{line}");
        }
        if self.rejects > REJECTS_SHOWN {
            return;
        }
        let key = match rejected.key_json.as_str() {
            "" => format!("record {} of batch {}", rejected.record, rejected.sequence),
            key => format!("record {}", word(key)),
        };
        let place = report::place(&header.stream, &header.partition);
        self.line(&format!(
            "{place}: {key} refused: {}",
            word(&rejected.reason)
        ));
    }

    /// What the connector itself said of its progress.
    pub(crate) fn said(&mut self, header: &v1::EventHeader, progress: &v1::Progress) {
        if !progress.message.is_empty() && !STATUSES.contains(&progress.message.as_str()) {
            self.line(&format!(
                "{}: {}",
                word(&header.stream),
                word(&progress.message)
            ));
        }
        if progress.total > 0
            && let Some(bar) = self
                .streams
                .get(&header.stream)
                .and_then(|stream| stream.bar.as_ref())
        {
            bar.set_style(known());
            bar.set_length(progress.total);
        }
    }
}

fn prefix(side: Side) -> &'static str {
    match side {
        Side::Unspecified => "",
        Side::Source => "source",
        Side::Destination => "destination",
    }
}

fn named(side: Side) -> &'static str {
    match side {
        Side::Unspecified => "connector",
        side => prefix(side),
    }
}

/// A worker's log: its first line begins with where it is from, the others are
/// indented, so that none can pass for a line of our own.
fn logged(side: Side, level: &str, header: &v1::EventHeader, log: &v1::Log) -> String {
    let place = [
        prefix(side).to_owned(),
        word(&header.stream),
        word(&log.logger),
    ];
    let place: Vec<_> = place.into_iter().filter(|part| !part.is_empty()).collect();
    let message = printable::lines(&log.message).replace('\n', "\n  ");
    format!("{} {level}: {message}", place.join(" "))
}

fn bar(bars: &MultiProgress, name: &str) -> ProgressBar {
    let bar = ProgressBar::no_length().with_prefix(name.to_owned());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {prefix} {msg} ({per_sec}, {elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let bar = bars.add(bar);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn known() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {wide_bar} {msg} ({per_sec}, {elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connectors_log_cannot_drive_the_terminal_or_pass_for_our_own_line() {
        let hostile = || "a\u{1b}]0;t\u{7}\nerror: b".to_owned();
        let header = v1::EventHeader {
            stream: hostile(),
            ..Default::default()
        };
        let log = v1::Log {
            logger: hostile(),
            message: hostile(),
            ..Default::default()
        };
        let one = "a\u{fffd}]0;t\u{fffd}\u{fffd}error: b";
        assert_eq!(
            logged(Side::Source, "info", &header, &log),
            format!("source {one} {one} info: a\u{fffd}]0;t\u{fffd}\n  error: b")
        );
    }
}
