//! The targets over their corpora, and over edits of them: what libFuzzer does for hours, for seconds and without it.

use caisson_fuzz::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::{Path, PathBuf};

/// Edited inputs for each target.
const CASES: u32 = 400;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let entries =
        std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect()
}

#[test]
fn every_entry_of_the_corpora_keeps_what_its_target_promises() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "{name} has {} entries", corpus.len());
        for (path, bytes) in corpus {
            // Told first, so that a panic has a name.
            println!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn a_corpus_stays_small_and_belongs_to_a_target() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "{name} is no target"
        );
        let sum: usize = corpus(&name).iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(sum <= 64 << 10, "{name} has {sum} bytes");
    }
}

/// One edit of an input, places as parts of the whole.
#[derive(Debug, Clone)]
enum Edit {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
    /// A piece of another entry.
    Splice(
        prop::sample::Index,
        prop::sample::Index,
        prop::sample::Index,
        u8,
    ),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, bits)| Edit::Flip(at, bits)),
        (place(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (place(), any::<u8>()).prop_map(|(at, length)| Edit::Remove(at, length)),
        (place(), place(), place(), any::<u8>())
            .prop_map(|(at, entry, from, length)| Edit::Splice(at, entry, from, length)),
    ]
}

fn edited(bytes: &mut Vec<u8>, edit: Edit, corpus: &[(PathBuf, Vec<u8>)]) {
    let place = |at: prop::sample::Index, length: usize| at.index(length + 1);
    match edit {
        Edit::Flip(at, bits) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Edit::Flip(..) => {}
        Edit::Insert(at, more) => {
            let at = place(at, bytes.len());
            bytes.splice(at..at, more);
        }
        Edit::Remove(at, length) => {
            let at = place(at, bytes.len());
            let end = (at + usize::from(length)).min(bytes.len());
            bytes.drain(at..end);
        }
        Edit::Splice(at, entry, from, length) => {
            let other = &corpus[entry.index(corpus.len())].1;
            let from = place(from, other.len());
            let end = (from + usize::from(length)).min(other.len());
            let at = place(at, bytes.len());
            bytes.splice(at..at, other[from..end].to_vec());
        }
    }
}

/// Runs one target over edits of its corpus.
fn fuzz(name: &str) {
    let (_, target) = TARGETS
        .into_iter()
        .find(|(target, _)| *target == name)
        .expect("a target");
    let corpus = corpus(name);
    let inputs = (
        any::<prop::sample::Index>(),
        prop::collection::vec(edit(), 1..6),
    )
        .prop_map(|(entry, edits)| {
            let mut bytes = corpus[entry.index(corpus.len())].1.clone();
            for edit in edits {
                edited(&mut bytes, edit, &corpus);
            }
            bytes
        });
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs, |bytes| {
        target(&bytes);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}\nput the input into tests/fuzz/corpus/{name} once it is mended");
    }
}

#[test]
fn edits_of_client_hellos_keep_the_promises() {
    fuzz("client_hello");
}

#[test]
fn edits_of_connector_yamls_keep_the_promises() {
    fuzz("connector_yaml");
}

#[test]
fn edits_of_dns_packets_keep_the_promises() {
    fuzz("dns_packet");
}

#[test]
fn edits_of_policy_files_keep_the_promises() {
    fuzz("policy_file");
}

#[test]
fn edits_of_worker_frames_keep_the_promises() {
    fuzz("worker_frames");
}
