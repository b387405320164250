//! By rustls here; by OpenSSL, in its strict mode, in tests/authority.rs.

use std::net::{IpAddr, Ipv4Addr};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn target(text: &str) -> Target {
    Target::parse(text).unwrap()
}

/// Whether who trusts `authority` takes `key` for `host` at that time.
fn trusted(
    authority: &Authority,
    key: &CertifiedKey,
    host: &str,
    at: SystemTime,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    roots.add(der).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let host = ServerName::try_from(host).unwrap();
    let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let end = key.end_entity_cert().unwrap();
    let verified = verifier
        .build()
        .unwrap()
        .verify_server_cert(end, &[], &host, &[], at);
    verified.map(drop)
}

#[test]
fn a_leaf_is_trusted_for_its_own_name_and_for_no_other() {
    let authority = Authority::new().unwrap();
    let now = SystemTime::now();
    for host in [
        "api.example.com",
        "_dmarc.a-b.example",
        "localhost",
        "10.1.2.3",
        "2001:db8::1",
    ] {
        let leaf = authority.leaf_of(&target(host)).unwrap();
        assert_eq!(trusted(&authority, &leaf, host, now), Ok(()), "{host}");
        assert!(
            trusted(&authority, &leaf, "other.example.com", now).is_err(),
            "{host}"
        );
    }
    let local = authority.leaf(&Name::parse("localhost").unwrap()).unwrap();
    assert_eq!(trusted(&authority, &local, "127.0.0.1", now), Ok(()));
    assert_eq!(trusted(&authority, &local, "::1", now), Ok(()));
}

#[test]
fn the_longest_name_that_dns_knows_has_a_leaf() {
    let authority = Authority::new().unwrap();
    let long = [["a".repeat(63).as_str(); 3].join("."), "b".repeat(61)].join(".");
    assert_eq!(long.len(), 253);
    let leaf = authority.leaf(&Name::parse(&long).unwrap()).unwrap();
    assert_eq!(trusted(&authority, &leaf, &long, SystemTime::now()), Ok(()));
}

#[test]
fn what_another_daemon_signed_is_not_trusted() {
    let (one, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let leaf = other.leaf_of(&target("api.example.com")).unwrap();
    let now = SystemTime::now();
    assert!(trusted(&one, &leaf, "api.example.com", now).is_err());
    assert_eq!(trusted(&other, &leaf, "api.example.com", now), Ok(()));
}

#[test]
fn a_leaf_is_kept_and_another_takes_its_place_long_before_it_expires() {
    let authority = Authority::new().unwrap();
    let host = target("api.example.com");
    let begin = SystemTime::now();
    let first = authority.leaf_at(&host, begin).unwrap();
    let again = authority.leaf_at(&host, begin + SHOWN - DAY).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    let mut at = begin;
    // Three years of a daemon's life.
    while at < begin + 3 * 365 * DAY {
        let leaf = authority.leaf_at(&host, at).unwrap();
        for connected in [at, at + SHOWN - DAY] {
            assert_eq!(
                trusted(&authority, &leaf, "api.example.com", connected),
                Ok(())
            );
        }
        at += SHOWN / 2;
    }
    assert!(trusted(&authority, &first, "api.example.com", at).is_err());
}

#[test]
fn a_clock_that_is_a_little_wrong_or_was_put_back_does_no_harm() {
    let authority = Authority::new().unwrap();
    let host = target("api.example.com");
    let now = SystemTime::now();
    let leaf = authority.leaf_at(&host, now).unwrap();
    assert_eq!(
        trusted(&authority, &leaf, "api.example.com", now - DAY / 2),
        Ok(())
    );
    let ahead = authority.leaf_at(&host, now + 400 * DAY).unwrap();
    assert!(trusted(&authority, &ahead, "api.example.com", now).is_err());
    let back = authority.leaf_at(&host, now).unwrap();
    assert_eq!(trusted(&authority, &back, "api.example.com", now), Ok(()));
}

#[test]
fn however_many_names_are_asked_for_few_leaves_are_kept() {
    let authority = Authority::new().unwrap();
    for number in 0..KEPT + 10 {
        let name = Name::parse(&format!("n{number}.example.com")).unwrap();
        authority.leaf(&name).unwrap();
        assert!(authority.made.lock().unwrap().len() <= KEPT);
    }
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    assert!(authority.leaf_of(&Target::Address(address)).is_ok());
}

#[test]
fn no_key_is_in_what_is_printed_or_in_what_could_be_written() {
    let authority = Authority::new().unwrap();
    assert_eq!(format!("{authority:?}"), "Authority { .. }");
    assert_eq!(authority.issuer.key().serialized_der(), b"");
    assert_eq!(authority.leaf.serialized_der(), b"");
    assert!(!authority.certificate_pem().contains("PRIVATE"));
}
