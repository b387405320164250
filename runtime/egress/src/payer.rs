//! Whom an upstream takes a connection for: by the secrets that requests to it carry.

use crate::name::Name;
use crate::policy::Seal;
use crate::sealed::Sealed;
use crate::throttle::Credential;

/// The references of a connection, and the connection itself.
#[derive(Debug, Clone)]
pub struct Payer {
    /// The reference, and the JSON pointer of its property.
    references: Vec<(String, String)>,
    /// Unique in the daemon.
    connection: String,
}

impl Payer {
    /// Of references in their canonical form, each with the JSON pointer of the property that holds it.
    pub fn new(
        references: impl IntoIterator<Item = (String, String)>,
        connection: impl Into<String>,
    ) -> Self {
        Self {
            references: references.into_iter().collect(),
            connection: connection.into(),
        }
    }

    /// The credential at one host. A sealed secret counts where the policy has it put in; where the worker has the value,
    /// nobody knows where it goes, and it counts everywhere.
    pub(crate) fn at(
        &self,
        host: &Name,
        port: u16,
        sealed: &[Sealed],
        seals: &[Seal],
    ) -> Credential {
        let counts = |property: &String| {
            let is_sealed = sealed.iter().any(|sealed| sealed.property == *property);
            let mut here = seals.iter().filter(|seal| seal.property == *property);
            !is_sealed || here.any(|seal| seal.is_for(host, port))
        };
        let used = self.references.iter();
        let used = used.filter(|(_, property)| counts(property));
        Credential::of(
            used.map(|(reference, _)| reference.as_str()),
            &self.connection,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use caisson_secrets::SecretValue;

    #[test]
    fn a_sealed_secret_counts_where_it_is_put_in_and_a_revealed_one_everywhere() {
        let policy = Policy::parse(
            "shop.yaml",
            "format: 1\nconnector: shop\n\
             egress: [{ host: '*.a.com', ports: [443], protocol: https }]\n\
             secrets:\n  \
             one: { from: ['env:CAISSON_SECRET_1'], seal: { hosts: [api.a.com] } }\n  \
             two: { from: ['env:CAISSON_SECRET_2'], seal: { hosts: [login.a.com] } }\n  \
             open: { from: ['env:CAISSON_SECRET_3'], reveal: true }\n",
        )
        .unwrap();
        let sealed = ["/one", "/two"].map(|property| Sealed {
            property: property.to_owned(),
            placeholder: SecretValue::new("sealed"),
            value: SecretValue::new("value").into(),
            declared: Vec::new(),
        });
        let all = [("env:1", "/one"), ("env:2", "/two"), ("env:3", "/open")];
        let at = |host: &str, references: &[(&str, &str)]| {
            let references = references.iter();
            let references = references.map(|(one, two)| ((*one).to_owned(), (*two).to_owned()));
            let host = Name::parse(host).unwrap();
            Payer::new(references, "default/shop").at(&host, 443, &sealed, &policy.seals)
        };
        assert_eq!(
            at("api.a.com", &all),
            Credential::of(["env:1", "env:3"], "x")
        );
        assert_eq!(
            at("login.a.com", &all),
            Credential::of(["env:2", "env:3"], "x")
        );
        assert_eq!(at("b.a.com", &all), Credential::of(["env:3"], "x"));
        assert_eq!(at("b.a.com", &all[..2]), Credential::of([], "default/shop"));
    }
}
