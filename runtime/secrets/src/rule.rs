//! What a policy grants: which references may stand at which property of a connection's config.
//!
//! The policy file is read by the egress crate, which owns its format; the meaning of one `secrets` entry is here, so
//! that the check, the explanation and the enforcement share it.

use serde::Serialize;
use serde_json::Value;

use crate::glob::Glob;
use crate::oauth::OAuth2;
use crate::reference::Reference;

/// One entry of a policy's `secrets`: `api_key: { from: ["vault:kv/stripe/*"], reveal: true }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretRule {
    /// The property as the policy writes it: a top-level name (`api_key`) or a JSON pointer (`/database/password`).
    pub name: String,
    /// The patterns; a reference is granted when one of them covers it.
    pub from: Vec<Glob>,
    /// Whether the worker may see the value itself.
    pub reveal: bool,
    /// How access tokens are got with the secret, where the gateway puts in those in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
}

/// What is wrong with one entry of `secrets`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct RuleFault {
    /// JSON pointer relative to the entry: empty, `/from` or `/from/0`.
    pub at: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl SecretRule {
    /// Validates one entry.
    ///
    /// # Errors
    /// Every fault of the entry at once.
    pub fn parse(name: &str, from: &[String], reveal: bool) -> Result<SecretRule, Vec<RuleFault>> {
        let mut faults = Vec::new();
        if name.is_empty() || name == "/" || (!name.starts_with('/') && name.contains('/')) {
            faults.push(RuleFault {
                at: String::new(),
                message: "the name is no property of the config".into(),
                help: "write a property (api_key) or, for a nested one, a JSON pointer (/database/password)".into(),
            });
        }
        if from.is_empty() {
            faults.push(RuleFault {
                at: "/from".into(),
                message: "grants nothing".into(),
                help: "list what the property may refer to, for example from: [\"file:shop\"]"
                    .into(),
            });
        }
        let mut globs = Vec::with_capacity(from.len());
        for (index, text) in from.iter().enumerate() {
            match Glob::parse(text) {
                Ok(glob) => globs.push(glob),
                Err(error) => {
                    let text = error.to_string();
                    let (message, help) = text
                        .split_once("; ")
                        .unwrap_or((&text, "write scheme:path"));
                    faults.push(RuleFault {
                        at: format!("/from/{index}"),
                        message: message.into(),
                        help: help.into(),
                    });
                }
            }
        }
        if faults.is_empty() {
            Ok(SecretRule {
                name: name.into(),
                from: globs,
                reveal,
                oauth2: None,
            })
        } else {
            Err(faults)
        }
    }

    /// The JSON pointer of the property that the rule is for.
    pub fn pointer(&self) -> String {
        pointer_of(&self.name)
    }

    /// Whether the rule lists this reference. Whether the value may be revealed is another question.
    pub fn grants(&self, reference: &Reference) -> bool {
        self.from.iter().any(|glob| glob.matches(reference))
    }
}

/// Escapes one segment of a JSON pointer (RFC 6901).
pub(crate) fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// The JSON pointer of a property as a policy names it: a top-level name, or a pointer already.
pub fn pointer_of(name: &str) -> String {
    if name.starts_with('/') {
        name.to_owned()
    } else {
        format!("/{}", escape(name))
    }
}

/// The property at `pointer` as a key of a policy's `secrets`, in YAML: `api_key` or `"/database/password"`.
pub fn property(pointer: &str) -> String {
    let name = name_of(pointer);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain) {
        true => name,
        false => Value::from(name).to_string(),
    }
}

/// The name under which a policy would write the property at `pointer`: the short form where there is one.
pub(crate) fn name_of(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(name) if !name.is_empty() && !name.contains(['/', '~']) => name.to_owned(),
        _ => pointer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_an_entry_is_reported_at_once() {
        let from = [
            "env:HOME".to_owned(),
            "file:ok".to_owned(),
            "kv/x".to_owned(),
        ];
        let faults = SecretRule::parse("a/b", &from, false).unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| fault.at.as_str()).collect();
        assert_eq!(places, ["", "/from/0", "/from/2"]);
        assert!(faults[1].help.contains("CAISSON_SECRET_"), "{}", faults[1]);
        assert_eq!(
            SecretRule::parse("api_key", &[], true).unwrap_err()[0].at,
            "/from"
        );
    }

    #[test]
    fn a_rule_is_for_one_property() {
        let rule = |name: &str| SecretRule::parse(name, &["file:x".to_owned()], true).unwrap();
        assert_eq!(rule("api_key").pointer(), "/api_key");
        assert_eq!(rule("odd~name").pointer(), "/odd~0name");
        assert_eq!(rule("/database/password").pointer(), "/database/password");
        assert_eq!(name_of("/api_key"), "api_key");
        assert_eq!(name_of("/database/password"), "/database/password");
        assert_eq!(property("/api_key"), "api_key");
        assert_eq!(property("/database/password"), "\"/database/password\"");
        assert_eq!(property("/a \"b\": c"), r#""a \"b\": c""#);
    }
}
