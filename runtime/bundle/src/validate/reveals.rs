//! C502: code that takes the value out of a secret. Whoever reviews a connector, and whoever writes its policy, sees where:
//! such code works only under `reveal: true`, and under `seal` it computes with a placeholder.
//!
//! A warning, also where `auth` names the property: signatures, logins of other protocols and drivers need the value, and
//! what the author knows of it a check cannot.

use caisson_document::join;
use serde_json::Value;

use super::{Context, Findings};
use crate::Auth;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for module in &context.facts.modules {
        for reveal in &module.reveals {
            let property = reveal.path.join(".");
            let found = match property.as_str() {
                "" => "the value is taken out of a secret".to_owned(),
                _ => format!("the value is taken out of the secret self.config.{property}"),
            };
            let by = match reveal.path.as_slice() {
                [name] => auth_of(context, name),
                _ => None,
            };
            let help = match by {
                Some(auth) => format!(
                    "leave reveal() out: {auth} of connector.yaml puts the value into requests; or say in README.md why the code needs it: a policy must then say reveal: true"
                ),
                None => "hand the secret on as it is where it is only sent; where code needs the value, say so in README.md: a policy must then say reveal: true".to_owned(),
            };
            findings.add("C502", &module.file, reveal.line, found, help);
        }
    }
}

/// The entry of `auth` that uses a property.
fn auth_of(context: &Context<'_>, property: &str) -> Option<String> {
    let entries = context.document.pointer("/auth")?.as_object()?;
    let uses = |value: &Value| {
        let auth = serde_json::from_value::<Auth>(value.clone());
        auth.is_ok_and(|auth| auth.fields().iter().any(|(_, field, _)| *field == property))
    };
    let (name, _) = entries.iter().find(|(_, value)| uses(value))?;
    Some(
        join("/auth", name)
            .trim_start_matches('/')
            .replace('/', "."),
    )
}
