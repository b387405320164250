//! Recording: what goes into the file is redacted before it is kept.

use super::decoded::{Undecoded, decoded};
use super::har::{
    Content, Creator, Entry, Har, Log, Nothing, Pair, PostData, Request, Response, Timings,
};
use super::hide::{self, Hidden};
use super::request::pairs;
use super::{CassetteError, HIDDEN, LONGEST};
use crate::places::steps;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use caisson_secrets::Redactor;
use chrono::{DateTime, SecondsFormat, Utc};
use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// As long as a cassette is no longer than this, bytes, it is written after each exchange, so that a crash loses little.
const SMALL: usize = 1 << 20;
/// Where and what to record.
#[derive(Debug, Clone, Default)]
pub struct RecorderConfig {
    /// The file.
    pub path: PathBuf,
    /// Query parameters that are left out, and headers (in any case) whose values are hidden.
    pub ignored: Vec<String>,
    /// JSON pointers (RFC 6901) of values in bodies that are hidden; `*` stands for every member or item.
    pub redact: Vec<String>,
}

/// One exchange as it was.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// The request's method.
    pub(crate) method: String,
    /// The request's whole address.
    pub(crate) url: String,
    /// The request's headers.
    pub(crate) request_headers: Vec<(String, String)>,
    /// The request's body.
    pub(crate) request_body: Bytes,
    /// Whether it was sent whole.
    pub(crate) whole: bool,
    /// The answer's status.
    pub(crate) status: u16,
    /// The answer's headers.
    pub(crate) response_headers: Vec<(String, String)>,
    /// The answer's body, as it travelled.
    pub(crate) response_body: Bytes,
    /// When the request was sent.
    pub(crate) started: SystemTime,
    /// Until the answer was whole.
    pub(crate) took: Duration,
}

/// A cassette that is recorded.
#[derive(Debug)]
pub struct Recorder {
    config: RecorderConfig,
    /// The configuration's, in steps.
    pointers: Vec<Vec<String>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    bytes: usize,
    unsaved: bool,
}

impl Recorder {
    /// Begins a cassette, and writes it without entries, so that a folder that cannot be written is told at once.
    ///
    /// # Errors
    /// The file cannot be written, or a pointer is none.
    pub fn create(config: RecorderConfig) -> Result<Self, CassetteError> {
        if let Some(pointer) = config
            .redact
            .iter()
            .find(|pointer| !pointer.starts_with('/'))
        {
            return Err(CassetteError::Pointer(pointer.clone()));
        }
        let recorder = Self {
            pointers: config.redact.iter().map(|pointer| steps(pointer)).collect(),
            config,
            kept: Mutex::new(Kept {
                unsaved: true,
                ..Kept::default()
            }),
        };
        recorder.save()?;
        Ok(recorder)
    }

    /// Keeps an exchange, without what `redactor` knows.
    ///
    /// # Errors
    /// It cannot be kept whole or without secrets, and is then not kept at all; or the file cannot be written.
    pub(crate) fn record(
        &self,
        exchange: &Recorded,
        redactor: &Redactor,
    ) -> Result<(), CassetteError> {
        let entry = self.entry(exchange, redactor)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += exchange.request_body.len() + exchange.response_body.len() + 1_024;
        kept.entries.push(entry);
        kept.unsaved = true;
        if kept.bytes > SMALL {
            return Ok(());
        }
        self.write(&mut kept)
    }

    /// Writes what is not written yet.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self) -> Result<(), CassetteError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.unsaved {
            self.write(&mut kept)
        } else {
            Ok(())
        }
    }

    /// Beside the file first, so that it is whole at every moment.
    fn write(&self, kept: &mut Kept) -> Result<(), CassetteError> {
        let har = Har {
            log: Log {
                version: "1.2".to_owned(),
                creator: Creator {
                    name: "caisson".to_owned(),
                    version: "1".to_owned(),
                },
                ignored: self.config.ignored.clone(),
                entries: std::mem::take(&mut kept.entries),
            },
        };
        let written = write_whole(&self.config.path, &har);
        kept.entries = har.log.entries;
        written.map_err(|source| CassetteError::Io {
            what: "written",
            path: self.config.path.clone(),
            source,
        })?;
        kept.unsaved = false;
        Ok(())
    }

    fn entry(&self, exchange: &Recorded, redactor: &Redactor) -> Result<Entry, CassetteError> {
        // Before it is cut anywhere: a secret may hold a `?` or an `&`.
        let url = hide::secrets(redactor, &exchange.url);
        let (address, query) = url.split_once('?').unwrap_or((&url, ""));
        let named = || (exchange.method.clone(), address.to_owned());
        let too_long = || {
            let (method, url) = named();
            CassetteError::TooLong { method, url }
        };
        if !exchange.whole {
            let (method, url) = named();
            return Err(CassetteError::Cut { method, url });
        }
        if exchange.request_body.len() > LONGEST || exchange.response_body.len() > LONGEST {
            return Err(too_long());
        }
        let undone = |undecoded| {
            let (method, url) = named();
            let coding = match undecoded {
                Undecoded::TooLong => return CassetteError::TooLong { method, url },
                Undecoded::Coding(coding) => coding,
                Undecoded::Broken(coding, error) => format!("{coding} ({error})"),
            };
            CassetteError::Coding {
                method,
                url,
                coding,
            }
        };
        let codings = header(&exchange.response_headers, "content-encoding");
        let body = decoded(&codings, &exchange.response_body).map_err(&undone)?;
        let unkept = |unkept| {
            let (method, url) = named();
            match unkept {
                Unkept::Secret => CassetteError::Secret { method, url },
                Unkept::Unreadable => CassetteError::Unreadable { method, url },
            }
        };
        // What cannot be read may hold a secret, and would be no request that can be asked for again.
        let sent_codings = header(&exchange.request_headers, "content-encoding");
        let plain = decoded(&sent_codings, &exchange.request_body).map_err(&undone)?;
        let sent_type = header(&exchange.request_headers, "content-type");
        let answered_type = match header(&exchange.response_headers, "content-type") {
            none if none.is_empty() => "application/octet-stream".to_owned(),
            named => named,
        };
        let sent = self.text(&plain, &sent_type, redactor).map_err(&unkept)?;
        let answered = self
            .text(&body, &answered_type, redactor)
            .map_err(&unkept)?;
        let query = hide::query(query, &self.config.ignored);
        let url = if query.is_empty() {
            address.to_owned()
        } else {
            format!("{address}?{query}")
        };
        let url = hide::secrets(redactor, &url).into_owned();
        let started: DateTime<Utc> = exchange.started.into();
        let took = exchange.took.as_secs_f64() * 1e3;
        Ok(Entry {
            started_date_time: started.to_rfc3339_opts(SecondsFormat::Micros, false),
            time: took,
            request: Request {
                method: hide::secrets(redactor, &exchange.method).into_owned(),
                query_string: pairs(url.split_once('?').map_or("", |(_, query)| query)),
                url,
                http_version: "HTTP/1.1".to_owned(),
                cookies: Vec::new(),
                headers: self.headers(&exchange.request_headers, redactor),
                headers_size: -1,
                body_size: exchange.request_body.len() as i64,
                post_data: (!exchange.request_body.is_empty()).then(|| PostData {
                    mime_type: hide::secrets(redactor, &sent_type).into_owned(),
                    text: sent.text,
                    encoding: sent.encoding,
                }),
            },
            response: Response {
                status: exchange.status,
                status_text: String::new(),
                http_version: "HTTP/1.1".to_owned(),
                cookies: Vec::new(),
                headers: self.headers(&exchange.response_headers, redactor),
                content: Content {
                    size: body.len() as i64,
                    mime_type: hide::secrets(redactor, &answered_type).into_owned(),
                    text: answered.text,
                    encoding: answered.encoding,
                },
                redirect_url: String::new(),
                headers_size: -1,
                body_size: exchange.response_body.len() as i64,
            },
            cache: Nothing {},
            timings: Timings {
                send: 0.0,
                wait: took,
                receive: 0.0,
            },
        })
    }

    fn headers(&self, headers: &[(String, String)], redactor: &Redactor) -> Vec<Pair> {
        let kept = headers.iter().map(|(name, value)| {
            let value = if hide::is_header(name, &self.config.ignored) {
                Cow::Borrowed(HIDDEN)
            } else {
                hide::secrets(redactor, value)
            };
            Pair {
                name: hide::secrets(redactor, name).into_owned(),
                value: value.into_owned(),
            }
        });
        kept.collect()
    }

    /// A body without secrets.
    fn text(&self, body: &Bytes, kind: &str, redactor: &Redactor) -> Result<Text, Unkept> {
        let Ok(text) = std::str::from_utf8(body) else {
            if redactor.finds(body) {
                return Err(Unkept::Secret);
            }
            return Ok(Text {
                text: BASE64_STANDARD.encode(body),
                encoding: Some("base64".to_owned()),
            });
        };
        let text = hide::body(text, &self.pointers, redactor);
        let unreadable = !self.pointers.is_empty() && kind.to_ascii_lowercase().contains("json");
        match text {
            Hidden::Json(text) => Ok(Text {
                text,
                encoding: None,
            }),
            Hidden::Other(text) if text.is_empty() || !unreadable => Ok(Text {
                text,
                encoding: None,
            }),
            Hidden::Other(_) => Err(Unkept::Unreadable),
        }
    }
}

/// Why a body is not kept.
enum Unkept {
    /// It holds a secret where nothing can be put in its place.
    Secret,
    /// It may hold what the configuration has hidden.
    Unreadable,
}

struct Text {
    text: String,
    encoding: Option<String>,
}

/// All values of a header, in their order (RFC 9110, section 5.3).
fn header(headers: &[(String, String)], name: &str) -> String {
    let values: Vec<&str> = headers
        .iter()
        .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect();
    values.join(", ")
}

fn write_whole(path: &Path, har: &Har) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(har).map_err(io::Error::other)?;
    text.push(b'\n');
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // Made anew, and so never through a link that somebody else laid there.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
