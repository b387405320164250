//! The client certificates of a call: each key that the policy seals as one, put together with its certificate.
//!
//! What cannot be put together ends the call before a worker exists, and nothing of a key is in what is told.

use caisson_egress::{ClientCertificate, Place, Seal};
use caisson_proto::v1::{self, ErrorCode};
use caisson_secrets::{Held, Placed, Resolved, references};
use serde_json::Value;

use crate::error::CallError;

/// A fault, and whether it is the config's own and not a secret's.
struct Fault {
    pointer: String,
    message: String,
    of_config: bool,
}

/// One certificate for each key and certificate that seals name and that the config has.
pub(super) fn certificates(
    config: &Value,
    seals: &[Seal],
    secrets: &Resolved,
) -> Result<Vec<ClientCertificate>, CallError> {
    let mut named: Vec<(&str, Option<&str>)> = seals
        .iter()
        .filter(|seal| seal.place == Some(Place::ClientKey))
        .map(|seal| (seal.property.as_str(), seal.certificate.as_deref()))
        .collect();
    named.sort_unstable();
    named.dedup();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    // A config whose references are misplaced was refused before.
    let placed = references(config).unwrap_or_default();
    let (mut made, mut faults) = (Vec::new(), Vec::new());
    for (property, certificate) in named {
        match one(config, secrets, &placed, property, certificate) {
            Ok(own) => made.extend(own),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(made)
    } else {
        Err(refusal(faults))
    }
}

/// `None`: the config has no such key.
fn one(
    config: &Value,
    secrets: &Resolved,
    placed: &[Placed],
    property: &str,
    certificate: Option<&str>,
) -> Result<Option<ClientCertificate>, Fault> {
    let sealed = secrets.sealed().find(|(pointer, ..)| *pointer == property);
    let Some((_, _, Held::Value(key))) = sealed else {
        return Ok(None);
    };
    let at = |pointer: &str| placed.iter().find(|placed| placed.pointer == pointer);
    let pem = certificate.map(|pointer| match (at(pointer), config.pointer(pointer)) {
        (Some(placed), _) => {
            let value = secrets.value(&placed.reference);
            Ok((pointer, value.map_or("", |value| value.expose())))
        }
        (None, Some(Value::String(text))) => Ok((pointer, text.as_str())),
        (None, None | Some(Value::Null)) => Err(fault_of_config(
            pointer,
            "the policy has the certificate of the client's key stand here, and the config does not set it; put the certificate in, as PEM",
        )),
        (None, Some(_)) => Err(fault_of_config(
            pointer,
            "no text; put the certificate of the client's key in, as PEM",
        )),
    });
    let pem = pem.transpose()?;
    let made = ClientCertificate::new(property, key, pem);
    made.map(Some).map_err(|error| {
        let pointer = certificate.filter(|_| error.is_of_certificate());
        let pointer = pointer.unwrap_or(property);
        match at(pointer) {
            Some(placed) => Fault {
                pointer: pointer.to_owned(),
                message: format!("{pointer}: {}: {error}", placed.reference),
                of_config: false,
            },
            None => fault_of_config(pointer, &error.to_string()),
        }
    })
}

fn fault_of_config(pointer: &str, text: &str) -> Fault {
    Fault {
        pointer: pointer.to_owned(),
        message: format!("{pointer}: {text}"),
        of_config: true,
    }
}

fn refusal(faults: Vec<Fault>) -> CallError {
    let code = if faults.iter().any(|fault| fault.of_config) {
        ErrorCode::ConfigInvalid
    } else {
        ErrorCode::SecretUnavailable
    };
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    let error = CallError::new(code, messages.join("; ")).retryable(false);
    let faults = faults.into_iter().map(|fault| v1::Fault {
        path: fault.pointer,
        message: fault.message,
        ..Default::default()
    });
    CallError {
        faults: faults.collect(),
        ..error
    }
}
