//! All policies of a directory.

use super::{ConnectorId, Policy};
use caisson_document::{Document, Fault, Faults, Mark, ReadError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The policies of one directory, at one moment.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
}

/// No policy can be said to be for a connector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// Two policy files are for one connector version.
    #[error(
        "{first} and {second} are both for {connector}@{version}; narrow one of them with versions, digest or workspace"
    )]
    Ambiguous {
        /// One file.
        first: String,
        /// The other.
        second: String,
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// The policy of that name does not say that it is for the connector's folder.
    #[error(
        "{file} is for published versions of {connector} only, not for its folder: it does not name workspace {workspace}"
    )]
    NotForFolders {
        /// The file.
        file: String,
        /// The connector.
        connector: String,
        /// What it would have to name.
        workspace: String,
    },
}

impl PolicySet {
    /// Reads every `*.yaml` and `*.yml` of `dir`. Hidden files are left alone.
    ///
    /// # Errors
    /// Every fault of every file at once; a directory that cannot be read; two files that are for one connector version.
    pub fn load(dir: &Path) -> Result<Self, Faults> {
        let mut policies = Vec::new();
        let mut faults = Vec::new();
        for path in files(dir)? {
            match Document::read(&path) {
                Ok(document) => match Policy::read(&document) {
                    Ok(policy) => policies.push(Arc::new(policy)),
                    Err(found) => faults.extend(found.0),
                },
                Err(ReadError::Faults(found)) => faults.extend(super::read::with_help(found)),
                Err(error) => faults.push(of_dir(
                    &path,
                    &error.to_string(),
                    "make the file readable, or move it away",
                )),
            }
        }
        let set = Self { policies };
        faults.extend(set.overlaps());
        Faults::or(faults, set)
    }

    /// A set of policies that came from elsewhere.
    ///
    /// # Errors
    /// Two that are for one connector version.
    pub fn of(policies: impl IntoIterator<Item = Policy>) -> Result<Self, Faults> {
        let set = Self {
            policies: policies.into_iter().map(Arc::new).collect(),
        };
        Faults::or(set.overlaps(), set)
    }

    /// The policy for one connector; `None` allows nothing.
    ///
    /// # Errors
    /// Two files that are for it, both named; one that is not, but only because it does not name a folder's workspace.
    pub fn find(&self, id: &ConnectorId) -> Result<Option<Arc<Policy>>, Undecided> {
        let mut found = self
            .policies
            .iter()
            .filter(|policy| policy.selector.matches(id));
        let (first, second) = (found.next(), found.next());
        if let (Some(first), Some(second)) = (first, second) {
            return Err(Undecided::Ambiguous {
                first: first.file.clone(),
                second: second.file.clone(),
                connector: id.name.clone(),
                version: id.version.to_string(),
            });
        }
        let silent = |policy: &&Arc<Policy>| policy.selector.only_lacks_workspace(id);
        match (first, self.policies.iter().find(silent)) {
            (None, Some(policy)) => Err(Undecided::NotForFolders {
                file: policy.file.clone(),
                connector: id.name.clone(),
                workspace: id.workspace.clone(),
            }),
            (found, _) => Ok(found.cloned()),
        }
    }

    /// Every policy, in the order of file names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }

    fn overlaps(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (index, second) in self.policies.iter().enumerate() {
            for first in &self.policies[..index] {
                let Some(version) = first.selector.common_version(&second.selector) else {
                    continue;
                };
                let connector = &first.selector.connector;
                let message = match &first
                    .selector
                    .versions
                    .as_ref()
                    .or(second.selector.versions.as_ref())
                {
                    Some(_) => format!("{} is for {connector}@{version} too", first.file),
                    None => format!("{} is for every version of {connector} too", first.file),
                };
                let help =
                    "narrow one of the two with versions, digest or workspace, or merge them";
                faults.push(Fault::of_file(
                    &second.file,
                    Some(Mark::START),
                    message,
                    help,
                ));
            }
        }
        faults
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Faults> {
    let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| {
        of_dir(
            dir,
            &format!("cannot be read: {error}"),
            "name a directory of policy files",
        )
    })?;
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| is_policy(path))
        .collect();
    files.sort();
    Ok(files)
}

fn is_policy(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let yaml = path
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml && !hidden && !path.is_dir()
}

fn of_dir(path: &Path, message: &str, help: &str) -> Fault {
    Fault::of_file(&path.display().to_string(), None, message, help)
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    fn policy(file: &str, head: &str) -> Policy {
        Policy::parse(file, &format!("format: 1\nconnector: shop\n{head}\n")).unwrap()
    }

    #[test]
    fn two_files_for_one_version_are_refused_and_both_are_named() {
        let set = PolicySet::of([
            policy("a.yaml", "versions: '>=1'"),
            policy("b.yaml", "versions: '^1.4'"),
        ]);
        let text = set.unwrap_err().to_string();
        assert!(
            text.contains("a.yaml") && text.contains("b.yaml") && text.contains("shop@1.4.0"),
            "{text}"
        );
    }

    #[test]
    fn a_policy_is_found_by_version_and_workspace() {
        let set = PolicySet::of([
            policy("old.yaml", "versions: '<2'"),
            policy("new.yaml", "versions: '>=2'\nworkspace: staging"),
        ])
        .unwrap();
        let find = |version: &str, workspace: &str| {
            let id = ConnectorId {
                name: "shop".into(),
                version: version.parse().unwrap(),
                origin: Origin::Published("sha256:00".into()),
                workspace: workspace.into(),
            };
            set.find(&id).unwrap().map(|policy| policy.file.clone())
        };
        assert_eq!(find("1.9.0", "default"), Some("old.yaml".into()));
        assert_eq!(find("2.0.0", "staging"), Some("new.yaml".into()));
        assert_eq!(find("2.0.0", "default"), None);
    }

    #[test]
    fn a_policy_that_does_not_name_a_folders_workspace_is_named_and_not_used() {
        let id = ConnectorId {
            name: "shop".into(),
            version: "1.0.0".parse().unwrap(),
            origin: Origin::Folder,
            workspace: "dev".into(),
        };
        let set = PolicySet::of([policy("shop.yaml", "")]).unwrap();
        let error = set.find(&id).unwrap_err().to_string();
        assert!(
            error.contains("shop.yaml") && error.contains("dev"),
            "{error}"
        );
        let set = PolicySet::of([
            policy("old.yaml", "versions: '<1'"),
            policy("dev.yaml", "versions: '>=1'\nworkspace: dev"),
        ])
        .unwrap();
        assert_eq!(set.find(&id).unwrap().unwrap().file, "dev.yaml");
        assert!(PolicySet::default().find(&id).unwrap().is_none());
    }

    #[test]
    fn every_fault_of_every_file_comes_out_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("a.yaml"),
            "format: 1\nconnector: a\nspeed: 1\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("b.yml"), "format: 2\nconnector: b\n").unwrap();
        std::fs::write(dir.path().join(".c.yaml"), "hidden").unwrap();
        std::fs::write(dir.path().join("readme.txt"), "no policy").unwrap();
        let faults = PolicySet::load(dir.path()).unwrap_err();
        let files: Vec<_> = faults
            .0
            .iter()
            .map(|fault| fault.file.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(files, ["a.yaml", "b.yml"], "{faults}");
    }

    #[test]
    fn a_missing_directory_is_a_fault_and_not_an_empty_set() {
        assert!(PolicySet::load(Path::new("/nonexistent/policies")).is_err());
    }
}
