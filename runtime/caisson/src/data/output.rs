//! Where the records of a Read go: standard output, one file, or a folder
//! with a file per stream.
//!
//! An Arrow file holds one IPC stream: one stream of records with one schema.
//! When a schema changes, the next file begins (`orders.2.arrow`). JSON lines
//! of several streams may share a file or pipe, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use caisson_proto::v1;

use super::arrow;
use super::sink::{Open, append, begins_with, cut_back, file_name, name_of, numbered};
use crate::args::RecordFormat;
use crate::stop::{Result, Stop};

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    File(PathBuf),
    Folder(PathBuf),
}

impl Target {
    pub(crate) fn of(path: &Path) -> Self {
        let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        match path.as_os_str().as_encoded_bytes() {
            b"-" => Target::Stdout,
            _ if ends_in_slash || path.is_dir() => Target::Folder(path.to_owned()),
            _ => Target::File(path.to_owned()),
        }
    }

    /// Whether a file of an earlier run is one that this target would write.
    fn holds(&self, file: &Path) -> bool {
        match self {
            Target::Stdout => false,
            Target::Folder(folder) => file.parent() == Some(folder),
            Target::File(path) => {
                file == path || (2..100).any(|generation| file == numbered(path, generation))
            }
        }
    }
}

/// Open outputs.
pub(crate) struct Output {
    target: Target,
    format: RecordFormat,
    files: Vec<Open>,
    /// By stream and schema_id, the encapsulated Arrow schema.
    schemas: HashMap<(String, String), Bytes>,
    /// Files of a run that was cut short, with the length that counts.
    unfinished: BTreeMap<String, u64>,
}

impl Output {
    pub(crate) fn new(
        target: Target,
        format: RecordFormat,
        unfinished: Option<&BTreeMap<String, u64>>,
    ) -> Result<Self> {
        if let Target::Folder(folder) = &target {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut unfinished = unfinished.cloned().unwrap_or_default();
        unfinished
            .retain(|path, kept| target.holds(Path::new(path)) && cut_back(Path::new(path), *kept));
        let mut output = Self {
            target,
            format,
            files: Vec::new(),
            schemas: HashMap::new(),
            unfinished,
        };
        // A file that is asked for by name is there afterwards, also when no record came.
        if let (Target::File(path), RecordFormat::Jsonl) = (&output.target, format) {
            let path = path.clone();
            output.open("", path, Bytes::new())?;
        }
        Ok(output)
    }

    /// True if an earlier run's output is continued.
    pub(crate) fn continues(&self) -> bool {
        self.files.iter().any(|file| file.length > 0)
    }

    /// Takes note of a schema; an Arrow output begins with it.
    pub(crate) fn schema(&mut self, stream: &str, schema: &v1::Schema) -> Result<()> {
        if self.format == RecordFormat::Jsonl {
            return Ok(());
        }
        let key = (stream.to_owned(), schema.schema_id.clone());
        self.schemas.insert(key, schema.ipc.clone());
        if self.files.iter().all(|file| file.stream != stream) {
            self.file(stream, &schema.schema_id)?;
        }
        Ok(())
    }

    pub(crate) fn batch(&mut self, stream: &str, batch: &v1::Batch) -> Result<()> {
        let index = self.file(stream, &batch.schema_id)?;
        let file = &mut self.files[index];
        file.write(&batch.data)
    }

    /// Marks what was written of `stream` as covered by a checkpoint, and
    /// tells how long the files are that can be continued.
    pub(crate) fn covered(&mut self, stream: &str) -> BTreeMap<String, u64> {
        for file in self
            .files
            .iter_mut()
            .filter(|file| file.stream == stream || file.stream.is_empty())
        {
            file.covered = file.length;
        }
        let name = |file: &Open| Some((name_of(file.path.as_ref()?), file.covered));
        let mut lengths = self.unfinished.clone();
        lengths.extend(self.files.iter().filter_map(name));
        lengths
    }

    /// Makes everything that was written outlive a crash.
    pub(crate) fn make_durable(&mut self) -> Result<()> {
        self.files.iter_mut().try_for_each(Open::make_durable)
    }

    /// Ends every Arrow stream; the files are whole.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.format == RecordFormat::Arrow {
            // Also the files of the earlier run that this one had nothing for.
            for path in self
                .unfinished
                .keys()
                .map(PathBuf::from)
                .collect::<Vec<_>>()
            {
                if self
                    .files
                    .iter()
                    .all(|file| file.path.as_ref() != Some(&path))
                {
                    append(&path, &arrow::END)?;
                }
            }
            for file in &mut self.files {
                file.write(&arrow::END)?;
            }
        }
        self.make_durable()
    }

    /// The file that takes records of this stream and schema.
    fn file(&mut self, stream: &str, schema_id: &str) -> Result<usize> {
        let schema = match self.format {
            RecordFormat::Jsonl => Bytes::new(),
            RecordFormat::Arrow => {
                let key = (stream.to_owned(), schema_id.to_owned());
                self.schemas.get(&key).cloned().ok_or_else(|| {
                    Stop::failed(
                        v1::ErrorCode::Internal,
                        format!("a batch of {stream} came before its schema"),
                        "",
                    )
                })?
            }
        };
        let shared =
            self.format == RecordFormat::Jsonl && !matches!(self.target, Target::Folder(_));
        let same = |file: &Open| shared || (file.stream == stream && file.schema == schema);
        if let Some(index) = self.files.iter().position(same) {
            return Ok(index);
        }
        let generation = 1 + self
            .files
            .iter()
            .filter(|file| file.stream == stream)
            .count();
        let one_place = !shared && !matches!(self.target, Target::Folder(_));
        if one_place && generation == 1 && !self.files.is_empty() {
            return Err(Stop::usage(
                "an Arrow file holds one stream, and there are several: name one with --stream, \
                 or give a folder with --output FOLDER/",
            ));
        }
        let first = match &self.target {
            Target::Stdout => return self.stdout(stream, schema, generation),
            Target::File(path) => path.clone(),
            Target::Folder(folder) => {
                let extension = if self.format == RecordFormat::Arrow {
                    "arrow"
                } else {
                    "jsonl"
                };
                folder.join(format!("{}.{extension}", file_name(stream)))
            }
        };
        // A file of an earlier run that holds another schema is not ours to cut.
        let path = (generation..)
            .map(|generation| numbered(&first, generation))
            .find(|path| {
                !self.unfinished.contains_key(&name_of(path)) || begins_with(path, &schema)
            })
            .unwrap_or(first);
        self.open(if shared { "" } else { stream }, path, schema)
    }

    fn stdout(&mut self, stream: &str, schema: Bytes, generation: usize) -> Result<usize> {
        if generation > 1 {
            return Err(Stop::failed(
                v1::ErrorCode::SchemaViolation,
                format!("the schema of {stream} changed, and a pipe holds one Arrow stream"),
                "read into a file or a folder, where the next file begins, or as jsonl",
            ));
        }
        let stream = if self.format == RecordFormat::Jsonl {
            ""
        } else {
            stream
        };
        self.files.push(Open::stdout(stream, schema)?);
        Ok(self.files.len() - 1)
    }

    fn open(&mut self, stream: &str, path: PathBuf, schema: Bytes) -> Result<usize> {
        let kept = self.unfinished.get(&name_of(&path)).copied().unwrap_or(0);
        self.files.push(Open::file(stream, path, kept, schema)?);
        Ok(self.files.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(id: &str, ipc: &'static [u8]) -> v1::Schema {
        v1::Schema {
            schema_id: id.into(),
            ipc: ipc.into(),
            ..Default::default()
        }
    }

    fn batch(id: &str, data: &'static [u8]) -> v1::Batch {
        v1::Batch {
            schema_id: id.into(),
            data: data.into(),
            records: 1,
        }
    }

    #[test]
    fn a_streams_name_cannot_lead_out_of_the_folder() {
        assert_eq!(file_name("orders"), "orders");
        assert_eq!(file_name("../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!(file_name(".bashrc"), "%2Ebashrc");
    }

    #[test]
    fn a_new_schema_begins_the_next_arrow_file_and_an_old_one_goes_on_in_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("o.arrow");
        let mut output =
            Output::new(Target::File(path.clone()), RecordFormat::Arrow, None).expect("open");
        output.schema("o", &schema("1", b"<s1>")).expect("schema");
        output.batch("o", &batch("1", b"a")).expect("batch");
        output.schema("o", &schema("2", b"<s2>")).expect("schema");
        output.batch("o", &batch("2", b"b")).expect("batch");
        output.batch("o", &batch("1", b"c")).expect("batch");
        output.finish().expect("finish");
        let end = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(
            std::fs::read(&path).expect("read"),
            [b"<s1>ac".as_slice(), &end].concat()
        );
        assert_eq!(
            std::fs::read(folder.path().join("o.2.arrow")).expect("read"),
            [b"<s2>b".as_slice(), &end].concat()
        );
    }

    #[test]
    fn a_second_stream_in_one_arrow_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut output = Output::new(
            Target::File(folder.path().join("o.arrow")),
            RecordFormat::Arrow,
            None,
        )
        .expect("open");
        output.schema("a", &schema("1", b"<s1>")).expect("schema");
        let refused = output.schema("b", &schema("2", b"<s2>"));
        assert!(matches!(refused, Err(Stop::Usage(message)) if message.contains("--stream")));
    }

    #[test]
    fn a_folder_gets_a_file_per_stream_and_a_run_that_was_cut_short_goes_on_at_the_checkpoint() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = || Target::Folder(folder.path().to_owned());
        let mut output = Output::new(target(), RecordFormat::Jsonl, None).expect("open");
        output
            .batch("a", &batch("1", b"{\"n\":1}\n"))
            .expect("batch");
        let outputs = output.covered("a");
        output
            .batch("a", &batch("1", b"{\"n\":2}\n"))
            .expect("batch");
        output
            .batch("b", &batch("1", b"{\"n\":3}\n"))
            .expect("batch");
        output.make_durable().expect("durable");
        drop(output);

        let mut output = Output::new(target(), RecordFormat::Jsonl, Some(&outputs)).expect("open");
        output
            .batch("a", &batch("1", b"{\"n\":4}\n"))
            .expect("batch");
        output
            .batch("b", &batch("1", b"{\"n\":5}\n"))
            .expect("batch");
        output.finish().expect("finish");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("read");
        assert_eq!(read("a.jsonl"), "{\"n\":1}\n{\"n\":4}\n");
        assert_eq!(read("b.jsonl"), "{\"n\":5}\n");
    }

    #[test]
    fn an_arrow_file_is_only_continued_under_the_same_schema_and_never_cut_for_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("o.arrow");
        std::fs::write(&path, b"<s1>ab").expect("written");
        let unfinished = [(path.display().to_string(), 5)].into();
        let mut output = Output::new(
            Target::File(path.clone()),
            RecordFormat::Arrow,
            Some(&unfinished),
        )
        .expect("open");
        output.schema("o", &schema("9", b"<s1>")).expect("schema");
        output.batch("o", &batch("9", b"c")).expect("batch");
        output.make_durable().expect("durable");
        assert_eq!(std::fs::read(&path).expect("read"), b"<s1>ac");

        let unfinished = [(path.display().to_string(), 5)].into();
        let mut output = Output::new(
            Target::File(path.clone()),
            RecordFormat::Arrow,
            Some(&unfinished),
        )
        .expect("open");
        output.schema("o", &schema("9", b"<s2>")).expect("schema");
        output.batch("o", &batch("9", b"c")).expect("batch");
        output.make_durable().expect("durable");
        assert_eq!(std::fs::read(&path).expect("read"), b"<s1>a");
        assert_eq!(
            std::fs::read(folder.path().join("o.2.arrow")).expect("read"),
            b"<s2>c"
        );
    }
}
