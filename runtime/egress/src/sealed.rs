//! Secrets that a worker does not hold: it has placeholders, and the gateway has the values.

use crate::policy::Place;
use caisson_secrets::{Held, SecretValue};

/// One sealed secret of a call.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// JSON pointer of the property of the config that holds it.
    pub property: String,
    /// What the worker has instead.
    pub placeholder: SecretValue,
    /// The secret, or what is got with it.
    pub value: Held,
    /// Where the connector's manifest says that requests carry it: for what is told, not for what is done.
    pub declared: Vec<Place>,
}
