//! JSON lines, cut into batches. Every line is checked to be one JSON object
//! before it is sent, so that a fault names its line and nobody has to guess
//! which record of which batch a destination could not read.

use std::io::BufRead;

use bytes::Bytes;
use caisson_document::Fault;
use caisson_proto::v1;
use serde::de::IgnoredAny;

use super::input::Piece;
use super::{BATCH_MAX, BATCH_TARGET};
use crate::stop::{Result, Stop};

pub(crate) struct Lines<R> {
    name: String,
    reader: R,
    line: usize,
    batch: Vec<u8>,
    records: u64,
    /// A line that did not fit the batch before it.
    next: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(name: &str, reader: R) -> Self {
        Self {
            name: name.to_owned(),
            reader,
            line: 0,
            batch: Vec::new(),
            records: 0,
            next: Vec::new(),
        }
    }

    /// The next batch; none at the end.
    pub(crate) fn piece(&mut self) -> Result<Option<Piece>> {
        loop {
            if self.next.is_empty() && !self.read_line()? {
                return Ok(self.take());
            }
            if !self.batch.is_empty() && self.batch.len() + self.next.len() > BATCH_TARGET {
                return Ok(self.take());
            }
            self.batch.append(&mut self.next);
            self.records += 1;
        }
    }

    fn take(&mut self) -> Option<Piece> {
        let records = std::mem::take(&mut self.records);
        let data = Bytes::from(std::mem::take(&mut self.batch));
        (records > 0).then_some(Piece { data, records })
    }

    /// Reads the next line that is not blank into `next`, with its line end.
    fn read_line(&mut self) -> Result<bool> {
        loop {
            self.line += 1;
            let limit = BATCH_MAX as u64 + 2;
            let read =
                std::io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut self.next);
            let read =
                read.map_err(|error| anyhow::anyhow!("cannot read {}: {error}", self.name))?;
            if read == 0 {
                return Ok(false);
            }
            while self
                .next
                .last()
                .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
            {
                self.next.pop();
            }
            if self.next.iter().all(u8::is_ascii_whitespace) {
                self.next.clear();
                continue;
            }
            if self.next.len() >= BATCH_MAX {
                return Err(Stop::failed(
                    v1::ErrorCode::RecordTooLarge,
                    format!(
                        "{}:{}: the record is larger than 3.5 MiB",
                        self.name, self.line
                    ),
                    "make the record smaller, for example by leaving a field out",
                ));
            }
            self.check()?;
            self.next.push(b'\n');
            return Ok(true);
        }
    }

    fn check(&self) -> Result<()> {
        let is_object = self.next.trim_ascii_start().starts_with(b"{");
        let (column, message) = match serde_json::from_slice::<IgnoredAny>(&self.next) {
            Ok(_) if is_object => return Ok(()),
            Ok(_) => (1, "not a JSON object".to_owned()),
            Err(error) => {
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
                (error.column().max(1), format!("not JSON: {text}"))
            }
        };
        let mark = caisson_document::Mark {
            line: self.line,
            column,
        };
        let help = "write one JSON object a line; nothing after the last whole batch was written";
        Err(Stop::Faults(
            Fault::of_file(&self.name, Some(mark), message, help).into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8]) -> Result<Vec<Piece>> {
        let mut lines = Lines::new("in.jsonl", text);
        std::iter::from_fn(|| lines.piece().transpose()).collect()
    }

    #[test]
    fn lines_are_kept_whole_and_blank_ones_left_out() {
        let pieces = pieces(b"{\"a\":1}\r\n\n  \n{\"a\":2}").expect("valid");
        assert_eq!(pieces.len(), 1);
        assert_eq!(
            (&pieces[0].data[..], pieces[0].records),
            (b"{\"a\":1}\n{\"a\":2}\n".as_slice(), 2)
        );
        assert!(
            super::Lines::new("x", &b""[..])
                .piece()
                .expect("valid")
                .is_none()
        );
    }

    #[test]
    fn a_batch_stays_under_a_mebibyte_unless_one_record_is_larger() {
        let small = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1000));
        let large = format!("{{\"a\":\"{}\"}}\n", "x".repeat(2 << 20));
        let text = [small.repeat(3000), large.clone(), small.clone()].concat();
        let pieces = pieces(text.as_bytes()).expect("valid");
        assert_eq!(pieces.iter().map(|piece| piece.records).sum::<u64>(), 3002);
        assert_eq!(
            pieces.iter().map(|piece| piece.data.len()).sum::<usize>(),
            text.len()
        );
        let over: Vec<_> = pieces
            .iter()
            .filter(|piece| piece.data.len() > BATCH_TARGET)
            .collect();
        assert_eq!(over.len(), 1);
        assert_eq!((over[0].records, over[0].data.len()), (1, large.len()));
    }

    #[test]
    fn a_fault_names_its_line_and_column() {
        let Err(Stop::Faults(faults)) = pieces(b"{\"a\":1}\n\n{\"a\":nope}\n") else {
            panic!("no fault")
        };
        assert_eq!((faults.0[0].line, faults.0[0].column), (3, 7), "{faults}");
        let Err(Stop::Faults(faults)) = pieces(b"[1]\n") else {
            panic!("no fault")
        };
        assert!(
            faults
                .to_string()
                .starts_with("in.jsonl:1:1: not a JSON object"),
            "{faults}"
        );
    }

    #[test]
    fn a_record_that_no_batch_can_hold_is_named_without_reading_on() {
        let text = format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n", "x".repeat(BATCH_MAX));
        let Err(Stop::Failed(failure)) = pieces(text.as_bytes()) else {
            panic!("no failure")
        };
        assert_eq!(failure.code(), v1::ErrorCode::RecordTooLarge);
        assert!(
            failure.message.starts_with("in.jsonl:2:"),
            "{}",
            failure.message
        );
    }
}
