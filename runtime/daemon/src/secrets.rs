//! What a connection's secrets come to: whether the policy grants them, where they go, whether they can be had. Of a value
//! it is told that it is too short or too long to be redacted, and nothing else.

use std::collections::BTreeSet;

use caisson_bundle::Manifest;
use caisson_egress::{Host, Place, Policy, Port, Protocol, Seal};
use caisson_proto::v1::{self, ErrorCode};
use caisson_secrets::{Checked, SecretError, property, references};
use http::header::AUTHORIZATION;
use serde_json::Value;

use crate::call::{Source, declared, secret_error};
use crate::core::Core;
use crate::egress::undecided;
use crate::error::{CallError, cut};
use crate::identity::Workspace;

/// References that one answer holds.
const MOST: usize = 1_000;
/// Bytes of one text of an answer.
const LONGEST: usize = 1 << 10;

/// Reads every reference that the policy grants, and lets go of it.
pub(crate) async fn check(
    core: &Core,
    workspace: &Workspace,
    source: &Source,
) -> Result<v1::CheckSecretsResponse, CallError> {
    let connector = core
        .connector(
            workspace,
            &source.connection.connector,
            source.folder.as_ref(),
        )
        .await?;
    let config = connector.form.check(&source.connection.config_json)?;
    let count = references(&config).map_or(0, |placed| placed.len());
    if count > MOST {
        let message = format!("the config has {count} references, and {MOST} can be checked");
        return Err(CallError::new(ErrorCode::ConfigInvalid, message)
            .with_action("check them in several connections"));
    }
    let policies = core.host.gateway.policies();
    let policy = policies.find(&connector.id(workspace)).map_err(undecided)?;
    let rules = policy.as_ref().map_or(&[][..], |policy| &policy.secrets);
    let name = format!("check-{}", uuid::Uuid::now_v7());
    let checked = core.resolver.check(&name, &config, rules).await;
    let manifest = &connector.form.manifest;
    let shown = |checked| shown(checked, policy.as_deref(), manifest);
    Ok(v1::CheckSecretsResponse {
        policy: policy
            .as_ref()
            .map(|it| it.file.clone())
            .unwrap_or_default(),
        secrets: checked
            .map_err(secret_error)?
            .into_iter()
            .map(shown)
            .collect(),
    })
}

fn shown(checked: Checked, policy: Option<&Policy>, manifest: &Manifest) -> v1::SecretCheck {
    let Checked { placed, outcome } = checked;
    let granted = !matches!(outcome, Err(SecretError::NotGranted { .. }));
    let mut check = v1::SecretCheck {
        property: cut(placed.pointer.clone(), LONGEST),
        reference: placed.reference.to_string(),
        granted,
        ..Default::default()
    };
    let here = |seal: &&Seal| seal.property == placed.pointer;
    let seals: Vec<&Seal> = policy
        .iter()
        .flat_map(|it| &it.seals)
        .filter(here)
        .collect();
    let declared = declared(manifest, &placed.pointer);
    if granted {
        let mut own = policy.iter().flat_map(|it| &it.secrets);
        check.revealed = own.any(|rule| rule.pointer() == placed.pointer && rule.reveal);
        check.places = seals.iter().map(|seal| place(seal)).collect();
        let rules = policy.map_or(&[][..], |policy| &policy.secrets);
        let recipes = || {
            let all = rules.iter();
            all.filter_map(|rule| Some((rule.pointer(), rule.oauth2.as_ref()?)))
        };
        if let Some((_, recipe)) = recipes().find(|(own, _)| *own == placed.pointer) {
            for place in &mut check.places {
                *place = format!("access tokens of {} in {place}", recipe.token_url.as_str());
            }
        }
        let beside =
            recipes().filter(|(_, recipe)| recipe.properties().any(|own| own == placed.pointer));
        check
            .places
            .extend(beside.map(|(_, recipe)| format!("requests to {}", recipe.token_url.as_str())));
        if !check.revealed {
            let missing = declared.iter().filter(|own| !has(&seals, own));
            check.warnings.extend(missing.map(unplaced));
        }
    } else {
        let text = placed.reference.to_string();
        (check.rule_at, check.rule) = rule(&placed.pointer, &text, policy, &declared);
    }
    match outcome {
        Ok(had) => {
            check.available = true;
            check.revealed = had.revealed;
            if let Some(lease) = had.lease {
                // Under a second it does end.
                check.lease_seconds = lease.life.as_secs().max(1);
                check.renewable = lease.renewable;
            }
            check.warnings.extend(had.gap.map(|gap| {
                let text = gap.to_string();
                text.split_once(": ")
                    .map_or(text.clone(), |(_, told)| told.to_owned())
            }));
        }
        Err(error) => {
            check.problem = cut(error.cause(), LONGEST);
            check.retryable = error.retryable();
        }
    }
    check
}

fn place(seal: &Seal) -> String {
    let place = seal.place.as_ref().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "header:authorization".to_owned());
    let hosts: Vec<_> = seal.hosts.iter().map(ToString::to_string).collect();
    let ports: Vec<_> = seal.ports.iter().map(ToString::to_string).collect();
    let mut text = format!("{place} at {} port {}", hosts.join(", "), ports.join(", "));
    if let Some(methods) = &seal.methods {
        text.push_str(&format!(" for {}", methods.join(", ")));
    }
    if let Some(paths) = &seal.paths {
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" under {}", paths.join(", ")));
    }
    cut(text, LONGEST)
}

/// Whether a seal puts the value in where connector.yaml has it. One that names no place means Authorization, as it is or in
/// Basic's pair.
fn has(seals: &[&Seal], declared: &Place) -> bool {
    let authorization = Place::Header(AUTHORIZATION);
    seals.iter().any(|seal| match seal.place.as_ref() {
        None => *declared == Place::Basic || *declared == authorization,
        Some(place) => place == declared || *place == authorization && *declared == Place::Basic,
    })
}

fn unplaced(declared: &Place) -> String {
    let written = match declared {
        Place::Header(name) if *name == AUTHORIZATION => String::new(),
        Place::Basic => String::new(),
        other => format!(", place: \"{other}\""),
    };
    format!(
        "connector.yaml's auth puts it into {declared}, and no seal of the policy names that place: such requests would end with EGRESS_DENIED; write seal: {{ hosts: [HOST]{written} }}"
    )
}

/// Where in the policy to write what, so that the reference is granted.
fn rule(
    pointer: &str,
    reference: &str,
    policy: Option<&Policy>,
    declared: &[Place],
) -> (String, String) {
    let name = property(pointer);
    let own = policy.and_then(|policy| policy.secrets.iter().find(|it| it.pointer() == pointer));
    if let Some(own) = own {
        let from = own.from.iter().map(ToString::to_string);
        let from: Vec<Value> = from
            .chain([reference.to_owned()])
            .map(Value::from)
            .collect();
        return (format!("secrets.{name}"), format!("from: {}", list(&from)));
    }
    let from = list(&[Value::from(reference)]);
    let use_of = policy.and_then(|policy| seal(policy, declared));
    let use_of = use_of.unwrap_or_else(|| match declared.first() {
        Some(Place::ClientKey) => {
            "seal: { hosts: [HOST], ports: [PORT], place: client_key, certificate: PROPERTY }"
                .to_owned()
        }
        _ => "reveal: true".to_owned(),
    });
    (
        "secrets".to_owned(),
        format!("{name}: {{ from: {from}, {use_of} }}"),
    )
}

fn list(items: &[Value]) -> String {
    let items: Vec<_> = items.iter().map(Value::to_string).collect();
    format!("[{}]", items.join(", "))
}

/// The seal that fits: where connector.yaml puts the value, at the hosts whose requests are inspected.
fn seal(policy: &Policy, declared: &[Place]) -> Option<String> {
    let place = declared.first()?;
    let inspected = policy.egress.iter().filter(|rule| {
        rule.protocol == Protocol::Https
            || rule.protocol == Protocol::Postgres && *place == Place::ClientKey
    });
    let (mut hosts, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for rule in inspected {
        if let Host::Names(pattern) = &rule.host {
            hosts.insert(pattern.to_string());
            ports.extend(rule.ports.iter().filter_map(|port| match port {
                Port::Fixed(port) => Some(*port),
                Port::FromConfig(_) => None,
            }));
        }
    }
    if hosts.is_empty() || ports.is_empty() {
        return None;
    }
    // A pattern that begins with a star is a text of its own kind in YAML.
    let hosts: Vec<Value> = hosts.into_iter().map(Value::from).collect();
    let mut text = format!("hosts: {}", list(&hosts));
    if ports != BTreeSet::from([443]) {
        let ports: Vec<Value> = ports.into_iter().map(Value::from).collect();
        text.push_str(&format!(", ports: {}", list(&ports)));
    }
    if *place != Place::Header(AUTHORIZATION) && *place != Place::Basic {
        text.push_str(&format!(", place: {}", Value::from(place.to_string())));
    }
    if *place == Place::ClientKey {
        text.push_str(", certificate: PROPERTY");
    }
    Some(format!("seal: {{ {text} }}"))
}
