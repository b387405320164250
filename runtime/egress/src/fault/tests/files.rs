//! Whole files: what is accepted, and every message with which one is refused.

use crate::fault::{FaultScript, SCHEMA};
use caisson_document::{ReadError, Schema};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_schema_is_valid_and_has_the_faults_that_the_reader_has() {
    let schema = Schema::parse(SCHEMA).unwrap();
    let properties = schema
        .value()
        .pointer("/$defs/entry/properties")
        .unwrap()
        .as_object()
        .unwrap();
    let keys: Vec<_> = properties
        .keys()
        .map(String::as_str)
        .filter(|key| *key != "match")
        .collect();
    assert_eq!(keys, crate::fault::read::KEYS);
}

#[test]
fn the_example_has_every_fault() {
    let path = root().join("deploy/faults.example.yaml");
    let script = FaultScript::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let met = script.met();
    for key in crate::fault::read::KEYS {
        assert!(
            met.iter().any(|met| met.fault == key),
            "the example has no {key}"
        );
    }
}

#[test]
fn the_authors_guide_has_a_script_with_every_fault() {
    let guide = std::fs::read_to_string(root().join("docs/guides/author.md")).unwrap();
    let (_, section) = guide.split_once("## Faults on purpose").unwrap();
    let (_, script) = section.split_once("```yaml\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let script =
        FaultScript::parse("author.md", script).unwrap_or_else(|faults| panic!("{faults}"));
    let met = script.met();
    for key in crate::fault::read::KEYS {
        assert!(
            met.iter().any(|met| met.fault == key),
            "the guide has no {key}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = FaultScript::read(Path::new("/nowhere/faults.yaml")).unwrap_err();
    assert!(matches!(error, ReadError::Io { .. }));
    assert!(
        error
            .to_string()
            .starts_with("cannot read /nowhere/faults.yaml: ")
    );
}

/// What is wrong, and the text of the file.
const FILES: &[(&str, &str)] = &[
    ("nothing", ""),
    ("format", "format: 2\nfaults: []\nfault: []\n"),
    ("shape", "format: 1\nfaults: { match: { host: a.com } }\n"),
    (
        "one fault each",
        "format: 1\nfaults:\n\
         \x20 - { match: { host: a.com } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 500 }, empty: true, stall: { after: 1 } }\n\
         \x20 - { match: { host: a.com }, timeout: 5s }\n\
         \x20 - { empty: true }\n\
         \x20 - refuse\n",
    ),
    (
        "match",
        "format: 1\nfaults:\n\
         \x20 - { match: { method: get, path: v1, nth: 0 }, empty: true }\n\
         \x20 - { match: { host: 'https://a.com', path: '/v1?x=1', first: 3 }, empty: true }\n\
         \x20 - { match: { host: '*', path: '/v1/a**', nth: 1, times: 2 }, empty: true }\n\
         \x20 - { match: { host: a.com, path: /v1/../a, every: often }, empty: true }\n\
         \x20 - { match: a.com, empty: true }\n\
         \x20 - { match: { host: a.com, method: GET, path: /v1 }, dns: nxdomain }\n\
         \x20 - { match: { host: a.com, path: /v1 }, refuse: true }\n\
         \x20 - { match: { host: a.com, method: GET }, certificate: expired }\n\
         \x20 - { match: { host: a.com, times: 2 }, expire_token: true }\n",
    ),
    (
        "answer",
        "format: 1\nfaults:\n\
         \x20 - { match: { host: a.com }, answer: 500 }\n\
         \x20 - { match: { host: a.com }, answer: { body: x } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 101, reason: Switching } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 204, body: x } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 200, headers: { 'a b': x, Content-Length: 5, ETag: \"a\\nb\", etag: c, Age: [1] } } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 200, headers: none, body: { a: 1 } } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 429, headers: { retry-after: 2 }, retry_after: past } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 429, retry_after: 2 } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 429, retry_after: soon } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 429, retry_after: { seconds: 2, date: 2 } } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 429, retry_after: { minutes: 2 } } }\n\
         \x20 - { match: { host: a.com }, answer: { status: 429, retry_after: { seconds: -1 } } }\n",
    ),
    (
        "bodies",
        "format: 1\nfaults:\n\
         \x20 - { match: { host: a.com }, reset: true }\n\
         \x20 - { match: { host: a.com }, reset: { after: -1 } }\n\
         \x20 - { match: { host: a.com }, reset: { after: 5, for: 2s } }\n\
         \x20 - { match: { host: a.com }, stall: { for: 2s } }\n\
         \x20 - { match: { host: a.com }, stall: { after: 5, for: 2 } }\n\
         \x20 - { match: { host: a.com }, stall: { after: 5, for: 2 days } }\n\
         \x20 - { match: { host: a.com }, slow: { bytes_per_second: 0 } }\n\
         \x20 - { match: { host: a.com }, slow: 1000 }\n\
         \x20 - { match: { host: a.com }, truncate: 512 }\n\
         \x20 - { match: { host: a.com }, content_type: \"text/html\\n\" }\n\
         \x20 - { match: { host: a.com }, content_type: '' }\n",
    ),
    (
        "switches",
        "format: 1\nfaults:\n\
         \x20 - { match: { host: a.com }, empty: false }\n\
         \x20 - { match: { host: a.com }, broken_gzip: 1 }\n\
         \x20 - { match: { host: a.com }, redirect_loop: /a }\n\
         \x20 - { match: { host: a.com }, refuse: 'yes' }\n\
         \x20 - { match: { host: a.com }, certificate: self_signed }\n\
         \x20 - { match: { host: a.com }, dns: timeout }\n\
         \x20 - { match: { host: a.com, nth: 5 }, expire_token: Bearer }\n",
    ),
    ("open", "format: 1\nfaults: [\n"),
    (
        "star",
        "format: 1\nfaults:\n  - { match: { host: *.a.com }, empty: true }\n",
    ),
    (
        "twice",
        "format: 1\nfaults:\n  - { match: { host: a.com }, empty: true, empty: true }\n",
    ),
];

#[test]
fn every_refusal_says_where_and_what_to_write_instead() {
    let mut said = String::new();
    for (name, text) in FILES {
        let faults = match FaultScript::parse("faults.yaml", text) {
            Ok(_) => panic!("{name} was accepted"),
            Err(faults) => faults,
        };
        for fault in &faults.0 {
            assert!(fault.line > 0 || text.is_empty(), "{fault} has no place");
            assert!(
                !fault.help.is_empty(),
                "{fault} does not say what to write instead"
            );
        }
        said.push_str(&format!("# {name}\n{faults}\n\n"));
    }
    insta::assert_snapshot!(said);
}
