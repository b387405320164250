//! connector.yaml as a validated type. The schema beside this file says what
//! may be written; the checks here say what a schema cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use caisson_document::{Document, Fault, Faults, Schema, join, nearest};
use pep440_rs::VersionSpecifiers;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ConfigSchema;
use crate::{Size, Span, template};

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::parse(include_str!("connector.schema.json"))
        .expect("the schema of connector.yaml is valid")
});

/// Kinds of auth that connector.yaml will know one day.
const AUTH_NOT_BUILT: [&str; 1] = ["aws_sigv4"];

/// What connector.yaml says, checked. Serialises to the JSON that a worker and Spec are given.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// The connector's name, such as `shop`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its name for people.
    pub title: String,
    /// A paragraph for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The Python versions it runs on (PEP 440 specifiers).
    pub python: String,
    /// The class that implements it.
    pub entrypoint: Entrypoint,
    /// What it can do.
    pub capabilities: BTreeSet<Capability>,
    /// The JSON Schema 2020-12 of a connection's config, as written.
    pub config: Value,
    /// The order of the config's properties in a form.
    pub form: Vec<FormGroup>,
    /// How its HTTP client authenticates, by name.
    pub auth: BTreeMap<String, Auth>,
    /// What it asks to reach; the operator's policy decides.
    pub egress: Vec<Egress>,
    /// The greatest batch that it takes as a destination.
    pub write: WriteLimits,
    /// What it asks to use; the operator's policy may say less.
    pub limits: RequestedLimits,
    /// The lock of its dependencies, `requirements.lock`, where it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<String>,
    /// The icon's file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The licence's SPDX expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where people read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
}

/// `module:Class`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint {
    /// The dotted module.
    pub module: String,
    /// The class in it.
    pub class: String,
}

/// What a connector can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Capability {
    /// Tests a connection.
    #[serde(rename = "test")]
    Test,
    /// Lists objects.
    #[serde(rename = "list")]
    List,
    /// Reads everything.
    #[serde(rename = "read.full")]
    ReadFull,
    /// Reads what changed since a checkpoint.
    #[serde(rename = "read.incremental")]
    ReadIncremental,
    /// Reads without end.
    #[serde(rename = "read.streaming")]
    ReadStreaming,
    /// Appends records.
    #[serde(rename = "write.append")]
    WriteAppend,
    /// Inserts or replaces records by key.
    #[serde(rename = "write.upsert")]
    WriteUpsert,
}

impl Capability {
    /// The name in connector.yaml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Capability::Test => "test",
            Capability::List => "list",
            Capability::ReadFull => "read.full",
            Capability::ReadIncremental => "read.incremental",
            Capability::ReadStreaming => "read.streaming",
            Capability::WriteAppend => "write.append",
            Capability::WriteUpsert => "write.upsert",
        }
    }

    /// True for the `read.` ones.
    #[must_use]
    pub fn reads(self) -> bool {
        self.as_str().starts_with("read.")
    }

    /// True for the `write.` ones.
    #[must_use]
    pub fn writes(self) -> bool {
        self.as_str().starts_with("write.")
    }
}

/// A group of the form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormGroup {
    /// Its heading.
    pub group: String,
    /// Names of properties of config, in order.
    pub fields: Vec<String>,
}

/// How requests are authenticated. Each value but a header's or query's own name is the name of a
/// property of config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Auth {
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer {
        /// Property that holds the token.
        token: String,
        /// The word before the token, where it is not `Bearer`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// Property that holds the user name.
        username: String,
        /// Property that holds the password; empty where there is none, as with APIs that take a
        /// key for the user name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<String>,
    },
    /// A header of its own.
    Header {
        /// The header's name.
        name: String,
        /// Property that holds the value.
        value: String,
        /// What stands before the value, such as `Token `.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
    /// A parameter of the query.
    Query {
        /// The parameter's name.
        name: String,
        /// Property that holds the value.
        value: String,
    },
    /// `Authorization: Bearer …` with an access token that the daemon gets with a refresh token (RFC 6749, 6). The policy
    /// says how: `oauth2`.
    Oauth2Refresh {
        /// Property that holds the refresh token.
        refresh_token: String,
        /// Property that holds the client's identifier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// Property that holds the client's secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<String>,
    },
    /// As [`Auth::Oauth2Refresh`], with the client's own credentials (RFC 6749, 4.4).
    Oauth2Client {
        /// Property that holds the client's secret.
        client_secret: String,
        /// Property that holds the client's identifier.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
    },
    /// As [`Auth::Oauth2Refresh`], with an assertion that a private key signs (RFC 7523).
    Oauth2Jwt {
        /// Property that holds the private key.
        private_key: String,
        /// Property that holds the issuer of the assertion.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
    },
    /// A client certificate (RFC 8446, section 4.4.2), which the gateway shows where the policy seals its key; requests
    /// carry nothing.
    Mtls {
        /// Property that holds the private key, as PEM.
        key: String,
        /// Property that holds the certificate, as PEM; where there is none, the key's holds both.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<String>,
    },
}

impl Auth {
    /// The property whose secret access tokens are got with.
    #[must_use]
    pub fn of_tokens(&self) -> Option<&str> {
        match self {
            Auth::Oauth2Refresh { refresh_token, .. } => Some(refresh_token),
            Auth::Oauth2Client { client_secret, .. } => Some(client_secret),
            Auth::Oauth2Jwt { private_key, .. } => Some(private_key),
            _ => None,
        }
    }

    /// The key of connector.yaml and the property it names, and whether that must be a secret.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, &str, bool)> {
        match self {
            Auth::Bearer { token, .. } => vec![("token", token, true)],
            Auth::Basic {
                username,
                password: Some(password),
            } => {
                vec![("username", username, false), ("password", password, true)]
            }
            Auth::Basic {
                username,
                password: None,
            } => vec![("username", username, true)],
            Auth::Header { value, .. } | Auth::Query { value, .. } => vec![("value", value, true)],
            Auth::Oauth2Refresh {
                refresh_token,
                client_id,
                client_secret,
            } => {
                let id = client_id.iter().map(|id| ("client_id", &**id, false));
                let secret = client_secret.iter();
                let secret = secret.map(|secret| ("client_secret", &**secret, true));
                [("refresh_token", &**refresh_token, true)]
                    .into_iter()
                    .chain(id)
                    .chain(secret)
                    .collect()
            }
            Auth::Oauth2Client {
                client_secret,
                client_id,
            } => {
                let id = client_id.iter().map(|id| ("client_id", &**id, false));
                [("client_secret", &**client_secret, true)]
                    .into_iter()
                    .chain(id)
                    .collect()
            }
            Auth::Oauth2Jwt {
                private_key,
                issuer,
            } => {
                let issuer = issuer.iter().map(|issuer| ("issuer", &**issuer, false));
                [("private_key", &**private_key, true)]
                    .into_iter()
                    .chain(issuer)
                    .collect()
            }
            Auth::Mtls { key, certificate } => {
                let certificate = certificate.as_deref();
                let certificate = certificate.map(|name| ("certificate", name, false));
                [("key", key.as_str(), true)]
                    .into_iter()
                    .chain(certificate)
                    .collect()
            }
        }
    }
}

/// One thing that the connector asks to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// A host name, `*.example.com`, or a template such as `${config.shop}.example.com`.
    pub host: String,
    /// TCP ports.
    pub ports: Vec<Port>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Why, for the reviewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A port, or the property of config that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Port {
    /// A number from 1 to 65535.
    Number(u16),
    /// `${config.port}`.
    Template(String),
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Bytes over TCP.
    Tcp,
    /// TLS whose name is checked.
    Tls,
    /// HTTP over TLS.
    Https,
    /// PostgreSQL, in which the client leaves TLS to the gateway.
    Postgres,
}

/// The greatest batch that a destination takes; what is not said is the daemon's to decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteLimits {
    /// Records in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u64>,
    /// Bytes in a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,
    /// Batches being written at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// What a connector asks to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestedLimits {
    /// Memory of its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Space in its /tmp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmp: Option<Size>,
    /// CPUs; may be a fraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// How long a call may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Threads and processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Open files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: String,
    version: String,
    title: String,
    description: Option<String>,
    #[serde(default = "any_supported_python")]
    python: String,
    entrypoint: String,
    capabilities: BTreeSet<Capability>,
    config: Value,
    form: Vec<FormGroup>,
    #[serde(default)]
    auth: BTreeMap<String, Auth>,
    #[serde(default)]
    egress: Vec<Egress>,
    #[serde(default)]
    write: WriteLimits,
    #[serde(default)]
    limits: RequestedLimits,
    dependencies: Option<String>,
    icon: Option<String>,
    license: Option<String>,
    homepage: Option<String>,
}

fn any_supported_python() -> String {
    ">=3.11".to_owned()
}

impl Manifest {
    /// Parses and checks the text of a connector.yaml; `file` names it in faults.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn parse(file: &str, text: &str) -> Result<Manifest, Faults> {
        Manifest::from_document(&Document::parse(file, text)?)
    }

    /// Checks a parsed connector.yaml.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn from_document(document: &Document) -> Result<Manifest, Faults> {
        let mut faults = not_built(document);
        if faults.is_empty() {
            faults = document.check(&SCHEMA);
        } else {
            // The schema would say of these that their type is unknown, which is not the point.
            let named: Vec<_> = faults.iter().map(|fault| fault.path.clone()).collect();
            faults.extend(
                document
                    .check(&SCHEMA)
                    .into_iter()
                    .filter(|fault| !named.contains(&fault.path)),
            );
        }
        if document.pointer("/config").is_some_and(Value::is_object) {
            // Its extent first: nothing else may follow references that have no end.
            match crate::extent::fault(document, "/config") {
                Some(fault) => faults.push(fault),
                None => match document.schema_at("/config") {
                    Ok(_) => faults.extend(crate::config::schema_faults(document)),
                    Err(more) => faults.extend(more),
                },
            }
        }
        // What the schema says of a place is enough of it.
        let named: Vec<String> = faults.iter().map(|fault| fault.path.clone()).collect();
        faults.extend(
            semantic(document)
                .into_iter()
                .filter(|fault| !named.contains(&fault.path)),
        );
        Faults::or(faults, ())?;
        let wire: Wire = document.get("")?;
        let Ok(version) = Version::parse(&wire.version) else {
            return Err(document.fault("/version", "not a version", "").into());
        };
        let Ok(entrypoint) = wire.entrypoint.parse() else {
            return Err(document
                .fault("/entrypoint", "not an entrypoint", "")
                .into());
        };
        Ok(Manifest {
            name: wire.name,
            version,
            title: wire.title,
            description: wire.description,
            python: wire.python,
            entrypoint,
            capabilities: wire.capabilities,
            config: wire.config,
            form: wire.form,
            auth: wire.auth,
            egress: wire.egress,
            write: wire.write,
            limits: wire.limits,
            dependencies: wire.dependencies,
            icon: wire.icon,
            license: wire.license,
            homepage: wire.homepage,
        })
    }

    /// The config's schema, ready to check connections.
    ///
    /// # Errors
    /// If it cannot be compiled, which a checked manifest rules out.
    pub fn config_schema(&self) -> Result<ConfigSchema, caisson_document::SchemaError> {
        ConfigSchema::new(self.config.clone())
    }

    /// `name@version`.
    #[must_use]
    pub fn pin(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// Kinds of auth that are known and not built, each named.
fn not_built(document: &Document) -> Vec<Fault> {
    let auth = document.pointer("/auth").and_then(Value::as_object);
    auth.into_iter()
        .flatten()
        .filter_map(|(name, value)| {
            let kind = value.get("type")?.as_str()?;
            AUTH_NOT_BUILT.contains(&kind).then(|| {
                document.fault(
                    &join(&join("/auth", name), "type"),
                    format!("auth of the type {kind} is not built yet"),
                    "use bearer, basic, header, query, mtls, oauth2_refresh, oauth2_client or oauth2_jwt",
                )
            })
        })
        .collect()
}

fn semantic(document: &Document) -> Vec<Fault> {
    let mut faults = Vec::new();
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    if text("/version").is_some_and(|version| Version::parse(version).is_err()) {
        let help = "write three numbers, such as 1.4.2 (semver.org)";
        faults.push(document.fault("/version", "not a semantic version", help));
    }
    if text("/python").is_some_and(|python| VersionSpecifiers::from_str(python).is_err()) {
        let help = "write a PEP 440 specifier such as >=3.11";
        faults.push(document.fault("/python", "not a version specifier", help));
    }
    if let Some(duration) = text("/limits/duration") {
        faults.extend(
            duration
                .parse::<Span>()
                .err()
                .map(|error| document.fault("/limits/duration", error.to_string(), "")),
        );
    }
    for pointer in ["/write/max_bytes", "/limits/memory", "/limits/tmp"] {
        let size = text(pointer).and_then(|size| size.parse::<Size>().err());
        faults.extend(size.map(|error| document.fault(pointer, error.to_string(), "")));
    }
    let capabilities: Vec<&str> = document
        .pointer("/capabilities")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if document.pointer("/write").is_some()
        && !capabilities.iter().any(|name| name.starts_with("write."))
    {
        faults.push(document.key_fault(
            "/write",
            "limits of batches, but no capability to write",
            "add write.append or write.upsert to capabilities, or leave `write` out",
        ));
    }
    faults.extend(auth_faults(document));
    faults.extend(template::faults(document));
    faults
}

/// Auth names properties of config; what carries a credential must be marked secret.
fn auth_faults(document: &Document) -> Vec<Fault> {
    let empty = serde_json::Map::new();
    let properties = document
        .pointer("/config/properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut faults = Vec::new();
    let entries = document.pointer("/auth").and_then(Value::as_object);
    for (name, value) in entries.into_iter().flatten() {
        let Ok(auth) = serde_json::from_value::<Auth>(value.clone()) else {
            continue;
        };
        for (key, field, must_be_secret) in auth.fields() {
            let place = join(&join("/auth", name), key);
            match properties.get(field) {
                None => {
                    let guess = nearest(field, properties.keys().map(String::as_str));
                    let help = guess.map(|name| format!("did you mean `{name}`?"));
                    faults.push(document.fault(
                        &place,
                        format!("config has no property `{field}`"),
                        help.unwrap_or_default(),
                    ));
                }
                Some(property)
                    if must_be_secret && property.get("secret") != Some(&Value::Bool(true)) =>
                {
                    faults.push(document.fault(
                        &place,
                        format!("the property `{field}` is not marked secret"),
                        format!("write `secret: true` in config.properties.{field}"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    faults
}

impl fmt::Display for Entrypoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.class)
    }
}

impl FromStr for Entrypoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (module, class) = text.split_once(':').ok_or("expected module:Class")?;
        Ok(Entrypoint {
            module: module.to_owned(),
            class: class.to_owned(),
        })
    }
}

impl Serialize for Entrypoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
