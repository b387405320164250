//! What audit logs and cassettes tell, line by line and entry by entry.

use crate::report::PATH;
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

/// What answers a request that becomes a WebSocket (RFC 6455, section 4.2.2).
const SWITCHED: u64 = 101;

/// One thing that a connector did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The connector's name, where the file says it.
    pub connector: Option<String>,
    /// The workspace of the call, where the file says it.
    pub workspace: Option<String>,
    /// The call, where the file says it.
    pub call: Option<String>,
    /// RFC 3339.
    pub time: String,
    /// Of a request, the second in which it had its turn, since 1970; none where the file does not say.
    pub turn: Option<i64>,
    /// Where to; nowhere that is known, of what was not told.
    pub to: Where,
    /// The true address, where it is known.
    pub address: Option<IpAddr>,
    /// What it was.
    pub what: What,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Where {
    /// A name, or an address that was dialled without one.
    pub host: String,
    /// None for a name that was only looked up.
    pub port: Option<u16>,
    /// As policies write it; `dns`, `udp` and others for what no rule is for.
    pub protocol: String,
}

/// What was done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An inspected request that was answered.
    Request {
        /// Its method.
        method: String,
        /// Its path, as it was written; none where the log holds only how it begins.
        path: Option<String>,
        /// It became a WebSocket.
        upgraded: bool,
    },
    /// A connection that was allowed.
    Connection,
    /// An attempt that was refused.
    Refused {
        /// The stable reason.
        reason: String,
        /// The rule that would allow it, where there is one.
        rule_to_add: Option<String>,
        /// How often.
        times: u64,
    },
    /// Requests that were counted and not written, or lines that the disk did not take: nobody knows where to.
    Untold {
        /// How many.
        times: u64,
    },
}

/// Why a file tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}:{line}: neither a line of an audit log nor a cassette ({message}); give audit.jsonl, its rotated files, or a .har file"
)]
pub struct ObservedError {
    file: String,
    line: usize,
    message: String,
}

#[derive(Deserialize)]
struct Line {
    time: String,
    event: String,
    #[serde(default)]
    call: Option<String>,
    #[serde(default)]
    connector: Option<String>,
    #[serde(default)]
    workspace: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    path_cut: bool,
    #[serde(default)]
    ms: i64,
    #[serde(default)]
    throttled_ms: i64,
    #[serde(default)]
    status: Option<u64>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    rule_to_add: Option<String>,
    #[serde(default)]
    times: Option<u64>,
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    lines: u64,
}

/// Everything that a file tells.
///
/// # Errors
/// A line that is none, with its number.
pub fn observe(file: &str, text: &str) -> Result<Vec<Observed>, ObservedError> {
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && let Some(entries) = value.pointer("/log/entries").and_then(Value::as_array)
    {
        return Ok(entries.iter().filter_map(of_entry).collect());
    }
    let mut seen = Vec::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line: Line = serde_json::from_str(line).map_err(|error| ObservedError {
            file: file.to_owned(),
            line: number + 1,
            message: error.to_string(),
        })?;
        seen.extend(of_line(line));
    }
    Ok(seen)
}

fn of_line(line: Line) -> Option<Observed> {
    let host = line
        .name
        .or_else(|| line.address.map(|address| address.to_string()));
    let what = match line.event.as_str() {
        "request" => What::Request {
            method: line.method?,
            // Logs of earlier versions say nothing of what they cut.
            path: line
                .path
                .filter(|path| !line.path_cut && path.chars().count() < PATH),
            upgraded: line.status == Some(SWITCHED),
        },
        "allowed" => What::Connection,
        "refused" => What::Refused {
            reason: line.reason?,
            rule_to_add: line.rule_to_add,
            times: line.times.unwrap_or(1),
        },
        "untold" if line.requests > 0 => What::Untold {
            times: line.requests,
        },
        "unwritten" if line.lines > 0 => What::Untold { times: line.lines },
        _ => return None,
    };
    let is_untold = matches!(what, What::Untold { .. });
    Some(Observed {
        connector: line
            .connector
            .map(|pin| pin.split('@').next().unwrap_or_default().to_owned()),
        workspace: line.workspace,
        call: line.call,
        // Its line is written when its answer is over.
        turn: unix_ms(&line.time).map(|end| {
            let begun = end.saturating_sub(line.ms);
            begun.saturating_add(line.throttled_ms).div_euclid(1_000)
        }),
        time: line.time,
        to: Where {
            host: host.or_else(|| is_untold.then(String::new))?,
            port: line.port.filter(|_| !is_untold),
            protocol: line.protocol.unwrap_or_default(),
        },
        address: line.address,
        what,
    })
}

fn unix_ms(time: &str) -> Option<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(time).ok()?;
    Some(time.timestamp_millis())
}

/// A cassette holds what was answered, over HTTPS as the gateway records it.
fn of_entry(entry: &Value) -> Option<Observed> {
    let request = entry.get("request")?;
    let url = request.get("url")?.as_str()?;
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    // What is before an @ is a user and a password.
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let usual = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, usual),
    };
    let what = if scheme == "https" {
        What::Request {
            method: request.get("method")?.as_str()?.to_owned(),
            path: Some(path.to_owned()),
            upgraded: entry.pointer("/response/status").and_then(Value::as_u64) == Some(SWITCHED),
        }
    } else {
        What::Connection
    };
    let begun = entry.get("startedDateTime").and_then(Value::as_str);
    let begun = begun.unwrap_or_default();
    Some(Observed {
        connector: None,
        workspace: None,
        call: None,
        turn: unix_ms(begun).map(|begun| begun.div_euclid(1_000)),
        time: begun.to_owned(),
        to: Where {
            host: host.to_ascii_lowercase(),
            port: Some(port),
            protocol: if scheme == "https" { "https" } else { "tcp" }.to_owned(),
        },
        address: host.parse().ok(),
        what,
    })
}
