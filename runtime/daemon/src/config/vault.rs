//! `secrets.vault`: where the vault is, and how the daemon logs in.

use super::wire::{WireVault, WireVaultAuth};
use caisson_bundle::Span;
use caisson_document::{Document, Fault};
use caisson_secrets::{VaultAuth, VaultConfig};
use std::path::{Path, PathBuf};

/// Paths are relative to `base`.
pub(super) fn vault(
    document: &Document,
    wire: WireVault,
    base: &Path,
    own_files: &mut Vec<PathBuf>,
    faults: &mut Vec<Fault>,
) -> VaultConfig {
    let at = |path: &String| base.join(path);
    let mut own = |path: &String| {
        own_files.push(at(path));
        at(path)
    };
    let mount = |mount: Option<String>, usual: &str| mount.unwrap_or_else(|| usual.to_owned());
    let auth = match wire.auth {
        WireVaultAuth::Token { file } => VaultAuth::Token { file: own(&file) },
        WireVaultAuth::Approle {
            role_id,
            secret_id_file,
            mount: named,
        } => VaultAuth::AppRole {
            mount: mount(named, "approle"),
            role_id,
            secret_id_file: own(&secret_id_file),
        },
        WireVaultAuth::Kubernetes {
            role,
            jwt_file,
            mount: named,
        } => VaultAuth::Kubernetes {
            mount: mount(named, "kubernetes"),
            role,
            jwt_file: own(&jwt_file.unwrap_or_else(|| VaultAuth::JWT_FILE.to_owned())),
        },
        WireVaultAuth::Cert {
            role,
            certificate,
            key,
            mount: named,
        } => VaultAuth::Cert {
            mount: mount(named, "cert"),
            role,
            certificate: at(&certificate),
            key: own(&key),
        },
    };
    let mut config = VaultConfig::new(wire.address, auth);
    config.namespace = wire.namespace;
    config.ca = wire.ca.as_ref().map(at);
    if let Some(text) = wire.token_ttl {
        match text.parse::<Span>() {
            Ok(Span(ttl)) => config.token_ttl = ttl,
            Err(error) => faults.push(document.fault(
                "/secrets/vault/token_ttl",
                error.to_string(),
                "write a duration such as 5m",
            )),
        }
    }
    for fault in config.faults() {
        let text = fault.to_string();
        let (message, help) = text.split_once("; ").unwrap_or((&text, ""));
        faults.push(document.fault("/secrets/vault", message, help));
    }
    config
}
