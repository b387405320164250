//! One request to a token endpoint, and its answer (RFC 6749).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::recipe::TokenUrl;
use crate::provider::ProviderError;
use crate::redact::Redactor;
use crate::value::SecretValue;
use crate::web::{Whom, broken, connect};

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How much of an error's description is told, in characters.
const MAX_TEXT: usize = 200;

const TOKENS: Whom = Whom {
    name: "the token endpoint",
    trust: "name the authority that signed its certificate as egress.ca in the daemon's configuration, and the host as the certificate has it in token_url",
};

/// What is sent.
pub(super) struct Request {
    /// `application/x-www-form-urlencoded`.
    pub(super) form: Zeroizing<String>,
    pub(super) authorization: Option<HeaderValue>,
}

/// What a token endpoint gave (RFC 6749, section 5.1).
pub(super) struct Given {
    /// When the request was sent: the life began no earlier.
    pub(super) since: Instant,
    /// Counts also where the access token cannot be used: the one that was sent may be used up.
    pub(super) refresh_token: Option<SecretValue>,
    /// And how long it is valid; nothing where that is not said.
    pub(super) access: Result<(SecretValue, Option<Duration>), ProviderError>,
}

/// Asks for a token. `sent` are secrets that no message may repeat.
///
/// # Errors
/// There is none. The server's own words are told, cut.
pub(super) async fn ask(
    url: &TokenUrl,
    tls: &TlsConnector,
    request: Request,
    sent: &[&SecretValue],
) -> Result<Given, ProviderError> {
    let (address, _) = url.parts();
    let since = Instant::now();
    let answer = tokio::time::timeout(TIMEOUT, once(url, tls, request)).await;
    let (status, body) = answer.map_err(|_| {
        ProviderError::unavailable(
            format!(
                "the token endpoint at {address} did not answer within {} s",
                TIMEOUT.as_secs()
            ),
            "look at the service, and try again",
        )
    })??;
    // Some services refuse with 200.
    let is_refusal = |body: &[u8]| {
        serde_json::from_slice::<Refusal>(body).is_ok_and(|refusal| refusal.error.is_some())
    };
    if !status.is_success() {
        return Err(refused(url, status, &body, sent));
    }
    let given = given(&body, since)?;
    if given.access.is_err() && given.refresh_token.is_none() && is_refusal(&body) {
        return Err(refused(url, status, &body, sent));
    }
    Ok(given)
}

async fn once(
    url: &TokenUrl,
    tls: &TlsConnector,
    request: Request,
) -> Result<(StatusCode, Zeroizing<Vec<u8>>), ProviderError> {
    let (address, target) = url.parts();
    let mut builder = http::Request::post(target)
        .header(HOST, address.authority())
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(authorization) = request.authorization {
        builder = builder.header(AUTHORIZATION, authorization);
    }
    let body = Zeroizing::new(request.form.as_bytes().to_vec());
    let request = builder
        .body(Full::new(Bytes::from_owner(body)))
        .map_err(|error| {
            ProviderError::malformed(
                format!("the token endpoint cannot be asked ({error})"),
                "mend token_url in the policy",
            )
        })?;
    let stream = connect(TOKENS, &address, address.secure.then_some(tls)).await?;
    let broken = |error: hyper::Error| broken(TOKENS, &address, &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // Ends the connection when dropped.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
    let body = body.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            strange("it is longer than 256 KiB")
        } else {
            crate::web::broken(TOKENS, &address, &*error)
        }
    })?;
    Ok((status, Zeroizing::new(Vec::from(body.to_bytes()))))
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    access_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    expires_in: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refresh_token: Option<&'a RawValue>,
}

/// The parser's message is not repeated: it may quote what it could not read.
fn given(body: &[u8], since: Instant) -> Result<Given, ProviderError> {
    let text = |raw: &RawValue| {
        let text = serde_json::from_str::<Box<str>>(raw.get()).ok()?;
        (!text.is_empty()).then(|| SecretValue::new(text))
    };
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|_| strange("it is no object in JSON"))?;
    let refresh_token = answer.refresh_token.and_then(text);
    let token = answer.access_token.and_then(text);
    let kind = answer.token_type.and_then(text);
    let is_bearer = |kind: &SecretValue| kind.expose().eq_ignore_ascii_case("bearer");
    // Some servers write the number as a text.
    let seconds = answer.expires_in.and_then(|raw| {
        let number = raw.get().trim_matches('"').parse::<f64>().ok()?;
        (number.is_finite() && number > 0.0).then_some(number.min(366.0 * 24.0 * 3600.0))
    });
    let access = match token {
        None => Err(strange("it has no access_token")),
        Some(_) if !kind.as_ref().is_none_or(is_bearer) => {
            Err(strange("its token_type is not Bearer"))
        }
        Some(token) if token.expose().bytes().any(|byte| !byte.is_ascii_graphic()) => {
            Err(strange("its access_token has characters that no token has"))
        }
        Some(token) => Ok((token, seconds.map(Duration::from_secs_f64))),
    };
    Ok(Given {
        since,
        refresh_token,
        access,
    })
}

fn strange(what: &str) -> ProviderError {
    ProviderError::malformed(
        format!("the answer is not one of a token endpoint (RFC 6749, 5.1): {what}"),
        "look whether token_url is the service's token endpoint, and of no login page",
    )
}

/// RFC 6749, section 5.2.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

fn refused(
    url: &TokenUrl,
    status: StatusCode,
    body: &[u8],
    sent: &[&SecretValue],
) -> ProviderError {
    let Refusal {
        error,
        error_description,
    } = serde_json::from_slice(body).unwrap_or_default();
    let (address, _) = url.parts();
    let code = error.as_deref().and_then(|error| text(error, sent));
    let described = error_description.and_then(|words| text(&words, sent));
    let told: String = [code.clone(), described]
        .into_iter()
        .flatten()
        .map(|text| format!(": {text}"))
        .collect();
    let message = format!("the token endpoint at {address} refused with {status}{told}");
    let transient = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        )
        || code.as_deref() == Some("temporarily_unavailable");
    if transient {
        return ProviderError::unavailable(message, "look at the service, and try again");
    }
    let help = match code.as_deref() {
        Some("invalid_grant") => {
            "log in again and store the new refresh token or key: the one that is stored has ended, was revoked, or was used elsewhere"
        }
        Some("invalid_client" | "unauthorized_client") => {
            "look at client_id, client_secret and client_auth in the policy, and at the client's registration"
        }
        Some("invalid_scope") => "mend scope in the policy",
        _ if status.is_redirection() => "write the address that it redirects to as token_url",
        _ => "look at the policy's oauth2, and at the client's registration",
    };
    ProviderError::denied(message, help)
}

/// In one line, cut; nothing where it repeats a secret, in whatever form. One too short for the redactor counts as it is.
fn text(text: &str, sent: &[&SecretValue]) -> Option<String> {
    let known = Redactor::new(sent.iter().map(|&secret| ("", secret)));
    let repeats = sent.iter().any(|secret| text.contains(secret.expose()));
    if repeats || known.finds_anywhere(text.as_bytes()) {
        return None;
    }
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let told: String = words.join(" ").chars().take(MAX_TEXT).collect();
    (!told.is_empty()).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Given, ProviderError> {
        given(body.as_bytes(), Instant::now())
    }

    #[test]
    fn lives_are_read_as_servers_write_them() {
        for (life, expected) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("3599.0", Some(3599)),
            ("0", None),
            ("-1", None),
            ("null", None),
            ("\"soon\"", None),
            ("1e300", Some(366 * 24 * 3600)),
        ] {
            let body =
                format!(r#"{{"access_token":"t","token_type":"bearer","expires_in":{life}}}"#);
            let (_, given) = read(&body).unwrap().access.unwrap();
            let seconds = given.map(|life| life.as_secs());
            assert_eq!(seconds, expected, "{life}");
        }
        let (_, life) = read(r#"{"access_token":"t"}"#).unwrap().access.unwrap();
        assert!(life.is_none());
    }

    #[test]
    fn what_is_no_bearer_token_is_refused_and_quoted_nowhere() {
        for body in [
            "<html>hunter22",
            r#"{"access_token":"hunter22","token_type":"mac"}"#,
            r#"{"access_token":"hunter22\r\nx: y","token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"token":"hunter22"}"#,
        ] {
            let error = read(body).and_then(|given| given.access).err().unwrap();
            assert!(!error.to_string().contains("hunter22"), "{error}");
        }
        // Whatever it is: the refresh token that was sent may be used up.
        let odd = r#"{"access_token":"t","token_type":"bot","refresh_token":"r2","expires_in":[]}"#;
        let given = read(odd).unwrap();
        assert_eq!(given.refresh_token.unwrap().expose(), "r2");
        assert!(given.access.is_err());
    }

    #[test]
    fn a_refusal_says_what_to_do_and_whether_to_try_again() {
        let url = TokenUrl::parse("https://login.example/token").unwrap();
        let secret = SecretValue::new("hunter22");
        let told = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            refused(&url, status, body.as_bytes(), &[&secret])
        };
        for (status, body, retryable, words) in [
            (400, r#"{"error":"invalid_grant"}"#, false, "log in again"),
            (401, r#"{"error":"invalid_client"}"#, false, "client_auth"),
            (400, r#"{"error":"invalid_scope"}"#, false, "scope"),
            (302, "", false, "redirects"),
            (503, "<html>", true, "try again"),
            (429, "", true, "try again"),
            (
                400,
                r#"{"error":"x","error_description":"no\nhunter22"}"#,
                false,
                ": x;",
            ),
            (
                400,
                r#"{"error":"x","error_description":"no aHVudGVyMjI="}"#,
                false,
                ": x;",
            ),
            (
                400,
                r#"{"error":"x","error_description":"no\n  such"}"#,
                false,
                ": x: no such;",
            ),
        ] {
            let error = told(status, body);
            assert_eq!(error.retryable(), retryable, "{error}");
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.to_string().contains("hunter22"));
        }
    }
}
