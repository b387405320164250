//! What the path of a `vault:` reference asks for. This file performs no IO.

use crate::provider::ProviderError;

/// A path of the vault's API as `bao read` has it, and the version of it where one is named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretPath<'a> {
    /// Without the version.
    pub(crate) path: &'a str,
    /// `@VERSION` behind the last segment, below a `data` segment: those of a versioned store.
    pub(crate) version: Option<&'a str>,
    /// Whether a segment is `data`, as in every path of a versioned store.
    pub(crate) data: bool,
}

impl<'a> SecretPath<'a> {
    /// # Errors
    /// What is there is no secret of anybody: the vault's own workings, tokens.
    pub(crate) fn parse(text: &'a str) -> Result<SecretPath<'a>, ProviderError> {
        let own = ["auth", "sys", "cubbyhole", "identity"];
        let first = text.split('/').next().unwrap_or_default();
        if own.contains(&first) {
            return Err(ProviderError::denied(
                format!("{first}/ holds the vault's own workings and no secrets for connectors"),
                "refer to a secret, such as vault:kv/data/shop#api_key",
            ));
        }
        // Neither a mount's name nor a secret's.
        let data = text
            .rsplit_once('/')
            .is_some_and(|(before, _)| before.split('/').skip(1).any(|segment| segment == "data"));
        let version = text
            .rsplit_once('@')
            .filter(|(_, version)| data && is_version(version));
        Ok(match version {
            Some((path, version)) => SecretPath {
                path,
                version: Some(version),
                data,
            },
            None => SecretPath {
                path: text,
                version: None,
                data,
            },
        })
    }

    /// The path and the query of the API.
    pub(crate) fn url(&self) -> String {
        match self.version {
            Some(version) => format!("{}?version={version}", self.path),
            None => self.path.to_owned(),
        }
    }
}

fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() < 10 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_only_where_versions_are_kept() {
        for (text, url) in [
            ("kv/data/shop", "kv/data/shop"),
            ("kv/data/shop@3", "kv/data/shop?version=3"),
            ("team/ns/kv/data/a/b@12", "team/ns/kv/data/a/b?version=12"),
            ("kv/shop@3", "kv/shop@3"),
            ("data/shop@3", "data/shop@3"),
            ("kv/data@3", "kv/data@3"),
            ("kv/data/me@example.com", "kv/data/me@example.com"),
            ("kv/data/shop@", "kv/data/shop@"),
            ("kv/data/a@3/b", "kv/data/a@3/b"),
        ] {
            assert_eq!(SecretPath::parse(text).unwrap().url(), url);
        }
    }

    #[test]
    fn the_vaults_own_workings_are_no_secrets() {
        for text in ["auth/token/lookup-self", "sys/raw/x", "cubbyhole/x", "sys"] {
            assert!(SecretPath::parse(text).is_err(), "{text}");
        }
    }
}
