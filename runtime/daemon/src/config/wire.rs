//! The configuration as it is written, before anything is judged.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wire {
    pub(super) data_dir: Option<String>,
    pub(super) listen: WireListen,
    pub(super) policies: Option<String>,
    pub(super) secrets: WireSecrets,
    pub(super) dependencies: Option<String>,
    pub(super) python: Option<String>,
    pub(super) shim: Option<String>,
    pub(super) zygote_forks: Option<u64>,
    pub(super) pool: Option<String>,
    pub(super) allow_missing: Vec<String>,
    pub(super) development: Vec<String>,
    pub(super) worker_ids: Option<WireIds>,
    pub(super) slots: WireSlots,
    pub(super) limits: WireLimits,
    pub(super) calls: WireCalls,
    pub(super) egress: WireEgress,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireListen {
    pub(super) unix: Option<String>,
    pub(super) users: Vec<WireUser>,
    pub(super) tcp: Option<String>,
    pub(super) tls: Option<WireTls>,
    pub(super) keys: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireTls {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) client_ca: Option<String>,
    #[serde(default)]
    pub(super) clients: Vec<WireClient>,
}

/// A user id alone, or with what it may do.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum WireUser {
    Uid(u32),
    Entry {
        uid: u32,
        #[serde(flatten)]
        rights: WireRights,
    },
}

#[derive(Deserialize)]
pub(super) struct WireClient {
    pub(super) name: String,
    pub(super) sha256: Option<String>,
    pub(super) san: Option<String>,
    #[serde(flatten)]
    pub(super) rights: WireRights,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireRights {
    pub(super) workspaces: Option<Vec<String>>,
    pub(super) publish: bool,
    pub(super) operator: bool,
}

#[derive(Deserialize, Default)]
pub(super) struct WireSecrets {
    pub(super) files: Option<String>,
    pub(super) vault: Option<WireVault>,
    pub(super) command: Option<WireCommand>,
}

#[derive(Deserialize)]
pub(super) struct WireCommand {
    pub(super) run: Vec<String>,
    pub(super) timeout: Option<String>,
    #[serde(default)]
    pub(super) environment: Vec<String>,
    pub(super) max_output: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireVault {
    pub(super) address: String,
    pub(super) namespace: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) token_ttl: Option<String>,
    pub(super) auth: WireVaultAuth,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WireVaultAuth {
    Token {
        file: String,
    },
    Approle {
        role_id: String,
        secret_id_file: String,
        mount: Option<String>,
    },
    Kubernetes {
        role: String,
        jwt_file: Option<String>,
        mount: Option<String>,
    },
    Cert {
        role: Option<String>,
        certificate: String,
        key: String,
        mount: Option<String>,
    },
}

#[derive(Deserialize)]
pub(super) struct WireIds {
    pub(super) first: u32,
    pub(super) count: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireSlots {
    pub(super) total: Option<usize>,
    pub(super) tenant: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireLimits {
    pub(super) memory: Option<String>,
    pub(super) cpu: Option<f64>,
    pub(super) pids: Option<u32>,
    pub(super) tmp: Option<String>,
    pub(super) open_files: Option<u64>,
    pub(super) duration: Option<String>,
    pub(super) stall: Option<String>,
    pub(super) throttle: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireCalls {
    pub(super) keep: Option<u32>,
    #[serde(rename = "for")]
    pub(super) period: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WireEgress {
    pub(super) audit: Option<String>,
    pub(super) audit_size: Option<String>,
    pub(super) audit_files: Option<usize>,
    pub(super) ca: Option<String>,
    pub(super) refused_attempts: Option<NonZeroU32>,
    pub(super) hosts: BTreeMap<String, Vec<String>>,
}
