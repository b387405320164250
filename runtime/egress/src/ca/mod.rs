//! The authority that signs for inspected hosts: made when the daemon starts, gone when it ends.
//!
//! Where a rule says `protocol: https` the gateway ends TLS, so it shows a certificate of its own for the host's name. The
//! key that signs those is in this process's memory and nowhere else: no file, no worker, no other daemon has it, and it
//! signs for names alone that a policy in force allowed. What workers get is the certificate, in their bundle of roots.

mod certificate;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use zeroize::Zeroize;

use crate::host::Target;
use crate::name::Name;

/// Leaves that are kept. Beyond it all are forgotten and made again as they are asked for: a worker that walks through the
/// names of a wildcard costs a signature for each, never memory.
const KEPT: usize = 1024;
/// A leaf is shown for so long, and then another takes its place. It is valid for twice that, so that no connection begins
/// with one that is about to expire.
const SHOWN: Duration = Duration::from_secs(15 * 24 * 3_600);

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The key or the certificate of the authority itself.
    #[error("the gateway's certificate authority cannot be made: {0}")]
    Authority(#[source] rcgen::Error),
    /// The certificate of one host.
    #[error("a certificate for {target} cannot be made: {source}")]
    Leaf {
        /// The host.
        target: Target,
        /// What kept it from being made.
        source: rcgen::Error,
    },
    /// The key that leaves are for.
    #[error("the key of the gateway's certificates is of no use: {0}")]
    Key(#[source] rustls::Error),
    /// No random bytes.
    #[error("the system gives no random bytes for a certificate")]
    Random,
}

/// The certificate authority of one daemon.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// One for all leaves. A key for each would protect nothing: all would lie in the same memory, beside the one that signs
    /// them, and be of use for as long.
    leaf: KeyPair,
    /// The same, as TLS signs with it.
    signing: Arc<dyn SigningKey>,
    made: Mutex<HashMap<Target, Made>>,
}

/// One leaf, and the wall clock's times between which it is shown.
struct Made {
    key: Arc<CertifiedKey>,
    from: SystemTime,
    until: SystemTime,
}

impl Authority {
    /// Makes key and certificate, valid from a day before now.
    ///
    /// # Errors
    /// No random bytes.
    pub fn new() -> Result<Self, AuthorityError> {
        let mut own = KeyPair::generate().map_err(AuthorityError::Authority)?;
        // The form that could be written somewhere. What signs keeps a form of its own, which nobody can ask for.
        own.zeroize();
        let parameters = certificate::authority(SystemTime::now())?;
        let signed = parameters.self_signed(&own);
        let pem = signed.map_err(AuthorityError::Authority)?.pem();
        let mut leaf = KeyPair::generate().map_err(AuthorityError::Authority)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.serialized_der()));
        let signing =
            rustls::crypto::ring::sign::any_ecdsa_type(&der).map_err(AuthorityError::Key)?;
        leaf.zeroize();
        Ok(Self {
            issuer: Issuer::new(parameters, own),
            pem,
            leaf,
            signing,
            made: Mutex::default(),
        })
    }

    /// The certificate that workers are to trust, in PEM (RFC 7468).
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// What the gateway shows as `name`. Ask for names alone that a policy allowed.
    ///
    /// # Errors
    /// No random bytes.
    pub fn leaf(&self, name: &Name) -> Result<Arc<CertifiedKey>, AuthorityError> {
        self.leaf_of(&Target::Name(name.clone()))
    }

    /// The same for a host that may be an address.
    ///
    /// # Errors
    /// No random bytes.
    pub fn leaf_of(&self, target: &Target) -> Result<Arc<CertifiedKey>, AuthorityError> {
        self.leaf_at(target, SystemTime::now())
    }

    /// One whose time was over long ago: a fault on purpose.
    pub(crate) fn expired_leaf(&self, name: &Name) -> Result<Arc<CertifiedKey>, AuthorityError> {
        self.leaf_at(&Target::Name(name.clone()), SystemTime::now() - 4 * SHOWN)
    }

    fn leaf_at(
        &self,
        target: &Target,
        now: SystemTime,
    ) -> Result<Arc<CertifiedKey>, AuthorityError> {
        // Held while one is made, which takes as long as a signature: whoever asks for the same name waits for it.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was put back is before what the certificate says, so `from` counts too.
        let fits = |made: &&Made| (made.from..made.until).contains(&now);
        if let Some(kept) = made.get(target).filter(fits) {
            return Ok(Arc::clone(&kept.key));
        }
        let parameters = certificate::leaf(target, now, now + 2 * SHOWN)?;
        let signed = parameters.signed_by(&self.leaf, &self.issuer);
        let signed = signed.map_err(|source| AuthorityError::Leaf {
            target: target.clone(),
            source,
        })?;
        let key = CertifiedKey::new(vec![signed.into()], Arc::clone(&self.signing));
        let key = Arc::new(key);
        if made.len() >= KEPT {
            made.clear();
        }
        let kept = Made {
            key: Arc::clone(&key),
            from: now,
            until: now + SHOWN,
        };
        made.insert(target.clone(), kept);
        Ok(key)
    }
}

/// Never a key.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
