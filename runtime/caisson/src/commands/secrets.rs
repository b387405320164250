//! `caisson secrets`: what a connection's secrets come to. Values never come here: the daemon does not send them.

use std::time::Duration;

use caisson_proto::v1;
use serde_json::json;

use super::{Job, table::out};
use crate::args::{SecretsArgs, SecretsCommand};
use crate::connection::Chosen;
use crate::exit::Exit;
use crate::printable;
use crate::session::Session;
use crate::stop::Result;

pub(crate) fn build(args: SecretsArgs) -> Result<Job> {
    let SecretsCommand::Check {
        json,
        connection,
        server,
    } = args.command;
    let chosen = connection.choose()?;
    let request = v1::CheckSecretsRequest {
        workspace: server.workspace.clone(),
        connection: Some(chosen.reference.clone()),
    };
    Job::ask(&server, move |session, _| {
        Box::pin(check(session, chosen, request, json))
    })
}

async fn check(
    session: &Session,
    chosen: Chosen,
    request: v1::CheckSecretsRequest,
    json: bool,
) -> Result<Exit> {
    let mut operations = session.operations();
    let answer = session
        .wait(operations.check_secrets(request))
        .await
        .map_err(|stop| chosen.explain(stop))?;
    match json {
        true => {
            for secret in &answer.secrets {
                out(&format!("{}\n", value(secret)))?;
            }
        }
        false => out(&text(&answer))?,
    }
    Ok(match answer.secrets.iter().all(|secret| secret.available) {
        true => Exit::Done,
        false => Exit::Findings,
    })
}

fn text(answer: &v1::CheckSecretsResponse) -> String {
    let secrets = &answer.secrets;
    if secrets.is_empty() {
        return "the connection refers to no secret\n".to_owned();
    }
    let mut text = match answer.policy.as_str() {
        "" => "no policy is for this connector\n".to_owned(),
        file => format!("policy: {}\n", printable::word(file)),
    };
    for secret in secrets {
        let (property, reference) = (word(&secret.property), word(&secret.reference));
        text.push_str(&format!("{property}: {reference}\n"));
        for line in lines(secret) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let missing = secrets.iter().filter(|secret| !secret.available).count();
    let warnings: usize = secrets.iter().map(|secret| secret.warnings.len()).sum();
    let number =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let all = number(secrets.len(), "reference");
    text.push_str(&format!(
        "{all}, {missing} unavailable, {}\n",
        number(warnings, "warning")
    ));
    text
}

/// What is told of one reference.
fn lines(secret: &v1::SecretCheck) -> Vec<String> {
    let mut lines = Vec::new();
    if !secret.granted {
        lines.push(format!("not granted: {}", word(&secret.problem)));
        let (at, rule) = (word(&secret.rule_at), word(&secret.rule));
        lines.push(format!(
            "to allow it, write under {at} of the policy: {rule}"
        ));
        lines.push("not asked for".to_owned());
        return lines;
    }
    lines.push(match secret.revealed {
        true => "granted, revealed to the worker".to_owned(),
        false => format!("granted, sealed: {}", word(&secret.places.join("; "))),
    });
    lines.push(match (secret.available, secret.retryable) {
        (true, _) => format!("available{}", lease(secret)),
        (false, true) => format!("unavailable, may pass: {}", word(&secret.problem)),
        (false, false) => format!("unavailable: {}", word(&secret.problem)),
    });
    for warning in &secret.warnings {
        lines.push(format!("warning: {}", word(warning)));
    }
    lines
}

fn word(text: &str) -> String {
    printable::word(text)
}

fn lease(secret: &v1::SecretCheck) -> String {
    if secret.lease_seconds == 0 {
        return String::new();
    }
    let life = Duration::from_secs(secret.lease_seconds);
    let kind = if secret.renewable {
        "prolonged while a call lasts"
    } else {
        "not to be prolonged"
    };
    format!(", for {}, {kind}", span(life))
}

/// `1h 30m`, `45s`.
fn span(life: Duration) -> String {
    let seconds = life.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    parts.join(" ")
}

fn value(secret: &v1::SecretCheck) -> serde_json::Value {
    json!({
        "property": secret.property,
        "reference": secret.reference,
        "granted": secret.granted,
        "rule": secret.rule,
        "rule_at": secret.rule_at,
        "revealed": secret.granted && secret.revealed,
        "places": secret.places,
        "available": secret.available,
        "problem": secret.problem,
        "retryable": secret.retryable,
        "lease_seconds": (secret.lease_seconds > 0).then_some(secret.lease_seconds),
        "renewable": secret.renewable,
        "warnings": secret.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> v1::CheckSecretsResponse {
        let available = v1::SecretCheck {
            granted: true,
            available: true,
            ..Default::default()
        };
        let secrets = vec![
            v1::SecretCheck {
                property: "/api_key".into(),
                reference: "file:shop#key".into(),
                places: vec!["header:x-api-key at api.example.com port 443".into()],
                warnings: vec!["no seal names that place".into()],
                ..available.clone()
            },
            v1::SecretCheck {
                property: "/database/password".into(),
                reference: "vault:database/creds/ro#password".into(),
                revealed: true,
                lease_seconds: 5_445,
                renewable: true,
                ..available.clone()
            },
            v1::SecretCheck {
                property: "/token".into(),
                reference: "env:CAISSON_SECRET_TOKEN".into(),
                problem: "the connector's policy has no rule for \"token\"".into(),
                rule: "token: { from: [\"env:CAISSON_SECRET_TOKEN\"], reveal: true }".into(),
                rule_at: "secrets".into(),
                ..Default::default()
            },
            v1::SecretCheck {
                property: "/pin".into(),
                reference: "command:shop/pin".into(),
                revealed: true,
                available: false,
                retryable: true,
                problem: "the command ended with exit status 75: it may pass\u{1b}[2J\nx".into(),
                ..available
            },
        ];
        v1::CheckSecretsResponse {
            policy: "shop.yaml".into(),
            secrets,
        }
    }

    #[test]
    fn every_reference_is_told_of_in_a_few_lines() {
        insta::assert_snapshot!(text(&answer()));
        let none = v1::CheckSecretsResponse::default();
        assert_eq!(text(&none), "the connection refers to no secret\n");
    }

    #[test]
    fn as_json_it_is_one_object_for_each_reference() {
        let lines: Vec<_> = answer()
            .secrets
            .iter()
            .map(|it| value(it).to_string())
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
