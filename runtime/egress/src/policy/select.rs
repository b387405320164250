//! Which connector versions a policy is for, and whether two policies could be for the same one.

use semver::{Comparator, Op, Version, VersionReq};

/// The connector of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorId {
    /// Its name.
    pub name: String,
    /// Its exact version.
    pub version: Version,
    /// Where its code comes from.
    pub origin: Origin,
    /// The workspace of the call.
    pub workspace: String,
}

/// Where a connector's code comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A published bundle, by its digest `sha256:…`.
    Published(String),
    /// A folder, which whoever may call can fill as they please: a policy is for it only where it names the workspace.
    Folder,
    /// A folder of whoever chose the policies too, in a daemon that lives for one command: every policy of the
    /// connector's name is for it.
    OwnFolder,
}

/// `connector`, `versions`, `digest` and `workspace` of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The connector's name.
    pub connector: String,
    /// Its versions; all where none is named.
    pub versions: Option<VersionReq>,
    /// The one bundle.
    pub digest: Option<String>,
    /// The one workspace.
    pub workspace: Option<String>,
}

impl Selector {
    /// Whether the policy is for this connector.
    #[must_use]
    pub fn matches(&self, id: &ConnectorId) -> bool {
        self.fits(id) && !self.is_silent_on(id)
    }

    /// Whether the policy would be for this connector, but for not naming the workspace of its folder.
    #[must_use]
    pub fn only_lacks_workspace(&self, id: &ConnectorId) -> bool {
        self.fits(id) && self.is_silent_on(id)
    }

    fn is_silent_on(&self, id: &ConnectorId) -> bool {
        id.origin == Origin::Folder && self.workspace.is_none()
    }

    fn fits(&self, id: &ConnectorId) -> bool {
        let digest = match &id.origin {
            Origin::Published(digest) => Some(digest),
            Origin::Folder | Origin::OwnFolder => None,
        };
        self.connector == id.name
            && self
                .versions
                .as_ref()
                .is_none_or(|versions| versions.matches(&id.version))
            && self
                .digest
                .as_ref()
                .is_none_or(|named| Some(named) == digest)
            && self
                .workspace
                .as_ref()
                .is_none_or(|workspace| *workspace == id.workspace)
    }

    /// A version that both policies are for, where there is one. Two digests or two workspaces keep policies apart.
    #[must_use]
    pub fn common_version(&self, other: &Self) -> Option<Version> {
        let apart =
            |a: &Option<String>, b: &Option<String>| matches!((a, b), (Some(a), Some(b)) if a != b);
        if self.connector != other.connector
            || apart(&self.digest, &other.digest)
            || apart(&self.workspace, &other.workspace)
        {
            return None;
        }
        let requirements: Vec<&VersionReq> = self.versions.iter().chain(&other.versions).collect();
        // Two ranges that meet share the greater of their lower bounds, so trying every lower bound decides it.
        let bounds = requirements
            .iter()
            .flat_map(|req| req.comparators.iter().map(lower_bound));
        let mut candidates: Vec<Version> = bounds.collect();
        candidates.push(Version::new(0, 0, 0));
        candidates.sort();
        candidates
            .into_iter()
            .find(|version| requirements.iter().all(|req| req.matches(version)))
    }
}

fn lower_bound(comparator: &Comparator) -> Version {
    let Comparator {
        op,
        major,
        minor,
        patch,
        pre,
        ..
    } = comparator;
    let floor = Version {
        pre: pre.clone(),
        ..Version::new(*major, minor.unwrap_or(0), patch.unwrap_or(0))
    };
    match (op, minor, patch) {
        (Op::Greater, Some(minor), Some(patch)) if pre.is_empty() => {
            Version::new(*major, *minor, patch.saturating_add(1))
        }
        (Op::Greater, Some(minor), None) => Version::new(*major, minor.saturating_add(1), 0),
        (Op::Greater, None, _) => Version::new(major.saturating_add(1), 0, 0),
        (Op::Greater, Some(minor), Some(patch)) => Version::new(*major, *minor, *patch),
        (Op::Less | Op::LessEq, ..) => Version::new(0, 0, 0),
        _ => floor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(versions: Option<&str>) -> Selector {
        Selector {
            connector: "shop".into(),
            versions: versions.map(|text| text.parse().unwrap()),
            digest: None,
            workspace: None,
        }
    }

    #[test]
    fn ranges_that_meet_are_found_and_ranges_that_touch_are_not() {
        let meet = |a, b| {
            selector(a)
                .common_version(&selector(b))
                .map(|v| v.to_string())
        };
        assert_eq!(meet(None, None), Some("0.0.0".into()));
        assert_eq!(meet(Some(">=1, <2"), Some(">=2")), None);
        assert_eq!(
            meet(Some(">=1, <=2.0.0"), Some(">=2")),
            Some("2.0.0".into())
        );
        assert_eq!(meet(Some("^1.4"), None), Some("1.4.0".into()));
        assert_eq!(meet(Some("^1.4"), Some("=1.9.3")), Some("1.9.3".into()));
        assert_eq!(meet(Some(">1.4.2"), Some("<1.4.4")), Some("1.4.3".into()));
        assert_eq!(meet(Some("<1"), Some(">=1")), None);
        assert_eq!(meet(Some("~1.2"), Some("^1.3")), None);
    }

    #[test]
    fn a_workspace_or_a_digest_keeps_two_policies_apart() {
        let mut a = selector(None);
        let mut b = selector(None);
        a.workspace = Some("staging".into());
        b.workspace = Some("production".into());
        assert_eq!(a.common_version(&b), None);
        b.workspace = None;
        assert!(
            a.common_version(&b).is_some(),
            "one of them is for every workspace"
        );
    }

    fn shop(origin: Origin) -> ConnectorId {
        ConnectorId {
            name: "shop".into(),
            version: Version::new(1, 0, 0),
            origin,
            workspace: "default".into(),
        }
    }

    #[test]
    fn a_connector_without_a_digest_matches_no_policy_that_names_one() {
        let mut policy = selector(None);
        policy.digest = Some("sha256:00".into());
        assert!(!policy.matches(&shop(Origin::OwnFolder)));
        assert!(!policy.matches(&shop(Origin::Folder)));
        assert!(!policy.matches(&shop(Origin::Published("sha256:01".into()))));
        assert!(policy.matches(&shop(Origin::Published("sha256:00".into()))));
    }

    #[test]
    fn a_policy_is_for_a_folder_only_where_it_names_the_workspace() {
        let mut policy = selector(None);
        assert!(policy.matches(&shop(Origin::Published("sha256:00".into()))));
        assert!(policy.matches(&shop(Origin::OwnFolder)));
        assert!(!policy.matches(&shop(Origin::Folder)));
        assert!(policy.only_lacks_workspace(&shop(Origin::Folder)));
        policy.workspace = Some("staging".into());
        assert!(!policy.matches(&shop(Origin::Folder)));
        assert!(
            !policy.only_lacks_workspace(&shop(Origin::Folder)),
            "it is for another one"
        );
        policy.workspace = Some("default".into());
        assert!(policy.matches(&shop(Origin::Folder)));
    }
}
