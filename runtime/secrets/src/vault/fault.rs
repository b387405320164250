//! What the vault's refusals mean, and what to do about them. This file performs no IO.
//!
//! Of an answer's body only its `errors` are ever told: cut, in one line, and not at all where they hold a secret that
//! was sent. <https://openbao.org/api-docs/#http-status-codes>

use http::StatusCode;

use super::answer::{Envelope, deleted};
use super::client::Answer;
use super::path::SecretPath;
use crate::provider::ProviderError;
use crate::value::SecretValue;
use crate::web::Address;

/// How much of one text of the vault is told, in characters.
const MAX_TEXT: usize = 200;
/// How many of its texts.
const MAX_TEXTS: usize = 3;

/// Faults that have nothing to do with what was asked; nothing where the status is of another kind.
pub(crate) fn away(
    address: &Address,
    answer: &Answer,
    sent: &[&SecretValue],
) -> Option<ProviderError> {
    let status = answer.status;
    let envelope = answer.refusal();
    let texts = texts(&envelope, sent);
    // OpenBao says "Vault is sealed" as Vault does.
    if status == StatusCode::SERVICE_UNAVAILABLE && texts.to_lowercase().contains("sealed") {
        return Some(ProviderError::unavailable(
            format!("the vault at {address} is sealed"),
            "unseal it, and try again",
        ));
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Some(ProviderError::unavailable(
            format!("the vault at {address} has too many requests"),
            "try again later, or raise its rate limit quotas",
        ));
    }
    let transient = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::PRECONDITION_FAILED
        );
    transient.then(|| {
        ProviderError::unavailable(
            format!("the vault at {address} failed with {status}{texts}"),
            "look at the vault's own log, and try again",
        )
    })
}

/// A read that was refused.
pub(crate) fn read(
    address: &Address,
    asked: &SecretPath<'_>,
    answer: &Answer,
    sent: &[&SecretValue],
) -> ProviderError {
    if let Some(error) = away(address, answer, sent) {
        return error;
    }
    let envelope = answer.refusal();
    let (path, texts) = (asked.path, texts(&envelope, sent));
    match answer.status {
        StatusCode::FORBIDDEN => ProviderError::denied(
            format!("the vault does not let the daemon read {path}"),
            format!(
                "write into the daemon's policy in the vault: path \"{path}\" {{ capabilities = [\"read\"] }}"
            ),
        ),
        StatusCode::NOT_FOUND => {
            if let Some(error) = envelope.data.and_then(|data| deleted(asked, data)) {
                return error;
            }
            let unversioned = |text: &String| text.contains("versioned K/V");
            let help = if envelope.warnings.iter().any(unversioned) {
                "its store keeps versions: write MOUNT/data/NAME"
            } else if asked.version.is_some() {
                "write that version, or refer to another one"
            } else {
                "write the secret, or mend the reference: it is the path that `bao read` has"
            };
            let version = asked
                .version
                .map_or_else(String::new, |version| format!(" in version {version}"));
            ProviderError::not_found(
                format!("nothing is at {path}{version} in the vault{texts}"),
                help,
            )
        }
        status => ProviderError::malformed(
            format!("the vault cannot read {path} ({status}{texts})"),
            "mend the reference: it is a path that `bao read` can read",
        ),
    }
}

/// Something that the daemon does for itself was refused. `help` says what it takes to be allowed.
pub(crate) fn own(
    address: &Address,
    doing: &str,
    help: &str,
    answer: &Answer,
    sent: &[&SecretValue],
) -> ProviderError {
    away(address, answer, sent).unwrap_or_else(|| {
        let texts = texts(&answer.refusal(), sent);
        ProviderError::denied(
            format!("the vault refused {doing} ({}{texts})", answer.status),
            help,
        )
    })
}

/// `: text, text`, or nothing.
fn texts(envelope: &Envelope<'_>, sent: &[&SecretValue]) -> String {
    let told = envelope.errors.iter().take(MAX_TEXTS).map(|text| {
        if sent.iter().any(|secret| text.contains(secret.expose())) {
            return "(a text that repeats a secret)".to_owned();
        }
        let words: Vec<_> = text
            .split(|c: char| c.is_whitespace() || c.is_control())
            .filter(|word| !word.is_empty())
            .collect();
        words.join(" ").chars().take(MAX_TEXT).collect()
    });
    let told: Vec<String> = told.filter(|text| !text.is_empty()).collect();
    if told.is_empty() {
        String::new()
    } else {
        format!(": {}", told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderFault;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.as_bytes().to_vec().into(),
        }
    }

    fn told(path: &str, status: u16, body: &str) -> ProviderError {
        let address = Address::of_text("https://vault:8200").unwrap();
        let token = SecretValue::new("s.token");
        read(
            &address,
            &SecretPath::parse(path).unwrap(),
            &answer(status, body),
            &[&token],
        )
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (path, status, body, fault, text) in [
            (
                "kv/data/x",
                403,
                r#"{"errors":["permission denied"]}"#,
                ProviderFault::Denied,
                "the vault does not let the daemon read kv/data/x; write into the daemon's policy in the vault: path \"kv/data/x\" { capabilities = [\"read\"] }",
            ),
            (
                "kv/data/x",
                404,
                r#"{"errors":[]}"#,
                ProviderFault::NotFound,
                "nothing is at kv/data/x in the vault; write the secret, or mend the reference: it is the path that `bao read` has",
            ),
            (
                "kv/data/x@4",
                404,
                r#"{"errors":[]}"#,
                ProviderFault::NotFound,
                "nothing is at kv/data/x in version 4 in the vault; write that version, or refer to another one",
            ),
            (
                "kv/x",
                404,
                r#"{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine"]}"#,
                ProviderFault::NotFound,
                "nothing is at kv/x in the vault; its store keeps versions: write MOUNT/data/NAME",
            ),
            (
                "kv/data/x",
                404,
                r#"{"data":{"data":null,"metadata":{"version":2,"deletion_time":"2026-01-02T03:04:05Z","destroyed":false}}}"#,
                ProviderFault::NotFound,
                "version 2 of kv/data/x was deleted at 2026-01-02T03:04:05Z; undelete it, write the secret anew, or refer to another version with @VERSION",
            ),
            (
                "kv/data/x",
                503,
                r#"{"errors":["Vault is sealed"]}"#,
                ProviderFault::Unavailable,
                "the vault at https://vault:8200 is sealed; unseal it, and try again",
            ),
            (
                "kv/data/x",
                429,
                "",
                ProviderFault::Unavailable,
                "the vault at https://vault:8200 has too many requests; try again later, or raise its rate limit quotas",
            ),
            (
                "kv/data/x",
                500,
                r#"{"errors":["1 error occurred:\n\t* out of s.token\n\n", "plain\u0007 bad"]}"#,
                ProviderFault::Unavailable,
                "the vault at https://vault:8200 failed with 500 Internal Server Error: (a text that repeats a secret), plain bad; look at the vault's own log, and try again",
            ),
            (
                "kv/data/x",
                502,
                "<html>hunter22",
                ProviderFault::Unavailable,
                "the vault at https://vault:8200 failed with 502 Bad Gateway; look at the vault's own log, and try again",
            ),
            (
                "pki/issue/x",
                405,
                r#"{"errors":["unsupported operation"]}"#,
                ProviderFault::Malformed,
                "the vault cannot read pki/issue/x (405 Method Not Allowed: unsupported operation); mend the reference: it is a path that `bao read` can read",
            ),
        ] {
            let error = told(path, status, body);
            assert_eq!((error.fault, error.to_string()), (fault, text.to_owned()));
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let body = format!(r#"{{"errors":["{}"]}}"#, "x".repeat(9000));
        assert!(told("kv/x", 500, &body).to_string().len() < 400);
    }
}
