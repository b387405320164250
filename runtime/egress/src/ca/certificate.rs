//! What the certificates say: RFC 5280 to the letter, since Python 3.13 and others verify by it (X509_V_FLAG_X509_STRICT).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};

use super::AuthorityError;
use crate::host::Target;

/// Clocks of workers are this host's, but a host's may be put back.
const BEFORE: Duration = Duration::from_secs(24 * 3_600);

/// The authority's own. It signs leaves and no authority below it (`pathlen:0`).
pub(super) fn authority(now: SystemTime) -> Result<CertificateParams, AuthorityError> {
    let mut parameters = common(now)?;
    // Its key ends with the daemon, which may run for years and may have started under a wrong clock: no date that could be
    // written here is a better end. This one says that there is none (RFC 5280, section 4.1.2.5).
    parameters.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(24 * 3_600 - 1);
    // Two daemons' authorities are never one name for two keys.
    let mut tag = [0; 4];
    random(&mut tag)?;
    let tag = u32::from_be_bytes(tag);
    parameters.distinguished_name = subject(&format!("Caisson inspection {tag:08x}"));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

/// A host's, valid until `end`.
pub(super) fn leaf(
    target: &Target,
    now: SystemTime,
    end: SystemTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut parameters = common(now)?;
    parameters.not_after = date_time_ymd(1970, 1, 1) + since_1970(end);
    // Not the name: a common name holds 64 characters (ub-common-name), a host's name up to 253, and clients look for it among
    // the alternative names alone (RFC 9525).
    parameters.distinguished_name = subject("Host inspected by Caisson");
    parameters.subject_alt_names = alternatives(target)?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

/// Valid from a day ago, and a serial number that no other certificate has.
fn common(now: SystemTime) -> Result<CertificateParams, AuthorityError> {
    let mut parameters = CertificateParams::default();
    parameters.not_before = date_time_ymd(1970, 1, 1) + since_1970(now - BEFORE);
    // Positive, at most 20 octets (RFC 5280, section 4.1.2.2), and its first octet never 0, which DER would leave out.
    let mut serial = [0; 16];
    random(&mut serial)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(parameters)
}

/// What a client may call the host.
fn alternatives(target: &Target) -> Result<Vec<SanType>, AuthorityError> {
    let name = match target {
        Target::Address(address) => return Ok(vec![SanType::IpAddress(*address)]),
        Target::Name(name) => name,
    };
    let dns = name.as_str().try_into();
    let dns = dns.map_err(|source| AuthorityError::Leaf {
        target: target.clone(),
        source,
    })?;
    let mut all = vec![SanType::DnsName(dns)];
    // A policy that allows this name allows loopback addresses by number too, as resolvers map it by themselves.
    if name.as_str() == "localhost" {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        all.extend(loopback.map(SanType::IpAddress));
    }
    Ok(all)
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Caisson");
    subject.push(DnType::CommonName, name);
    subject
}

/// A clock that stands before 1970 says 1970.
fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn random(into: &mut [u8]) -> Result<(), AuthorityError> {
    let provider = rustls::crypto::ring::default_provider();
    let filled = provider.secure_random.fill(into);
    filled.map_err(|_| AuthorityError::Random)
}
