//! The daemon's logins: what each way sends, read from its files at that moment.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::libc;
use zeroize::Zeroizing;

use super::answer::Auth;
use super::client::{Ask, Client};
use super::config::VaultAuth;
use super::fault;
use crate::file::read_open;
use crate::provider::ProviderError;
use crate::value::SecretValue;

/// A token of the daemon's own.
pub(crate) struct Login {
    pub(crate) token: SecretValue,
    /// Nothing for a token that does not end.
    pub(crate) ttl: Option<Duration>,
    pub(crate) renewable: bool,
}

/// Logs in anew.
pub(crate) async fn login(client: &Client) -> Result<Login, ProviderError> {
    client.reload();
    let auth = client.config().auth.clone();
    match &auth {
        VaultAuth::Token { file } => kept(client, &auth, file).await,
        VaultAuth::AppRole {
            role_id,
            secret_id_file,
            ..
        } => {
            let secret = secret(secret_id_file).await?;
            let body = body(&[("role_id", role_id), ("secret_id", secret.expose())]);
            given(client, &auth, body, &[&secret]).await
        }
        VaultAuth::Kubernetes { role, jwt_file, .. } => {
            let secret = secret(jwt_file).await?;
            let body = body(&[("role", role), ("jwt", secret.expose())]);
            given(client, &auth, body, &[&secret]).await
        }
        VaultAuth::Cert { role, .. } => {
            let name = role.as_deref().map(|role| ("name", role));
            given(client, &auth, body(name.as_slice()), &[]).await
        }
    }
}

/// A token that somebody else made: what is left of its life is asked for.
/// <https://openbao.org/api-docs/auth/token/#lookup-a-token-self>
async fn kept(client: &Client, auth: &VaultAuth, file: &Path) -> Result<Login, ProviderError> {
    let token = secret(file).await?;
    let ask = Ask::get("auth/token/lookup-self");
    let answer = client.send(Some(&token), &ask).await?;
    if !answer.status.is_success() {
        return Err(refused(client, auth, &answer, &[&token]));
    }
    let looked = answer.looked()?;
    Ok(Login {
        token,
        ttl: looked.life(),
        renewable: looked.renewable,
    })
}

/// A token that a login gives. <https://openbao.org/api-docs/auth/approle/#login-with-approle>,
/// <https://openbao.org/api-docs/auth/kubernetes/#login>, <https://openbao.org/api-docs/auth/cert/#login-with-tls-certificate-method>
async fn given(
    client: &Client,
    auth: &VaultAuth,
    body: Zeroizing<Vec<u8>>,
    sent: &[&SecretValue],
) -> Result<Login, ProviderError> {
    let path = format!("auth/{}/login", auth.mount().unwrap_or_default());
    let answer = client.send(None, &Ask::post(&path, body)).await?;
    if !answer.status.is_success() {
        return Err(refused(client, auth, &answer, sent));
    }
    let Auth {
        client_token,
        lease_duration,
        renewable,
        ..
    } = answer.auth()?;
    Ok(Login {
        token: client_token,
        ttl: seconds(lease_duration),
        renewable,
    })
}

fn refused(
    client: &Client,
    auth: &VaultAuth,
    answer: &super::client::Answer,
    sent: &[&SecretValue],
) -> ProviderError {
    let help = match auth {
        VaultAuth::Token { .. } => "write a token that is valid into that file",
        VaultAuth::AppRole { .. } => {
            "look at the role's id, write a secret id that is valid into its file, and look at the mount's name"
        }
        VaultAuth::Kubernetes { .. } => {
            "look whether the role lists the daemon's service account and namespace, and at the mount's name"
        }
        VaultAuth::Cert { .. } => {
            "look whether a role at the mount has the authority of the daemon's certificate, and whether it has expired"
        }
    };
    let doing = format!("the daemon's login by {auth}");
    fault::own(client.address(), &doing, help, answer, sent)
}

/// A life as it is first granted: of 0 seconds is what does not end.
pub(crate) fn seconds(ttl: u64) -> Option<Duration> {
    (ttl > 0).then(|| Duration::from_secs(ttl))
}

/// A JSON object of texts, in one allocation that is wiped.
pub(crate) fn body(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Twice the length and more: escapes beyond that are no part of tokens, and only cost a copy.
    let size: usize = fields
        .iter()
        .map(|(k, v)| 2 * (k.len() + v.len()) + 8)
        .sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 2));
    bytes.push(b'{');
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            bytes.push(b',');
        }
        // Writing texts into memory does not fail.
        let _ = serde_json::to_writer(&mut *bytes, name);
        bytes.push(b':');
        let _ = serde_json::to_writer(&mut *bytes, value);
    }
    bytes.push(b'}');
    bytes
}

/// A JSON object without secrets.
pub(crate) fn plain(fields: serde_json::Value) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(fields.to_string().into_bytes())
}

/// The text of a file that the operator named. Symbolic links are followed: Kubernetes mounts tokens by them.
async fn secret(path: &Path) -> Result<SecretValue, ProviderError> {
    let at = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        // Not waiting for the writer of a FIFO.
        let file: Result<File, _> = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(at);
        match file {
            Ok(file) => read_open(&file),
            Err(error) => Err(ProviderError::denied(
                format!("it cannot be opened ({})", error.kind()),
                "write it, readable for the daemon's user",
            )),
        }
    });
    let read = read
        .await
        .map_err(|_| ProviderError::unavailable("reading was interrupted", "try again"))?;
    read.map_err(|error| ProviderError {
        message: format!(
            "{}, which the vault's login needs: {}",
            path.display(),
            error.message
        ),
        ..error
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_json_whatever_a_secret_holds() {
        let written = body(&[("a", "x\"\n\u{1}"), ("b", "")]);
        let read: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(read, json!({ "a": "x\"\n\u{1}", "b": "" }));
    }
}
