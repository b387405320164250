//! Which files of a bundle are taken for bundles of root certificates.
#![allow(missing_docs)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use caisson_bundle::find_roots;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

fn certificate(name: &str, is_ca: IsCa) -> String {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = is_ca;
    parameters.self_signed(&key).expect("a certificate").pem()
}

fn authorities(count: usize) -> String {
    let one = |number| {
        let own = certificate(
            &format!("root {number}"),
            IsCa::Ca(BasicConstraints::Unconstrained),
        );
        format!("# Label: \"root {number}\"\n# a comment, as bundles have\n{own}\n")
    };
    (0..count).map(one).collect()
}

fn write(dir: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, content).expect("a file");
}

#[test]
fn bundles_are_found_by_what_is_in_them_whatever_they_are_called() {
    let dir = tempfile::tempdir().expect("a folder");
    let roots = authorities(12);
    for path in [
        "deps/certifi/cacert.pem",
        "deps/grpc/_cython/_credentials/roots.pem",
        "deps/httplib2/cacerts.txt",
        "deps/stripe/data/ca-certificates.crt",
        "src/own/trust",
    ] {
        write(dir.path(), path, &roots);
    }
    write(dir.path(), "deps/few.pem", authorities(3));
    let found = find_roots(dir.path()).expect("found");
    let expected: Vec<PathBuf> = [
        "deps/certifi/cacert.pem",
        "deps/few.pem",
        "deps/grpc/_cython/_credentials/roots.pem",
        "deps/httplib2/cacerts.txt",
        "deps/stripe/data/ca-certificates.crt",
        "src/own/trust",
    ]
    .map(PathBuf::from)
    .into();
    assert_eq!(found, expected);
}

#[test]
fn a_pin_a_clients_certificate_with_its_chain_and_a_key_are_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let leaf = certificate("client", IsCa::ExplicitNoCa);
    let key = KeyPair::generate().expect("a key").serialize_pem();
    write(dir.path(), "pin.pem", authorities(1));
    write(dir.path(), "pins.pem", authorities(2));
    write(dir.path(), "client.pem", &leaf);
    write(dir.path(), "chain.pem", leaf.clone() + &authorities(3));
    write(dir.path(), "both.pem", authorities(20) + &key);
    write(
        dir.path(),
        "leaves.pem",
        (0..9).map(|_| leaf.as_str()).collect::<String>(),
    );
    assert_eq!(
        find_roots(dir.path()).expect("found"),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn code_links_and_what_only_looks_like_a_bundle_are_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let roots = authorities(5);
    write(
        dir.path(),
        "roots.py",
        format!("ROOTS = \"\"\"\n{roots}\"\"\"\n"),
    );
    let words = "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n";
    write(dir.path(), "broken.pem", words.repeat(50));
    let cut = &roots[..roots.len() / 2];
    write(dir.path(), "cut.pem", cut);
    write(
        dir.path(),
        "late.bin",
        [vec![0; 64 << 10], roots.clone().into_bytes()].concat(),
    );
    let outside = tempfile::tempdir().expect("a folder");
    write(outside.path(), "host/roots.pem", &roots);
    symlink(
        outside.path().join("host/roots.pem"),
        dir.path().join("link.pem"),
    )
    .expect("a link");
    symlink(outside.path().join("host"), dir.path().join("linked")).expect("a link");
    assert_eq!(
        find_roots(dir.path()).expect("found"),
        Vec::<PathBuf>::new()
    );
}

#[test]
fn a_root_that_says_nothing_and_signed_itself_is_one_as_in_old_bundles() {
    let dir = tempfile::tempdir().expect("a folder");
    let mute = certificate("version 1", IsCa::NoCa);
    write(dir.path(), "cacerts.txt", authorities(9) + &mute);
    assert_eq!(find_roots(dir.path()).expect("found").len(), 1);
}

#[test]
fn the_roots_of_this_host_are_found_as_a_bundle_of_a_connector_too() {
    let host =
        fs::read("/etc/ssl/certs/ca-certificates.crt").expect("ca-certificates, which tests need");
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), "deps/certifi/cacert.pem", host);
    assert_eq!(
        find_roots(dir.path()).expect("found"),
        [PathBuf::from("deps/certifi/cacert.pem")]
    );
}
