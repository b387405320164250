//! How a policy has access tokens got with a secret.

use super::read::Reader;
use super::wire::{WireOAuth2, WireTold};
use caisson_document::join;
use caisson_secrets::{
    Algorithm, ClientAuth, Grant, OAuth2, OWN_PARAMS, Signing, TokenUrl, Told, pointer_of,
};
use serde_json::Value;

/// Keys that only some grants have, and what these are.
const ONLY: [(&str, &[&str]); 4] = [
    ("rotates", &["refresh_token"]),
    ("issuer", &["jwt_bearer"]),
    ("subject", &["jwt_bearer"]),
    ("audience", &["jwt_bearer"]),
];

/// `oauth2` of one entry of `secrets`; nothing where it has a fault.
pub(super) fn read_oauth2(reader: &mut Reader<'_>, at: &str, wire: &WireOAuth2) -> Option<OAuth2> {
    let before = reader.faults.len();
    let name = wire.grant.as_deref()?;
    for (key, grants) in ONLY {
        if has(reader, at, key) && !grants.contains(&name) {
            reader.key_fault(
                &join(at, key),
                format!("{key} has no use where grant is {name}"),
                format!("leave it out, or write grant: {}", grants.join(" or ")),
            );
        }
    }
    let told = |told: &Option<WireTold>| told.as_ref().map(WireTold::read);
    let client_id = told(&wire.client_id);
    let issuer = told(&wire.issuer);
    let grant = match name {
        "client_credentials" => Grant::ClientCredentials,
        "refresh_token" => Grant::RefreshToken {
            rotates: wire.rotates.unwrap_or(true),
        },
        "jwt_bearer" => Grant::JwtBearer {
            issuer: issuer.clone(),
            subject: told(&wire.subject),
            audience: wire.audience.clone(),
        },
        _ => return None, // the schema said so
    };
    let client_auth = client_auth(wire, &grant);
    let own = matches!(grant, Grant::ClientCredentials);
    if own && wire.client_secret.is_some() {
        reader.key_fault(
            &join(at, "client_secret"),
            "the secret that this entry is for is the client's",
            "leave client_secret out",
        );
    }
    let proves = client_auth != ClientAuth::None;
    if proves && client_id.is_none() {
        reader.fault(
            at,
            "the client has no identifier",
            "write client_id: its text, or client_id: { property: NAME } for a property of the connection's config",
        );
    }
    if proves && !own && wire.client_secret.is_none() {
        reader.fault(
            at,
            "the client has nothing to prove itself with",
            "write client_secret: NAME, the property that holds it, or client_auth: none",
        );
    }
    if own && !proves {
        reader.fault(
            &join(at, "client_auth"),
            "a public client has no credentials to get tokens with",
            "write client_auth: basic, body or private_key_jwt",
        );
    }
    if !proves && wire.client_secret.is_some() {
        reader.key_fault(
            &join(at, "client_secret"),
            "a client that proves itself by nothing has no use for it",
            "leave out client_secret, or client_auth: none",
        );
    }
    let signs =
        matches!(grant, Grant::JwtBearer { .. }) || client_auth == ClientAuth::PrivateKeyJwt;
    if matches!(grant, Grant::JwtBearer { .. }) && issuer.is_none() && client_id.is_none() {
        reader.fault(
            at,
            "the assertion has no issuer",
            "write issuer: its text, or issuer: { property: NAME } for a property of the connection's config",
        );
    }
    let algorithm = wire.algorithm.as_deref().and_then(|name| match name {
        "RS256" => Some(Algorithm::RS256),
        "ES256" => Some(Algorithm::ES256),
        _ => None,
    });
    for key in ["algorithm", "key_id"] {
        if has(reader, at, key) && !signs {
            reader.key_fault(
                &join(at, key),
                "nothing is signed",
                "leave it out, or write grant: jwt_bearer or client_auth: private_key_jwt",
            );
        }
    }
    if signs && !has(reader, at, "algorithm") {
        reader.fault(
            at,
            "nothing says how the assertion is signed",
            "write algorithm: RS256 or algorithm: ES256",
        );
    }
    for name in wire.params.keys() {
        if OWN_PARAMS.contains(&name.as_str()) {
            reader.key_fault(
                &join(&join(at, "params"), name),
                "the gateway sets this parameter itself",
                "leave it out",
            );
        }
    }
    let token_url = wire.token_url.as_deref().and_then(|text| {
        TokenUrl::parse(text)
            .map_err(|error| reader.error(&join(at, "token_url"), &error))
            .ok()
    });
    let recipe = OAuth2 {
        grant,
        token_url: token_url?,
        client_id,
        client_secret: wire.client_secret.as_deref().map(pointer_of),
        client_auth,
        scope: wire.scope.clone(),
        params: wire.params.clone(),
        signing: algorithm.map(|algorithm| Signing {
            algorithm,
            key_id: wire.key_id.clone(),
        }),
    };
    (reader.faults.len() == before).then_some(recipe)
}

fn has(reader: &Reader<'_>, at: &str, key: &str) -> bool {
    let value = reader.document.pointer(&join(at, key));
    value.is_some_and(|value| !matches!(value, Value::Null))
}

/// What is meant where nothing is said.
fn client_auth(wire: &WireOAuth2, grant: &Grant) -> ClientAuth {
    match (wire.client_auth.as_deref(), grant) {
        (Some("basic"), _) => ClientAuth::Basic,
        (Some("body"), _) => ClientAuth::Body,
        (Some("private_key_jwt"), _) => ClientAuth::PrivateKeyJwt,
        (Some("none"), _) => ClientAuth::None,
        (_, Grant::ClientCredentials) => ClientAuth::Basic,
        _ if wire.client_secret.is_some() => ClientAuth::Basic,
        _ => ClientAuth::None,
    }
}

impl WireTold {
    fn read(&self) -> Told {
        match self {
            Self::Text(text) => Told::Text(text.clone()),
            Self::Of { property } => Told::Property(pointer_of(property)),
        }
    }
}
