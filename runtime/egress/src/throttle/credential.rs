//! Whose budget it is.

/// What stands for a credential: the secret references that a connection uses for a host, or else the connection. Never a
/// token's value, which rotates while the upstream goes on counting.
///
/// References are compared as a set: two connections that use the same secrets share one budget, because upstream they are
/// one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credential(Whose);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    /// In order, each once.
    References(Box<[Box<str>]>),
    Connection(Box<str>),
}

impl Credential {
    /// Of the references in their canonical form, or of the connection where there is none. A connection's name must be
    /// unique in the daemon: give it with its workspace.
    pub fn of<'a>(references: impl IntoIterator<Item = &'a str>, connection: &str) -> Self {
        let mut references: Vec<Box<str>> = references.into_iter().map(Box::from).collect();
        if references.is_empty() {
            return Self(Whose::Connection(connection.into()));
        }
        references.sort_unstable();
        references.dedup();
        Self(Whose::References(references.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_references_are_one_credential_whoever_uses_them_in_whatever_order() {
        let one = Credential::of(["vault:kv/a#key", "env:CAISSON_SECRET_B"], "acme/first");
        let other = Credential::of(
            ["env:CAISSON_SECRET_B", "vault:kv/a#key", "vault:kv/a#key"],
            "acme/second",
        );
        assert_eq!(one, other);
        assert_ne!(one, Credential::of(["vault:kv/a#key"], "acme/first"));
    }

    #[test]
    fn connections_without_references_share_nothing() {
        assert_ne!(Credential::of([], "acme/a"), Credential::of([], "acme/b"));
        assert_ne!(
            Credential::of([], "env:X"),
            Credential::of(["env:X"], "acme/a"),
            "a connection that is named like a reference is none"
        );
    }
}
