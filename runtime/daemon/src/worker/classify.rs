//! From how a worker ended to a stable code. Pure.

use std::time::{Duration, SystemTime};

use caisson_bundle::Size;
use caisson_proto::v1::{EgressRefusal, ErrorCode};
use caisson_sandbox::Limits;
use caisson_wire::message::Failed;

use crate::error::{CallError, named};

/// How the process ended, as far as the codes care.
#[derive(Debug, Clone, Default)]
pub(crate) struct Death {
    pub(crate) signal: Option<i32>,
    pub(crate) status: Option<i32>,
    pub(crate) oom_killed: bool,
    pub(crate) pids_limit_hit: bool,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_throttled_seconds: f64,
}

const SIGSYS: i32 = 31;

/// A worker that ended without Done or Failed. `last` are its last lines on
/// stderr.
pub(crate) fn lost(death: &Death, limits: &Limits, last: &[String]) -> CallError {
    if death.oom_killed {
        return out_of_memory(death, limits);
    }
    if death.signal == Some(SIGSYS) {
        return CallError::new(
            ErrorCode::SandboxViolation,
            "the kernel killed the worker for a system call that its profile forbids",
        );
    }
    let how = match (death.signal, death.status) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(status)) => format!("exit status {status}"),
        (None, None) => "an unknown cause".to_owned(),
    };
    let mut error = CallError::new(
        ErrorCode::WorkerLost,
        format!("the worker ended without an answer ({how})"),
    );
    error.traceback = last.join("\n");
    error
}

fn out_of_memory(death: &Death, limits: &Limits) -> CallError {
    CallError::new(
        ErrorCode::MemoryExhausted,
        format!(
            "the worker needed more than its `limits.memory` of {} ({} bytes; peak {})",
            Size(limits.memory_bytes),
            limits.memory_bytes,
            death.peak_memory_bytes
        ),
    )
}

/// A worker that said Failed: its own code, unless the daemon knows better.
pub(crate) fn failed(
    failed: Failed,
    death: &Death,
    limits: &Limits,
    refusals: &[EgressRefusal],
) -> CallError {
    let said = named(&failed.code);
    let about = format!("{} {}", failed.exception, failed.message);
    let limit = limit_met(said, &about, death);
    let mut error = match limit {
        Some(Limit::Memory) => out_of_memory(death, limits),
        Some(limit) => limit.error(&failed.message, limits),
        None if is_network(said, &about) => {
            CallError::new(better_network_code(said, &about, refusals), failed.message)
        }
        None if was_answered(said, &about, refusals) => {
            CallError::new(ErrorCode::EgressDenied, failed.message)
        }
        None => CallError::new(said, failed.message),
    };
    if error.code == ErrorCode::EgressDenied {
        let denials = || refusals.iter().filter(|refusal| denied(refusal));
        let meant = denials().find(|refusal| is_named(refusal, &about));
        if let Some(refusal) = meant.or_else(|| denials().next()) {
            error.message = format!("{}: {}", describe(refusal), error.message);
        }
    } else if !failed.action.is_empty() {
        // Its own words, and said to be so.
        error.action = format!("the connector says: {}", failed.action);
    }
    if let Some(advice) = advice(error.code, refusals) {
        error.action = advice.to_owned();
    }
    if failed.retry_at_unix_ms > 0 {
        // A worker can say any number; a year is further than anybody waits.
        let ms = failed.retry_at_unix_ms.min(far_future_ms());
        error.retry_at = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    }
    error.exception = failed.exception;
    error.traceback = failed.traceback;
    error.stream = failed.stream;
    error.partition = failed.partition;
    error
}

/// Reasons of the gateway's that say by themselves what is to be done.
const INSISTED: &str = "tls_insisted";
const WANTED: &str = "client_certificate_wanted";

/// A limit of the worker that an exception tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Memory,
    Tmp,
    Pids,
    OpenFiles,
}

impl Limit {
    /// What the connector said, and which limit it met.
    fn error(self, said: &str, limits: &Limits) -> CallError {
        let (code, key, value) = match self {
            Self::Memory => (
                ErrorCode::MemoryExhausted,
                "memory",
                Size(limits.memory_bytes).to_string(),
            ),
            Self::Tmp => (
                ErrorCode::DiskExhausted,
                "tmp",
                Size(limits.tmp_bytes).to_string(),
            ),
            Self::Pids => (ErrorCode::ProcessLimit, "pids", limits.pids.to_string()),
            Self::OpenFiles => (
                ErrorCode::ConnectorFailed,
                "open_files",
                limits.open_files.to_string(),
            ),
        };
        let error = CallError::new(code, format!("{said} (its `limits.{key}` is {value})"));
        match self {
            // No code of its own: a descriptor too many is the connector's fault before it is anything else.
            Self::OpenFiles => error.with_action(
                "raise `limits.open_files` or let the connector hold fewer files and connections open",
            ),
            _ => error,
        }
    }
}

fn limit_met(code: ErrorCode, about: &str, death: &Death) -> Option<Limit> {
    let says = |signs: &[&str]| signs.iter().any(|sign| about.contains(sign));
    match code {
        ErrorCode::MemoryExhausted => Some(Limit::Memory),
        ErrorCode::DiskExhausted => Some(Limit::Tmp),
        ErrorCode::ProcessLimit => Some(Limit::Pids),
        // Also where a client took a socket that it could not open for a network that is down.
        _ if says(&["[Errno 24]", "os error 24", "Too many open files"]) => Some(Limit::OpenFiles),
        ErrorCode::ConnectorFailed if says(&["MemoryError", "[Errno 12]"]) => Some(Limit::Memory),
        ErrorCode::ConnectorFailed if says(&["[Errno 28]"]) => Some(Limit::Tmp),
        ErrorCode::ConnectorFailed if says(&["can't start new thread"]) => Some(Limit::Pids),
        // EAGAIN is also what a socket without data says.
        ErrorCode::ConnectorFailed if says(&["[Errno 11]"]) && death.pids_limit_hit => {
            Some(Limit::Pids)
        }
        _ => None,
    }
}

/// One sentence on a refusal.
pub(crate) fn describe(refusal: &EgressRefusal) -> String {
    let target = if refusal.host.is_empty() {
        &refusal.address
    } else {
        &refusal.host
    };
    format!(
        "egress to {target}:{} ({}) was refused: {}",
        refusal.port, refusal.protocol, refusal.reason
    )
}

fn far_future_ms() -> u64 {
    let year = Duration::from_secs(366 * 24 * 3600);
    let at = SystemTime::now() + year;
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(u64::MAX, |since| since.as_millis() as u64)
}

fn is_network(code: ErrorCode, about: &str) -> bool {
    const SIGNS: [&str; 11] = [
        "ConnectionRefused",
        "ConnectionReset",
        "gaierror",
        "TransportError",
        "[Errno 111]",
        "[Errno 104]",
        "[Errno 113]",
        "onnection",
        "resolve",
        "SSL",
        "ertificate",
    ];
    match code {
        ErrorCode::UpstreamUnavailable | ErrorCode::DnsFailed | ErrorCode::TlsFailed => true,
        ErrorCode::ConnectorFailed => SIGNS.iter().any(|sign| about.contains(sign)),
        _ => false,
    }
}

/// Refused by policy, and not merely unanswered by the world outside.
fn denied(refusal: &EgressRefusal) -> bool {
    refusal.layer != crate::egress::UPSTREAM
}

/// Whether what the connector took for the upstream's answer was the gateway's refusal of a request.
fn was_answered(code: ErrorCode, about: &str, refusals: &[EgressRefusal]) -> bool {
    // What the gateway answers with: many clients tell the status, and not the host.
    const STATUSES: [&str; 3] = ["403", "421", "400"];
    let silent = matches!(
        code,
        ErrorCode::ConnectorFailed | ErrorCode::PermissionMissing
    );
    let is_status = STATUSES.iter().any(|status| about.contains(status));
    let refused = |refusal: &EgressRefusal| {
        refusal.layer == crate::egress::REQUEST && (is_status || is_named(refusal, about))
    };
    silent && refusals.iter().any(refused)
}

/// Is it told of where this refusal happened?
fn is_named(refusal: &EgressRefusal, about: &str) -> bool {
    [&refusal.host, &refusal.address]
        .into_iter()
        .any(|place| !place.is_empty() && about.contains(place.as_str()))
}

/// What to do where the gateway knows it better than the code does.
fn advice(code: ErrorCode, refusals: &[EgressRefusal]) -> Option<&'static str> {
    let seen = |reason| refusals.iter().any(|refusal| refusal.reason == reason);
    match code {
        ErrorCode::EgressDenied if seen(INSISTED) => Some(
            "write sslmode=disable or prefer in the connection's config: under protocol: postgres the gateway speaks TLS with the server",
        ),
        ErrorCode::TlsFailed if seen(WANTED) => Some(
            "the server asks for a client certificate: have the policy seal its key with place: client_key, for this host and port",
        ),
        _ => None,
    }
}

/// What the gateway saw explains a failed connection better than the
/// connector can: any that it saw where the connector has no word of its own,
/// else those of the place that it names.
fn better_network_code(code: ErrorCode, about: &str, refusals: &[EgressRefusal]) -> ErrorCode {
    let explains = |refusal: &&EgressRefusal| {
        // Drivers of databases tell of what TLS came to, and not of the host.
        let is_of_tls = code == ErrorCode::TlsFailed && refusal.reason == INSISTED;
        code == ErrorCode::ConnectorFailed || is_of_tls || is_named(refusal, about)
    };
    let mut seen = refusals.iter().filter(explains).peekable();
    let first = seen.peek().copied();
    if seen.any(denied) {
        return ErrorCode::EgressDenied;
    }
    match first {
        Some(failed) if failed.reason == "dns_failed" => ErrorCode::DnsFailed,
        Some(failed) if failed.reason == "tls_failed" || failed.reason == WANTED => {
            ErrorCode::TlsFailed
        }
        Some(_) => ErrorCode::UpstreamUnavailable,
        None => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, exception: &str, message: &str) -> Failed {
        Failed {
            code: code.into(),
            exception: exception.into(),
            message: message.into(),
            ..Default::default()
        }
    }

    fn refusal(reason: &str) -> EgressRefusal {
        let layer = if reason.starts_with("dial") {
            crate::egress::UPSTREAM
        } else {
            "gateway"
        };
        EgressRefusal {
            host: "evil.example".into(),
            port: 443,
            reason: reason.into(),
            layer: layer.into(),
            ..Default::default()
        }
    }

    #[test]
    fn what_the_gateway_knows_of_tls_says_what_is_to_be_done() {
        let end = |code: &str, message: &str, reason: &str| {
            let said = said(code, "psycopg.OperationalError", message);
            let mut told = refusal(reason);
            if reason == WANTED {
                told.layer = crate::egress::UPSTREAM.into();
            }
            failed(said, &Death::default(), &Limits::default(), &[told])
        };
        let insisted = end(
            "TLS_FAILED",
            "server does not support SSL, but SSL was required",
            INSISTED,
        );
        assert_eq!(insisted.code, ErrorCode::EgressDenied);
        assert!(
            insisted.action.contains("sslmode=disable"),
            "{}",
            insisted.action
        );
        let wanted = end("CONNECTOR_FAILED", "Connection broken", WANTED);
        assert_eq!(wanted.code, ErrorCode::TlsFailed);
        assert!(
            wanted.action.contains("place: client_key"),
            "{}",
            wanted.action
        );
        let other = end("TLS_FAILED", "certificate has expired", "name_not_allowed");
        assert_eq!(other.code, ErrorCode::TlsFailed);
        assert!(!other.action.contains("sslmode"), "{}", other.action);
    }

    #[test]
    fn an_answer_that_was_the_gateways_is_a_refusal_whatever_the_client_made_of_it() {
        let refused = EgressRefusal {
            layer: crate::egress::REQUEST.into(),
            ..refusal("path_not_allowed")
        };
        let end = |code: &str, message: &str, refusals: &[EgressRefusal]| {
            let said = said(code, "urllib.error.HTTPError", message);
            failed(said, &Death::default(), &Limits::default(), refusals).code
        };
        let told = [refused];
        for message in [
            "HTTP Error 403: Forbidden",
            "for url: https://evil.example/admin",
        ] {
            assert_eq!(
                end("CONNECTOR_FAILED", message, &told),
                ErrorCode::EgressDenied
            );
            assert_eq!(
                end("PERMISSION_MISSING", message, &told),
                ErrorCode::EgressDenied
            );
            assert_ne!(
                end("CONNECTOR_FAILED", message, &[]),
                ErrorCode::EgressDenied
            );
        }
        assert_eq!(
            end("CONNECTOR_FAILED", "division by zero", &told),
            ErrorCode::ConnectorFailed
        );
        assert_eq!(
            end("SCHEMA_VIOLATION", "field 403", &told),
            ErrorCode::SchemaViolation
        );
    }

    #[test]
    fn death_by_sigsys_is_a_sandbox_violation() {
        let death = Death {
            signal: Some(SIGSYS),
            ..Default::default()
        };
        assert_eq!(
            lost(&death, &Limits::default(), &[]).code,
            ErrorCode::SandboxViolation
        );
    }

    #[test]
    fn an_oom_kill_names_the_limit_and_the_peak() {
        let death = Death {
            signal: Some(9),
            oom_killed: true,
            peak_memory_bytes: 99,
            ..Default::default()
        };
        let limits = Limits {
            memory_bytes: 64 << 20,
            ..Limits::default()
        };
        let error = lost(&death, &limits, &[]);
        assert_eq!(error.code, ErrorCode::MemoryExhausted);
        for part in ["64MiB", "67108864", "peak 99"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn an_exception_that_tells_of_a_limit_gets_its_code_and_the_limit_is_named() {
        let end = |exception: &str, message: &str, pids_limit_hit| {
            let death = Death {
                pids_limit_hit,
                ..Default::default()
            };
            let said = said("CONNECTOR_FAILED", exception, message);
            let error = failed(said, &death, &Limits::default(), &[]);
            (error.code, error.message + &error.action)
        };
        use ErrorCode::{ConnectorFailed, DiskExhausted, MemoryExhausted, ProcessLimit};
        for (exception, message, code, named) in [
            (
                "MemoryError",
                "",
                MemoryExhausted,
                "`limits.memory` of 512MiB",
            ),
            (
                "OSError",
                "[Errno 28] x",
                DiskExhausted,
                "`limits.tmp` is 256MiB",
            ),
            (
                "E",
                "can't start new thread",
                ProcessLimit,
                "`limits.pids` is 64",
            ),
            ("E", "[Errno 11] x", ProcessLimit, "`limits.pids` is 64"),
            (
                "E",
                "[Errno 24] x",
                ConnectorFailed,
                "raise `limits.open_files`",
            ),
        ] {
            let (found, text) = end(exception, message, true);
            assert_eq!(found, code, "{message}");
            assert!(text.contains(named), "{text}");
        }
        assert_eq!(end("E", "[Errno 11] x", false).0, ConnectorFailed);
    }

    #[test]
    fn a_refused_connection_is_egress_denied_whatever_the_connector_calls_it() {
        let error = failed(
            said("CONNECTOR_FAILED", "ConnectionRefusedError", "x"),
            &Death::default(),
            &Limits::default(),
            &[refusal("no_rule")],
        );
        assert_eq!(error.code, ErrorCode::EgressDenied);
        assert!(error.message.contains("evil.example:443"));
    }

    #[test]
    fn an_old_refusal_elsewhere_does_not_explain_what_the_connector_names_itself() {
        let end = |message: &str| {
            let said = said("UPSTREAM_UNAVAILABLE", "Upstream", message);
            let refusals = [refusal("no_rule")];
            failed(said, &Death::default(), &Limits::default(), &refusals).code
        };
        assert_eq!(
            end("https://api.example answered 503"),
            ErrorCode::UpstreamUnavailable
        );
        assert_eq!(
            end("cannot connect to evil.example:443"),
            ErrorCode::EgressDenied
        );
    }

    #[test]
    fn an_upstream_that_does_not_answer_is_no_policy_matter() {
        let error = failed(
            said("UPSTREAM_UNAVAILABLE", "", "x"),
            &Death::default(),
            &Limits::default(),
            &[refusal("dial_refused")],
        );
        assert_eq!(error.code, ErrorCode::UpstreamUnavailable);
    }

    #[test]
    fn an_unrelated_exception_stays_the_connectors_own() {
        let error = failed(
            said("CONNECTOR_FAILED", "KeyError", "'id'"),
            &Death::default(),
            &Limits::default(),
            &[refusal("no_rule")],
        );
        assert_eq!(error.code, ErrorCode::ConnectorFailed);
    }
}
