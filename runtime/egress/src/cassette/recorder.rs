//! Recording: what goes into the file is redacted before it is kept.

use super::decoded::{Undecoded, decoded};
use super::har::{
    Content, Creator, Entry, Har, Log, Nothing, Pair, PostData, Request, Response, Timings,
};
use super::request::pairs;
use super::{CassetteError, HIDDEN, LONGEST};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use caisson_secrets::Redactor;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Headers whose values are credentials.
const SENSITIVE: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
];
/// As long as a cassette is no longer than this, bytes, it is written after each exchange, so that a crash loses little.
const SMALL: usize = 1 << 20;
/// The redactor's word, which is not a cassette's.
const REDACTED: &str = "[redacted]";

/// Where and what to record.
#[derive(Debug, Clone, Default)]
pub struct RecorderConfig {
    /// The file.
    pub path: PathBuf,
    /// Query parameters that are left out, and headers whose values are hidden.
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
        let (address, query) = exchange.url.split_once('?').unwrap_or((&exchange.url, ""));
        let named = || {
            (
                exchange.method.clone(),
                hidden(redactor, address).into_owned(),
            )
        };
        let too_long = || {
            let (method, url) = named();
            CassetteError::TooLong { method, url }
        };
        if exchange.request_body.len() > LONGEST || exchange.response_body.len() > LONGEST {
            return Err(too_long());
        }
        let codings = header(&exchange.response_headers, "content-encoding");
        let body =
            decoded(codings, &exchange.response_body).map_err(|undecoded| match undecoded {
                Undecoded::TooLong => too_long(),
                Undecoded::Coding(coding) => {
                    let (method, url) = named();
                    CassetteError::Coding {
                        method,
                        url,
                        coding,
                    }
                }
                Undecoded::Broken(error) => {
                    let (method, url) = named();
                    let coding = format!("{codings} ({error})");
                    CassetteError::Coding {
                        method,
                        url,
                        coding,
                    }
                }
            })?;
        let secret = || {
            let (method, url) = named();
            CassetteError::Secret { method, url }
        };
        let sent_codings = header(&exchange.request_headers, "content-encoding");
        if !sent_codings.is_empty() {
            // It is kept as it travelled, where nothing can be put in a secret's place; what cannot be read may hold one.
            match decoded(sent_codings, &exchange.request_body) {
                Ok(plain) if !redactor.finds(&plain) => {}
                _ => return Err(secret()),
            }
        }
        let sent = self
            .text(&exchange.request_body, redactor)
            .ok_or_else(secret)?;
        let answered = self.text(&body, redactor).ok_or_else(secret)?;
        let kept_query: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                !pair.is_empty() && !self.ignores(pair.split('=').next().unwrap_or_default())
            })
            .collect();
        let url = if kept_query.is_empty() {
            address.to_owned()
        } else {
            format!("{address}?{}", kept_query.join("&"))
        };
        let url = hidden(redactor, &url).into_owned();
        let started: DateTime<Utc> = exchange.started.into();
        let took = exchange.took.as_secs_f64() * 1e3;
        Ok(Entry {
            started_date_time: started.to_rfc3339_opts(SecondsFormat::Micros, false),
            time: took,
            request: Request {
                method: exchange.method.clone(),
                query_string: pairs(url.split_once('?').map_or("", |(_, query)| query)),
                url,
                http_version: "HTTP/1.1".to_owned(),
                cookies: Vec::new(),
                headers: self.headers(&exchange.request_headers, redactor),
                headers_size: -1,
                body_size: exchange.request_body.len() as i64,
                post_data: (!exchange.request_body.is_empty()).then(|| PostData {
                    mime_type: header(&exchange.request_headers, "content-type").to_owned(),
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
                    mime_type: match header(&exchange.response_headers, "content-type") {
                        "" => "application/octet-stream".to_owned(),
                        kind => kind.to_owned(),
                    },
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

    fn ignores(&self, name: &str) -> bool {
        self.config.ignored.iter().any(|ignored| ignored == name)
    }

    fn headers(&self, headers: &[(String, String)], redactor: &Redactor) -> Vec<Pair> {
        let kept = headers.iter().map(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            let is_hidden = SENSITIVE.contains(&lower.as_str()) || self.ignores(&lower);
            let value = if is_hidden {
                Cow::Borrowed(HIDDEN)
            } else {
                hidden(redactor, value)
            };
            Pair {
                name: name.clone(),
                value: value.into_owned(),
            }
        });
        kept.collect()
    }

    /// A body without secrets; `None` where it is no text and holds one.
    fn text(&self, body: &Bytes, redactor: &Redactor) -> Option<Text> {
        let Ok(text) = std::str::from_utf8(body) else {
            return (!redactor.finds(body)).then(|| Text {
                text: BASE64_STANDARD.encode(body),
                encoding: Some("base64".to_owned()),
            });
        };
        let text = self.without_places(text);
        Some(Text {
            text: hidden(redactor, &text).into_owned(),
            encoding: None,
        })
    }

    /// JSON without the values that the configuration names; as it was where it holds none of them.
    fn without_places<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.config.redact.is_empty() {
            return Cow::Borrowed(text);
        }
        let Ok(mut value) = serde_json::from_str::<Value>(text) else {
            return Cow::Borrowed(text);
        };
        let mut found = false;
        for pointer in &self.config.redact {
            let steps: Vec<String> = pointer[1..]
                .split('/')
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect();
            found |= hide(&mut value, &steps);
        }
        if found {
            Cow::Owned(value.to_string())
        } else {
            Cow::Borrowed(text)
        }
    }
}

struct Text {
    text: String,
    encoding: Option<String>,
}

/// Hides what the steps lead to, and says whether there was anything.
fn hide(value: &mut Value, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        *value = Value::String(HIDDEN.to_owned());
        return true;
    };
    match value {
        Value::Object(members) if step == "*" => members
            .values_mut()
            .fold(false, |found, member| hide(member, rest) | found),
        Value::Array(items) if step == "*" => items
            .iter_mut()
            .fold(false, |found, item| hide(item, rest) | found),
        Value::Object(members) => members
            .get_mut(step)
            .is_some_and(|member| hide(member, rest)),
        Value::Array(items) => {
            let item = step
                .parse()
                .ok()
                .and_then(|number: usize| items.get_mut(number));
            item.is_some_and(|item| hide(item, rest))
        }
        _ => false,
    }
}

fn hidden<'t>(redactor: &Redactor, text: &'t str) -> Cow<'t, str> {
    match redactor.redact(text) {
        Cow::Borrowed(text) => Cow::Borrowed(text),
        Cow::Owned(text) => Cow::Owned(text.replace(REDACTED, HIDDEN)),
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> &'h str {
    headers
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value)
}

fn write_whole(path: &Path, har: &Har) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(har).map_err(io::Error::other)?;
    text.push(b'\n');
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
