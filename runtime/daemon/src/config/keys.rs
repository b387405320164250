//! The file of keys: who may call on TCP, and what they may do.
//!
//! ```text
//! # name       SHA-256 of the key    rights
//! dagster      9f86d081884c7d65…
//! airflow      60303ae22b998861…     workspaces=staging,production
//! ci           fd61a03af4f77d87…     workspaces=staging publish
//! alice        a4e624d686e03ed2…     operator
//! ```

use caisson_document::{Fault, Mark};

use crate::identity::{Access, Key, fingerprint, is_name};

/// Reads the file; every line that is no key is a fault of its own.
pub(super) fn keys(file: &str, text: &str, faults: &mut Vec<Fault>) -> Vec<Key> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        match key(&words) {
            Ok(key) => keys.push(key),
            Err((message, help)) => {
                let mark = Mark {
                    line: index + 1,
                    column: 1,
                };
                faults.push(Fault::of_file(file, Some(mark), message, help));
            }
        }
    }
    keys
}

fn key(words: &[&str]) -> Result<Key, (String, &'static str)> {
    const SHA256: &str =
        "write the SHA-256 of the key in hex, for example from: printf %s \"$KEY\" | sha256sum";
    let (name, sha256, rights) = match words {
        [] | [_] => {
            return Err((
                "is no key".to_owned(),
                "write `name sha256`, then its rights",
            ));
        }
        [name, sha256, rights @ ..] => (*name, *sha256, rights),
    };
    let sha256 = fingerprint(sha256)
        .ok_or_else(|| (format!("the second word of `{name}` is no SHA-256"), SHA256))?;
    let access = access(name, rights)?;
    Ok(Key {
        name: name.to_owned(),
        sha256,
        access,
    })
}

fn access(name: &str, rights: &[&str]) -> Result<Access, (String, &'static str)> {
    const RIGHTS: &str = "write `operator`, or any of `workspaces=NAME,NAME` and `publish`; nothing means workspaces=default";
    let mut access = Access::default();
    let mut seen = Vec::new();
    for right in rights {
        let (word, value) = right.split_once('=').unwrap_or((right, ""));
        if seen.contains(&word) {
            return Err((
                format!("`{name}` has `{word}` twice"),
                "leave one of the two",
            ));
        }
        seen.push(word);
        match (word, &mut access) {
            ("operator", access) if *right == "operator" => *access = Access::Operator,
            ("publish", Access::Workspaces { publish, .. }) if *right == "publish" => {
                *publish = true;
            }
            ("workspaces", Access::Workspaces { names, .. }) => {
                if let Some(wrong) = value.split(',').find(|name| !is_name(name)) {
                    return Err((
                        format!("`{wrong}` of `{name}` is no workspace"),
                        "write names of lower-case letters, digits, - and _ with commas between, without spaces",
                    ));
                }
                *names = value.split(',').map(str::to_owned).collect();
            }
            ("publish" | "workspaces", Access::Operator) => {}
            _ => return Err((format!("`{right}` of `{name}` is no right"), RIGHTS)),
        }
    }
    if access == Access::Operator && seen.len() > 1 {
        return Err((
            format!("`{name}` has rights beside `operator`, which every operator has"),
            "leave out the others, or `operator`",
        ));
    }
    Ok(access)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn read(text: &str) -> (Vec<Key>, Vec<Fault>) {
        let mut faults = Vec::new();
        let keys = keys("keys.txt", &text.replace("HASH", HASH), &mut faults);
        (keys, faults)
    }

    fn some(names: &[&str], publish: bool) -> Access {
        Access::Workspaces {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            publish,
        }
    }

    #[test]
    fn a_line_is_a_name_a_hash_and_rights_and_no_rights_mean_default() {
        let (keys, faults) = read(
            "# who may call\n\na HASH\nb HASH workspaces=staging,production\nc HASH publish workspaces=staging\nd HASH operator\n",
        );
        assert!(faults.is_empty(), "{faults:?}");
        let access: Vec<_> = keys.into_iter().map(|key| key.access).collect();
        assert_eq!(
            access,
            [
                some(&["default"], false),
                some(&["staging", "production"], false),
                some(&["staging"], true),
                Access::Operator,
            ]
        );
    }

    #[test]
    fn every_line_that_is_no_key_is_a_fault_and_gives_nobody_a_right() {
        let (keys, faults) = read(
            "a\nb 12ab\nc HASH operater\nd HASH operator publish\ne HASH workspaces=\nf HASH workspaces=A\n\
             g HASH publish publish\nh HASH publish=no\ni HASH operator workspaces=x\nj HASH workspaces\n",
        );
        assert!(keys.is_empty(), "{keys:?}");
        let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
