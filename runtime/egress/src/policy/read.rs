//! A document becomes a policy, or every reason why not.

use super::client_key::rival;
use super::files::{Dir, absolute};
use super::oauth2::read_oauth2;
use super::rule::read_rules;
use super::seal::read_seals;
use super::wire::{WireFile, WireLimits, WirePolicy, WireSecret};
use super::{Access, FileRule, Limits, Place, Policy, Rule, Seal, Selector, quantity};
use crate::template::Template;
use caisson_document::{Document, Fault, Faults, Schema, join};
use caisson_secrets::{Grant, OAuth2, SecretRule, pointer_of};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The policy format as a JSON Schema, the same text that editors are given.
pub const SCHEMA: &str = include_str!("../../../../sandbox-profiles/policy.schema.json");

static COMPILED: LazyLock<Schema> = LazyLock::new(|| {
    Schema::parse(SCHEMA).expect("policy.schema.json is a valid JSON Schema: a test compiles it")
});

/// The document under check and what was found so far.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    pub(super) faults: Vec<Fault>,
}

impl Reader<'_> {
    pub(super) fn fault(
        &mut self,
        pointer: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults
            .push(self.document.fault(pointer, message, help));
    }

    pub(super) fn key_fault(
        &mut self,
        pointer: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults
            .push(self.document.key_fault(pointer, message, help));
    }

    /// An error whose text is `message; help`.
    pub(super) fn error(&mut self, pointer: &str, error: &dyn std::error::Error) {
        let text = error.to_string();
        let (message, help) = text.split_once("; ").unwrap_or((&text, ""));
        self.fault(pointer, message, help);
    }

    /// Place of a value; the start of the file where the document came from no text.
    pub(super) fn place(&self, pointer: &str) -> (usize, usize) {
        self.document
            .mark(pointer)
            .map_or((1, 1), |mark| (mark.line, mark.column))
    }
}

impl Policy {
    /// Reads one policy.
    ///
    /// # Errors
    /// Every fault of the text at once, each with line, column and what to write instead.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        Self::read(&Document::parse(file, text).map_err(with_help)?)
    }

    /// Reads one policy out of a document.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn read(document: &Document) -> Result<Self, Faults> {
        let mut reader = Reader {
            document,
            faults: document.check(&COMPILED),
        };
        let wire: WirePolicy = serde_json::from_value(document.value().clone()).unwrap_or_default();
        if wire.signer.is_some() {
            reader.key_fault(
                "/signer",
                "signatures are not checked by this build",
                "leave signer out, or pin the bundle with digest: sha256:…",
            );
        }
        let selector = selector(&mut reader, &wire);
        let egress = read_rules(&mut reader, wire.egress.unwrap_or_default());
        let (secrets, seals) = secrets(&mut reader, wire.secrets, &egress);
        let policy = Self {
            file: document.file().to_owned(),
            selector,
            profile: wire.profile.unwrap_or_default(),
            egress,
            secrets,
            seals,
            redact_records: wire.redact_records.unwrap_or_default(),
            files: files(&mut reader, wire.files.unwrap_or_default()),
            limits: limits(&mut reader, &wire.limits.unwrap_or_default()),
        };
        Faults::or(reader.faults, policy)
    }
}

/// Unquoted templates are the commonest slip of syntax, and YAML's own words do not lead there.
pub(super) fn with_help(mut faults: Faults) -> Faults {
    for fault in &mut faults.0 {
        if fault.help.is_empty() && fault.message.contains("flow") {
            fault.help =
                "close what was opened; inside { } and [ ], text with ${…} stands in quotes"
                    .to_owned();
        }
    }
    faults
}

fn selector(reader: &mut Reader<'_>, wire: &WirePolicy) -> Selector {
    let versions = wire.versions.as_deref().and_then(|text| {
        text.parse()
            .map_err(|error: semver::Error| {
                let help = "write a range in quotes, as in versions: \">=1.4, <2\"";
                reader.fault(
                    "/versions",
                    format!("not a range of versions ({error})"),
                    help,
                );
            })
            .ok()
    });
    Selector {
        connector: wire.connector.clone().unwrap_or_default(),
        versions,
        digest: wire.digest.clone(),
        workspace: wire.workspace.clone(),
    }
}

fn secrets(
    reader: &mut Reader<'_>,
    wire: impl IntoIterator<Item = (String, WireSecret)>,
    rules: &[Rule],
) -> (Vec<SecretRule>, Vec<Seal>) {
    let (mut granted, mut seals) = (Vec::new(), Vec::new());
    let wire: Vec<_> = wire.into_iter().collect();
    let mut recipes = recipes(reader, &wire);
    let used: Vec<String> = recipes
        .values()
        .flat_map(|recipe| recipe.properties().map(str::to_owned))
        .collect();
    for (name, secret) in wire {
        let at = join("/secrets", &name);
        let sealed = reader.document.pointer(&join(&at, "seal")).is_some();
        let unrevealed = matches!(
            reader.document.pointer(&join(&at, "reveal")),
            None | Some(Value::Bool(false))
        );
        if sealed && !unrevealed {
            let help = "leave out reveal, so that the worker holds a placeholder, or seal, so that it holds the value";
            reader.key_fault(&join(&at, "seal"), "the value is revealed as well", help);
        } else if !sealed && unrevealed && !used.contains(&pointer_of(&name)) {
            let help = "write seal: { hosts: [api.example.com] }, so that the gateway puts the value in, or reveal: true if the worker may see it";
            reader.fault(&at, "neither the gateway nor the worker could use it", help);
        }
        let Some(from) = &secret.from else { continue };
        let from: Option<Vec<String>> = from.iter().cloned().collect();
        let Some(from) = from.filter(|from| !from.is_empty()) else {
            continue; // the schema said so
        };
        match SecretRule::parse(&name, &from, secret.reveal == Some(true)) {
            Ok(mut rule) => {
                let same = |other: &&SecretRule| other.pointer() == rule.pointer();
                if let Some(other) = granted.iter().find(same) {
                    let message = format!("{} is the same property", other.name);
                    reader.key_fault(&at, message, "write one entry for it");
                }
                rule.oauth2 = recipes.remove(&name);
                let has_tokens = rule.oauth2.is_some();
                for seal in read_seals(reader, &at, &rule.pointer(), &secret, rules) {
                    if let Some(other) = rival(&seal, &seals) {
                        let message = format!(
                            "the key of {} is for the same host and port, and a handshake shows one certificate",
                            other.property
                        );
                        let help = "name other hosts or ports in one of the two";
                        reader.key_fault(&join(&at, "seal"), message, help);
                    }
                    if has_tokens && seal.place == Some(Place::ClientKey) {
                        let message = "the key of a client certificate is shown in the handshake, and no tokens are got with it";
                        let help = "leave out oauth2, or write another place";
                        reader.key_fault(&join(&at, "oauth2"), message, help);
                    }
                    seals.push(seal);
                }
                granted.push(rule);
            }
            Err(faults) => {
                for fault in faults {
                    reader.fault(&format!("{at}{}", fault.at), fault.message, fault.help);
                }
            }
        }
    }
    (granted, seals)
}

/// How access tokens are got, by the name of the entry.
fn recipes(reader: &mut Reader<'_>, wire: &[(String, WireSecret)]) -> BTreeMap<String, OAuth2> {
    let entries: Vec<String> = wire.iter().map(|(name, _)| pointer_of(name)).collect();
    let mut recipes = BTreeMap::new();
    for (name, secret) in wire {
        let Some(oauth2) = &secret.oauth2 else {
            continue;
        };
        let at = join(&join("/secrets", name), "oauth2");
        if secret.reveal == Some(true) {
            let help = "leave out reveal, and write seal: { hosts: [api.example.com] }: the gateway puts in the access token";
            reader.key_fault(&at, "tokens are for the gateway alone, and the worker would have this one when it has ended", help);
        }
        let Some(recipe) = read_oauth2(reader, &at, oauth2) else {
            continue;
        };
        let mut from = secret.from.iter().flatten().flatten();
        if matches!(recipe.grant, Grant::RefreshToken { rotates: true })
            && from.all(|text| !text.starts_with("vault:"))
        {
            let message = "a refresh token that the service may replace has to be where the next one can be stored";
            let help = "write from: [\"vault:MOUNT/data/NAME#KEY\"], or rotates: false if the service never replaces it";
            reader.fault(&at, message, help);
        }
        let secret = recipe.client_secret.as_ref();
        if let Some(pointer) = secret.filter(|pointer| !entries.contains(pointer)) {
            let help = format!(
                "write an entry for it beside this one: {}: {{ from: [\"file:shop\"] }}",
                oauth2.client_secret.as_deref().unwrap_or(pointer)
            );
            reader.fault(
                &join(&at, "client_secret"),
                "no entry of secrets is for this property",
                help,
            );
        }
        recipes.insert(name.clone(), recipe);
    }
    recipes
}

fn files(reader: &mut Reader<'_>, wire: Vec<Option<WireFile>>) -> Vec<FileRule> {
    let mut rules = Vec::new();
    for (index, file) in wire.into_iter().enumerate() {
        let at = format!("/files/{index}");
        let Some(file) = file else { continue };
        let mut within = Vec::new();
        for (index, text) in file.within.iter().flatten().enumerate() {
            let Some(text) = text else { continue };
            match absolute(text) {
                Some(path) => within.push(path),
                None => reader.fault(
                    &format!("{at}/within/{index}"),
                    NOT_ABSOLUTE,
                    "write it from / on, without . and ..",
                ),
            }
        }
        let Some(dir) = file
            .dir
            .as_deref()
            .and_then(|text| dir(reader, &at, text, &mut within, file.within.is_some()))
        else {
            continue;
        };
        let access = match file.access.as_deref() {
            Some("write") => Access::Write,
            _ => Access::Read,
        };
        let (line, column) = reader.place(&at);
        rules.push(FileRule {
            line,
            column,
            dir,
            within,
            access,
        });
    }
    rules
}

const NOT_ABSOLUTE: &str = "not a plain absolute path";

fn dir(
    reader: &mut Reader<'_>,
    at: &str,
    text: &str,
    within: &mut Vec<PathBuf>,
    fenced: bool,
) -> Option<Dir> {
    let pointer = join(at, "dir");
    match Template::parse(text) {
        Err(error) => {
            reader.error(&pointer, &error);
            None
        }
        Ok(Some(template)) => {
            if !fenced {
                reader.fault(
                    &pointer,
                    "a directory from the connection has no fence",
                    "add within: [/srv/lake], the directories that it must lie in",
                );
            }
            Some(Dir::FromConfig(template))
        }
        Ok(None) => {
            let Some(path) = absolute(text) else {
                reader.fault(
                    &pointer,
                    NOT_ABSOLUTE,
                    "write it from / on, without . and ..",
                );
                return None;
            };
            if !fenced {
                within.push(path.clone());
            } else if !within.iter().any(|within| path.starts_with(within)) {
                reader.fault(
                    &pointer,
                    "the directory is not inside `within`",
                    "leave within out, or name a directory above it",
                );
            }
            Some(Dir::Fixed(path))
        }
    }
}

fn limits(reader: &mut Reader<'_>, wire: &WireLimits) -> Limits {
    let mut size = |key: &str, text: Option<&str>| {
        let bytes = quantity::bytes(text?);
        if bytes.is_none() {
            reader.fault(
                &format!("/limits/{key}"),
                "not a size",
                "write a whole number and a unit, as in 256MiB or 2GiB",
            );
        }
        bytes
    };
    let memory_bytes = size("memory", wire.memory.as_deref());
    let tmp_bytes = size("tmp", wire.tmp.as_deref());
    let duration = wire.duration.as_deref().and_then(|text| {
        let duration = quantity::duration(text);
        if duration.is_none() {
            reader.fault(
                "/limits/duration",
                "not a duration",
                "write a whole number and a unit, as in 90s, 30m, 2h or 1d",
            );
        }
        duration
    });
    Limits {
        memory_bytes,
        cpus: wire.cpu,
        duration,
        pids: wire.pids,
        tmp_bytes,
        open_files: wire.open_files,
    }
}
