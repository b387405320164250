//! Callers that hold a key.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::{Request, Status};

use super::{Access, Caller, Known};

/// One key of the file of keys: its holder and the SHA-256 of the key.
#[derive(Debug, Clone)]
pub struct Key {
    /// The tenant that holds it.
    pub name: String,
    /// SHA-256 of the key's text.
    pub sha256: [u8; 32],
    /// What its holder may do.
    pub access: Access,
}

/// The holder of the key that the request carries; none where it carries none.
pub(super) fn caller(request: &Request<()>, keys: &[Key]) -> Result<Option<Caller>, Status> {
    let Some(given) = request.metadata().get("authorization") else {
        return Ok(None);
    };
    let given = given
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "))
        .unwrap_or_default();
    if given.is_empty() {
        return Err(Status::unauthenticated(
            "authorization holds no `Bearer KEY`",
        ));
    }
    let digest: [u8; 32] = Sha256::digest(given.as_bytes()).into();
    // Every key is compared, so that the time says nothing about which.
    let holder = keys.iter().fold(None, |found, key| {
        if bool::from(key.sha256.ct_eq(&digest)) {
            Some(key)
        } else {
            found
        }
    });
    match holder {
        Some(key) => {
            let known = Known::Key(key.name.as_str().into());
            Ok(Some(Caller::new(known, key.access.clone())))
        }
        None => Err(Status::unauthenticated(
            "this key is not in the daemon's file of keys",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authenticator, caller};
    use super::*;

    fn key(text: &str) -> Key {
        Key {
            name: "orchestrator".into(),
            sha256: Sha256::digest(text).into(),
            access: Access::default(),
        }
    }

    #[test]
    fn a_request_without_a_key_is_refused_on_tcp() {
        let door = Authenticator::Tcp {
            keys: vec![key("k")],
            clients: None,
        };
        let refused = door.authenticate(Request::new(())).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn only_the_right_key_opens() {
        let door = Authenticator::Tcp {
            keys: vec![key("right")],
            clients: Some(Vec::new()),
        };
        let with = |text: &'static str| {
            let mut request = Request::new(());
            request
                .metadata_mut()
                .insert("authorization", text.parse().unwrap());
            door.authenticate(request)
        };
        assert_eq!(
            caller(&with("Bearer right").unwrap()).tenant.as_ref(),
            "key:orchestrator"
        );
        assert!(with("Bearer wrong").is_err());
        assert!(with("right").is_err());
        let empty = Authenticator::Tcp {
            keys: vec![key("")],
            clients: None,
        };
        let mut request = Request::new(());
        let basic = "Basic x".parse().unwrap();
        request.metadata_mut().insert("authorization", basic);
        assert!(
            empty.authenticate(request).is_err(),
            "the empty key is nobody's"
        );
    }
}
