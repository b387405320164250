//! Everything that the workspace builds with is under a permissive licence.
//! `deny.toml` says the same to cargo-deny; this needs nothing installed.

use cargo_metadata::MetadataCommand;

/// SPDX identifiers that ask for no more than their notice to be kept.
/// MPL-2.0 is absent on purpose: it is weak, but it is copyleft.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether the expression can be met with permissive licences alone. `OR`
/// binds weaker than `AND`, parentheses bind strongest (SPDX 2.3, annex D);
/// old manifests write `/` for `OR`.
fn permissive(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&tokens, &mut at);
    met && at == tokens.len()
}

fn any(tokens: &[&str], at: &mut usize) -> bool {
    let mut met = all(tokens, at);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(tokens, at);
    }
    met
}

fn all(tokens: &[&str], at: &mut usize) -> bool {
    let mut met = one(tokens, at);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else {
        return false;
    };
    *at += 1;
    if *token == "(" {
        let met = any(tokens, at);
        *at += 1;
        return met;
    }
    let mut licence = (*token).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", tokens.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    PERMISSIVE.contains(&licence.as_str())
}

#[test]
fn an_expression_is_met_by_one_permissive_choice_and_not_by_half_a_conjunction() {
    assert!(permissive("MIT OR GPL-3.0"));
    assert!(permissive("Apache-2.0/MIT"));
    assert!(permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(permissive("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
    assert!(!permissive("MIT AND GPL-3.0"));
    assert!(!permissive("MPL-2.0"));
    assert!(!permissive(""));
}

#[test]
fn every_crate_we_build_with_is_permissive() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .exec()
        .expect("cargo metadata with dependencies");
    let refused: Vec<String> = metadata
        .packages
        .iter()
        .filter(|p| !permissive(p.license.as_deref().unwrap_or_default()))
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.license))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
