//! From how a worker ended to a stable code. Pure.

use std::time::{Duration, SystemTime};

use caisson_proto::v1::{EgressRefusal, ErrorCode};
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
    pub(crate) cpu_seconds: f64,
}

const SIGSYS: i32 = 31;

/// A worker that ended without Done or Failed. `last` are its last lines on
/// stderr.
pub(crate) fn lost(death: &Death, memory_limit: u64, last: &[String]) -> CallError {
    if death.oom_killed {
        return out_of_memory(death, memory_limit);
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

fn out_of_memory(death: &Death, limit: u64) -> CallError {
    CallError::new(
        ErrorCode::MemoryExhausted,
        format!(
            "the worker needed more than its {limit} bytes of memory (peak {})",
            death.peak_rss_bytes
        ),
    )
}

/// A worker that said Failed: its own code, unless the daemon knows better.
pub(crate) fn failed(
    failed: Failed,
    death: &Death,
    memory_limit: u64,
    refusals: &[EgressRefusal],
) -> CallError {
    let code = named(&failed.code);
    let about = format!("{} {}", failed.exception, failed.message);
    let code = match code {
        ErrorCode::ConnectorFailed if about.contains("MemoryError") => {
            return out_of_memory(death, memory_limit);
        }
        ErrorCode::ConnectorFailed if about.contains("[Errno 28]") => ErrorCode::DiskExhausted,
        ErrorCode::ConnectorFailed if death.pids_limit_hit && looks_like_process_limit(&about) => {
            ErrorCode::ProcessLimit
        }
        code if is_network(code, &about) => better_network_code(code, refusals),
        code => code,
    };
    let mut error = CallError::new(code, failed.message);
    if code == ErrorCode::EgressDenied {
        if let Some(refusal) = refusals.iter().find(|refusal| denied(refusal)) {
            error.message = format!("{}: {}", describe(refusal), error.message);
        }
    } else if !failed.action.is_empty() {
        // Its own words, and said to be so.
        error.action = format!("the connector says: {}", failed.action);
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

fn looks_like_process_limit(about: &str) -> bool {
    about.contains("[Errno 11]") || about.contains("can't start new thread")
}

fn is_network(code: ErrorCode, about: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "ConnectionRefused",
        "ConnectionReset",
        "gaierror",
        "TransportError",
        "[Errno 111]",
        "[Errno 104]",
        "[Errno 113]",
        "onnection",
        "resolve",
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

/// What the gateway saw explains a failed connection better than the
/// connector can.
fn better_network_code(code: ErrorCode, refusals: &[EgressRefusal]) -> ErrorCode {
    if refusals.iter().any(denied) {
        return ErrorCode::EgressDenied;
    }
    match refusals.first() {
        Some(failed) if failed.reason == "dns_failed" => ErrorCode::DnsFailed,
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
    fn death_by_sigsys_is_a_sandbox_violation() {
        let death = Death {
            signal: Some(SIGSYS),
            ..Default::default()
        };
        assert_eq!(lost(&death, 1, &[]).code, ErrorCode::SandboxViolation);
    }

    #[test]
    fn an_oom_kill_names_the_limit_and_the_peak() {
        let death = Death {
            signal: Some(9),
            oom_killed: true,
            peak_rss_bytes: 99,
            ..Default::default()
        };
        let error = lost(&death, 100, &[]);
        assert_eq!(error.code, ErrorCode::MemoryExhausted);
        assert!(error.message.contains("100") && error.message.contains("99"));
    }

    #[test]
    fn a_refused_connection_is_egress_denied_whatever_the_connector_calls_it() {
        let error = failed(
            said("CONNECTOR_FAILED", "ConnectionRefusedError", "x"),
            &Death::default(),
            1,
            &[refusal("no_rule")],
        );
        assert_eq!(error.code, ErrorCode::EgressDenied);
        assert!(error.message.contains("evil.example:443"));
    }

    #[test]
    fn an_upstream_that_does_not_answer_is_no_policy_matter() {
        let error = failed(
            said("UPSTREAM_UNAVAILABLE", "", "x"),
            &Death::default(),
            1,
            &[refusal("dial_refused")],
        );
        assert_eq!(error.code, ErrorCode::UpstreamUnavailable);
    }

    #[test]
    fn an_unrelated_exception_stays_the_connectors_own() {
        let error = failed(
            said("CONNECTOR_FAILED", "KeyError", "'id'"),
            &Death::default(),
            1,
            &[refusal("no_rule")],
        );
        assert_eq!(error.code, ErrorCode::ConnectorFailed);
    }
}
