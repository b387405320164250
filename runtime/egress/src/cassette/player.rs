//! A cassette in place of the network.

use super::CassetteError;
use super::decoded::{TRAVELLING, decoded};
use super::har::{Har, Response, bytes};
use super::request::Key;
use base64::DecodeError;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How recordings answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// A request is answered by its own recordings, in their order, each once.
    #[default]
    Strict,
    /// Recordings answer in the order of the file, as long as method and path are theirs: for requests that hold times or
    /// random numbers.
    Sequence,
}

/// A request that is to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// Its whole address.
    pub(crate) url: &'a str,
    /// The codings of its body, as `Content-Encoding` names them.
    pub(crate) codings: &'a str,
    /// Its body, as it travelled.
    pub(crate) body: &'a Bytes,
}

/// A recorded answer, its body without codings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Played {
    /// The status.
    pub(crate) status: u16,
    /// Names and values, without those that told how the body travelled.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Bytes,
}

/// A request that the cassette does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{asked} is not in {path}; {hint}", path = .path.display())]
pub(crate) struct NotRecorded {
    asked: String,
    path: PathBuf,
    hint: String,
}

/// A cassette that is played; several workers may share it.
#[derive(Debug)]
pub struct Player {
    path: PathBuf,
    mode: Mode,
    ignored: Vec<String>,
    recordings: Vec<(Key, Played)>,
    /// Whether it holds more than one host.
    hosts: bool,
    used: Mutex<Vec<bool>>,
}

impl Player {
    /// Reads a file. Query parameters that its recorder left out are not compared.
    ///
    /// # Errors
    /// It cannot be read, or is no HAR file.
    pub fn open(path: &Path, mode: Mode) -> Result<Self, CassetteError> {
        let text = std::fs::read(path).map_err(|source| CassetteError::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
        let no_har = |message| CassetteError::NoHar {
            path: path.to_owned(),
            message,
        };
        let har: Har = serde_json::from_slice(&text).map_err(|error| no_har(error.to_string()))?;
        let ignored = har.log.ignored;
        let mut recordings = Vec::with_capacity(har.log.entries.len());
        for (number, entry) in har.log.entries.into_iter().enumerate() {
            let base64 = |error| no_har(format!("log.entries[{number}] holds no base64: {error}"));
            let key = Key::of(&entry.request, &ignored).map_err(base64)?;
            let played = played(&entry.response).map_err(base64)?;
            recordings.push((key, played));
        }
        let hosts = recordings
            .windows(2)
            .any(|pair| pair[0].0.host != pair[1].0.host);
        Ok(Self {
            path: path.to_owned(),
            mode,
            ignored,
            hosts,
            used: Mutex::new(vec![false; recordings.len()]),
            recordings,
        })
    }

    /// The recorded answer.
    ///
    /// # Errors
    /// There is none, or each was given; the text shows the nearest recording.
    pub(crate) fn answer(&self, asked: &Asked<'_>) -> Result<Played, NotRecorded> {
        // A coding that is not undone was not recorded either: such a body is like none.
        let body = decoded(asked.codings, asked.body).unwrap_or_else(|_| asked.body.clone());
        let key = Key::new(asked.method, asked.url, &body, &self.ignored);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unused = (0..self.recordings.len()).filter(|&number| !used[number]);
        let fits = |number: &usize| self.recordings[*number].0.is_of(&key, self.hosts);
        let found = match self.mode {
            Mode::Strict => unused.find(fits),
            Mode::Sequence => unused
                .next()
                .filter(|&number| self.recordings[number].0.is_next_to(&key, self.hosts)),
        };
        let Some(number) = found else {
            let next = used.iter().position(|used| !used);
            drop(used);
            return Err(self.not_recorded(&key, next));
        };
        used[number] = true;
        Ok(self.recordings[number].1.clone())
    }

    fn not_recorded(&self, key: &Key, next: Option<usize>) -> NotRecorded {
        let times = self
            .recordings
            .iter()
            .filter(|(own, _)| own.is_of(key, self.hosts))
            .count();
        let near = self
            .recordings
            .iter()
            .map(|(own, _)| own)
            .max_by(|one, other| {
                let near = |own: &Key| strsim::normalized_levenshtein(&begin(own), &begin(key));
                near(one).total_cmp(&near(other))
            });
        let hint = match (self.mode, next, near) {
            (Mode::Sequence, Some(next), _) => {
                format!("the next recording is {}", self.recordings[next].0)
            }
            (Mode::Sequence, None, Some(_)) => "every recording was played".to_owned(),
            (Mode::Strict, _, Some(_)) if times > 0 => {
                format!("it was recorded {times} times, and is asked once more")
            }
            (Mode::Strict, _, Some(near)) => {
                let what = near.differs(key, self.hosts).unwrap_or("order");
                format!("the nearest recording is {near}, whose {what} differs")
            }
            (_, _, None) => "it holds no recording".to_owned(),
        };
        NotRecorded {
            asked: key.to_string(),
            path: self.path.clone(),
            hint,
        }
    }
}

/// As much of a request as is compared to find the nearest: its length is the worker's.
fn begin(key: &Key) -> String {
    key.to_string().chars().take(200).collect()
}

fn played(response: &Response) -> Result<Played, DecodeError> {
    let content = &response.content;
    let headers = response.headers.iter();
    let kept =
        headers.filter(|pair| !TRAVELLING.contains(&pair.name.to_ascii_lowercase().as_str()));
    Ok(Played {
        status: response.status,
        headers: kept
            .map(|pair| (pair.name.clone(), pair.value.clone()))
            .collect(),
        body: bytes(&content.text, content.encoding.as_deref())?.into(),
    })
}
