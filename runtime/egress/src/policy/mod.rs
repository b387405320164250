//! What an operator allows a connector, as validated data.
//!
//! `read` turns a document into these types and reports every fault; `set` holds all files of a directory; `bind` puts a
//! connection's config in place. Nothing here opens a socket.

mod bind;
mod client_key;
mod files;
mod http;
mod oauth2;
mod quantity;
mod read;
mod rule;
mod seal;
mod select;
mod set;
mod wire;

pub use bind::{Bound, BoundRule};
pub use files::{Access, Dir, FileGrant, FileRule};
pub use http::{HttpRule, OnThrottle};
pub use read::SCHEMA;
pub use seal::{Place, PlaceError, Seal};
pub use select::{ConnectorId, Origin, Selector};
pub use set::{PolicySet, Undecided};

use crate::host::Host;
use crate::network::Network;
use crate::template::Template;
use crate::throttle::Rate;
use caisson_secrets::SecretRule;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Most ports that the rules of one policy may name together: each is a listener in every worker.
pub const MAX_PORTS: usize = 64;

/// One policy file.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The file as it was named to the reader.
    pub file: String,
    /// Which connector versions it is for.
    pub selector: Selector,
    /// Which system calls the worker may make.
    pub profile: SandboxProfile,
    /// What may be reached, in the order of the file; the first rule that allows wins.
    pub egress: Vec<Rule>,
    /// Which references the config may use, and which values the worker may see.
    pub secrets: Vec<SecretRule>,
    /// Where the gateway puts in the values that the worker does not see.
    pub seals: Vec<Seal>,
    /// Values of secrets are masked in records too, not only in what is told of a call.
    pub redact_records: bool,
    /// Host directories.
    pub files: Vec<FileRule>,
    /// The operator's ceiling.
    pub limits: Limits,
}

/// The sandbox profile of a policy: which system calls its workers may make. Each allows what the one before allows.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum SandboxProfile {
    /// What Python needs: no exec, no listening socket.
    #[default]
    Strict,
    /// What data stacks with large native parts need beyond that.
    Native,
    /// Programs of other languages may be started.
    Exec,
}

impl SandboxProfile {
    /// Every profile, from the narrowest to the widest.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Native, Self::Exec];

    /// As policies write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Native => "native",
            Self::Exec => "exec",
        }
    }
}

/// One egress rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where it stands.
    pub at: RuleAt,
    /// Which hosts.
    pub host: Host,
    /// Which ports.
    pub ports: Vec<Port>,
    /// What `${config.port}` must lie in.
    pub within_ports: Vec<RangeInclusive<u16>>,
    /// Special-purpose networks that may be reached, besides ordinary addresses.
    pub networks: Vec<Network>,
    /// How the connection is carried.
    pub protocol: Protocol,
    /// Which requests pass; only where the protocol is inspected.
    pub http: Option<Arc<HttpRule>>,
    /// The most that is asked of the upstream.
    pub rate: Option<Rate>,
    /// What a 429 comes to.
    pub on_429: OnThrottle,
}

/// The place of a rule: `policies/shop.yaml:4` and its index in `egress`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct RuleAt {
    /// The policy file.
    pub file: String,
    /// Line of the rule, from 1.
    pub line: usize,
    /// Column of the rule, from 1.
    pub column: usize,
    /// Index in `egress`, from 0.
    pub index: usize,
}

impl fmt::Display for RuleAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One entry of `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Written in the policy.
    Fixed(u16),
    /// From the connection, inside `within_ports`.
    FromConfig(Template),
}

/// How an allowed connection is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Bytes are relayed.
    Tcp,
    /// Bytes are relayed after the ClientHello named the host.
    Tls,
    /// TLS ends at the gateway, and every request is judged.
    Https,
    /// Bytes are relayed after PostgreSQL's startup; the gateway speaks TLS with the server.
    Postgres,
}

impl Protocol {
    /// As policies write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Postgres => "postgres",
        }
    }
}

/// The operator's ceiling on a worker; what is `None` is left to the manifest and the daemon's defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Limits {
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// CPUs.
    pub cpus: Option<f64>,
    /// Wall clock of one call.
    pub duration: Option<Duration>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Private /tmp, bytes.
    pub tmp_bytes: Option<u64>,
    /// Open descriptors.
    pub open_files: Option<u64>,
}
