//! Which connector versions a policy is for, and whether two policies could be for the same one.

use semver::{Comparator, Op, Version, VersionReq};

/// The connector of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorId {
    /// Its name.
    pub name: String,
    /// Its exact version.
    pub version: Version,
    /// Digest of its bundle, `sha256:…`; none for a connector that runs from a folder.
    pub digest: Option<String>,
    /// The workspace of the call.
    pub workspace: String,
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
        self.connector == id.name
            && self
                .versions
                .as_ref()
                .is_none_or(|versions| versions.matches(&id.version))
            && self
                .digest
                .as_ref()
                .is_none_or(|digest| Some(digest) == id.digest.as_ref())
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

    #[test]
    fn a_connector_without_a_digest_matches_no_policy_that_names_one() {
        let mut policy = selector(None);
        policy.digest = Some("sha256:00".into());
        let id = ConnectorId {
            name: "shop".into(),
            version: Version::new(1, 0, 0),
            digest: None,
            workspace: "default".into(),
        };
        assert!(!policy.matches(&id));
        assert!(policy.matches(&ConnectorId {
            digest: Some("sha256:00".into()),
            ..id
        }));
    }
}
