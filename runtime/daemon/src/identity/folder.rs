//! Folders of this machine that callers name.
//!
//! The daemon reads them with its own rights, so who names one must be one
//! who could read it: operators, and users of this host their own.

use std::path::{Path, PathBuf};

use caisson_proto::v1::ErrorCode;

use super::{Caller, Known};
use crate::error::CallError;

/// A folder, and for whom it may be read. Nothing but [`Caller::folder`] makes
/// one.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    user: Option<u32>,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The user whose it must be; none for an operator.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user
    }
}

impl Caller {
    /// The folder that a request names, if it names one and this caller may.
    pub(crate) fn folder(&self, path: &str) -> Result<Option<Folder>, CallError> {
        if path.is_empty() {
            return Ok(None);
        }
        let user = match self.known {
            _ if self.is_operator() => None,
            Known::User(uid) => Some(uid),
            _ => {
                let message = format!(
                    "{} is no user of the daemon's machine, so no folder there is its own",
                    self.known
                );
                return Err(CallError::new(ErrorCode::PermissionMissing, message)
                    .with_action("publish the connector, or call as an operator"));
            }
        };
        let path = path.into();
        Ok(Some(Folder { path, user }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;

    #[test]
    fn a_folder_is_read_for_operators_and_for_users_of_the_host() {
        let folder = |known, access| Caller::new(known, access).folder("/home/a/shop");
        let of = |folder: Result<Option<Folder>, CallError>| folder.unwrap().unwrap().user();
        assert_eq!(of(folder(Known::User(0), Access::Operator)), None);
        assert_eq!(
            of(folder(Known::Key("boss".into()), Access::Operator)),
            None
        );
        assert_eq!(of(folder(Known::User(7), Access::default())), Some(7));
        for known in [
            Known::Key("a".into()),
            Known::Client("a".into()),
            Known::Nobody,
        ] {
            let error = folder(known, Access::default()).unwrap_err();
            assert_eq!(error.code, ErrorCode::PermissionMissing);
        }
        let nobody = Caller::new(Known::Nobody, Access::default());
        assert!(nobody.folder("").unwrap().is_none());
    }
}
