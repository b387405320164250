//! What callers may do, and the one place that says no.
//!
//! A service gets at a workspace only through [`Caller::workspace`]: there is
//! no other way to a [`Workspace`], and what reads connections, connectors and
//! state takes nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use caisson_proto::v1::ErrorCode;

use super::{Caller, Known};
use crate::error::CallError;

/// The workspace of requests that name none, and of callers for whom none is
/// named.
const DEFAULT: &str = "default";
/// Bytes of a workspace's name, at most.
const MAX_NAME: usize = 63;

/// What a caller may do, as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everything, in every workspace, and everybody's calls.
    Operator,
    /// Calls and connections of some workspaces.
    Workspaces {
        /// Their names.
        names: BTreeSet<String>,
        /// May publish connectors into them.
        publish: bool,
    },
}

impl Default for Access {
    fn default() -> Self {
        Self::Workspaces {
            names: [DEFAULT.to_owned()].into(),
            publish: false,
        }
    }
}

impl Access {
    /// No workspace, no right.
    pub(super) fn nothing() -> Self {
        Self::Workspaces {
            names: BTreeSet::new(),
            publish: false,
        }
    }
}

/// A workspace that the caller may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workspace(Arc<str>);

impl Deref for Workspace {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller lacks.
#[derive(Clone, Copy)]
enum Lack<'a> {
    Workspace(&'a str),
    Publish,
    Operator,
}

impl Caller {
    /// The workspace that a request names, if it is open to this caller.
    pub(crate) fn workspace(&self, named: &str) -> Result<Workspace, CallError> {
        let name = if named.is_empty() { DEFAULT } else { named };
        if !is_name(name) {
            let message = format!("`{}` is no workspace", name.escape_debug());
            return Err(
                CallError::new(ErrorCode::ConfigInvalid, message).with_action(
                    "write a workspace's name: lower-case letters, digits, - and _, at most 63",
                ),
            );
        }
        if self.may_use(name) {
            Ok(Workspace(name.into()))
        } else {
            let what = format!("may not use workspace `{name}`");
            Err(self.lacks(&what, Lack::Workspace(name)))
        }
    }

    /// The workspaces of this caller; none where it may use all.
    pub(crate) fn workspaces(&self) -> Option<Vec<String>> {
        match &self.access {
            Access::Operator => None,
            Access::Workspaces { names, .. } => Some(names.iter().cloned().collect()),
        }
    }

    /// Refuses whoever may not publish.
    pub(crate) fn publishes(&self) -> Result<(), CallError> {
        match &self.access {
            Access::Operator | Access::Workspaces { publish: true, .. } => Ok(()),
            Access::Workspaces { .. } => Err(self.lacks("may not publish", Lack::Publish)),
        }
    }

    /// Refuses whoever is no operator; `what` continues the caller's name.
    pub(crate) fn operates(&self, what: &str) -> Result<(), CallError> {
        match &self.access {
            Access::Operator => Ok(()),
            Access::Workspaces { .. } => Err(self.lacks(what, Lack::Operator)),
        }
    }

    /// Whether a call is this caller's to see and to end.
    pub(crate) fn may_see(&self, tenant: &str, workspace: &str) -> bool {
        self.access == Access::Operator || (*self.tenant == *tenant && self.may_use(workspace))
    }

    /// Whether this is an operator.
    pub(crate) fn is_operator(&self) -> bool {
        self.access == Access::Operator
    }

    fn may_use(&self, name: &str) -> bool {
        match &self.access {
            Access::Operator => true,
            Access::Workspaces { names, .. } => names.contains(name),
        }
    }

    fn lacks(&self, what: &str, lack: Lack<'_>) -> CallError {
        let message = format!("{} {what}", self.known);
        let action = format!("{}, and start the daemon again", self.remedy(lack));
        CallError::new(ErrorCode::PermissionMissing, message).with_action(action)
    }

    /// What to write where, for what is lacking.
    fn remedy(&self, lack: Lack<'_>) -> String {
        let access = self.access.with(lack);
        match &self.known {
            Known::User(uid) => format!(
                "under `listen.users` of the daemon's configuration, write `{{ uid: {uid}, {} }}`",
                access.entry()
            ),
            Known::Key(name) => format!(
                "in the daemon's file of keys (`listen.keys`), end the line of `{name}` with `{}`",
                access.words()
            ),
            Known::Client(name) => format!(
                "under `listen.tls.clients` of the daemon's configuration, give `{name}` `{}`",
                access.entry()
            ),
            Known::Certificate(sha256) => format!(
                "under `listen.tls.clients` of the daemon's configuration, write `{{ name: NAME, sha256: {sha256}, {} }}`",
                access.entry()
            ),
            Known::Nobody => "call with a key or a certificate".to_owned(),
        }
    }
}

impl Access {
    fn with(&self, lack: Lack<'_>) -> Self {
        let Self::Workspaces { names, publish } = self else {
            return Self::Operator;
        };
        let mut names = names.clone();
        match lack {
            Lack::Operator => return Self::Operator,
            Lack::Workspace(name) => drop(names.insert(name.to_owned())),
            Lack::Publish => {}
        }
        Self::Workspaces {
            names,
            publish: *publish || matches!(lack, Lack::Publish),
        }
    }

    /// As the configuration writes it.
    fn entry(&self) -> String {
        match self {
            Self::Operator => "operator: true".to_owned(),
            Self::Workspaces { names, publish } => {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                let also = if *publish { ", publish: true" } else { "" };
                format!("workspaces: [{}]{also}", names.join(", "))
            }
        }
    }

    /// As the file of keys writes it.
    fn words(&self) -> String {
        match self {
            Self::Operator => "operator".to_owned(),
            Self::Workspaces { names, publish } => {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                let also = if *publish { " publish" } else { "" };
                format!("workspaces={}{also}", names.join(","))
            }
        }
    }
}

/// Whether a text can name a workspace; policies write names in the same way.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(inner)
        && text
            .bytes()
            .all(|byte| inner(byte) || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(known: Known, access: Access) -> Caller {
        Caller::new(known, access)
    }

    fn some(names: &[&str], publish: bool) -> Access {
        Access::Workspaces {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            publish,
        }
    }

    #[test]
    fn a_caller_for_whom_nothing_is_named_may_use_default_alone() {
        let caller = caller(Known::Key("a".into()), Access::default());
        assert_eq!(&*caller.workspace("").unwrap(), "default");
        assert_eq!(&*caller.workspace("default").unwrap(), "default");
        assert!(caller.workspace("production").is_err());
        assert!(caller.publishes().is_err());
        assert!(caller.operates("x").is_err());
    }

    #[test]
    fn named_workspaces_take_the_place_of_default() {
        let caller = caller(Known::Key("a".into()), some(&["staging"], true));
        assert!(caller.workspace("staging").is_ok());
        assert!(caller.workspace("").is_err(), "default is not named");
        assert!(caller.publishes().is_ok());
    }

    #[test]
    fn an_operator_may_use_every_workspace_and_do_everything() {
        let caller = caller(Known::User(0), Access::Operator);
        assert!(caller.workspace("production").is_ok());
        assert!(caller.publishes().is_ok() && caller.operates("x").is_ok());
        assert!(caller.may_see("key:b", "production"));
    }

    #[test]
    fn a_tenants_calls_are_its_own_in_the_workspaces_that_are_open_to_it() {
        let caller = caller(Known::Key("a".into()), Access::default());
        assert!(caller.may_see("key:a", "default"));
        assert!(!caller.may_see("key:b", "default"));
        assert!(!caller.may_see("key:a", "production"));
    }

    #[test]
    fn what_cannot_name_a_workspace_is_refused_for_everybody() {
        let caller = caller(Known::User(0), Access::Operator);
        for name in [
            "Production",
            "a/b",
            "..",
            "-a",
            &"a".repeat(64),
            "a\u{1b}[2J",
        ] {
            let error = caller.workspace(name).unwrap_err();
            assert_eq!(error.code, ErrorCode::ConfigInvalid, "{name}");
        }
    }

    #[test]
    fn refusals_say_what_to_write_where() {
        let default = Access::default;
        let who = [
            (Known::User(1000), default()),
            (Known::User(1000), some(&["staging"], true)),
            (Known::Key("orchestrator".into()), default()),
            (Known::Key("ci".into()), some(&["staging"], true)),
            (Known::Client("dagster".into()), default()),
            (Known::Certificate("9f86d0".into()), default()),
            (Known::Nobody, some(&[], false)),
        ];
        let mut text = String::new();
        for (known, access) in who {
            let caller = caller(known, access);
            let refused = [
                caller.workspace("production").map(drop),
                caller.publishes(),
                caller.operates("may not reload policies"),
            ];
            for error in refused.into_iter().filter_map(Result::err) {
                text.push_str(&format!("{error}\n  {}\n", error.action));
            }
        }
        insta::assert_snapshot!(text);
    }
}
