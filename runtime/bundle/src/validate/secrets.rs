//! C501: credentials in files. Every file of the project is read, tests,
//! cassettes and samples included; what came out of wheels is not: it is other
//! people's, it is public, and its hashes are locked. A file with a NUL in it
//! may be UTF-16 of either byte order, and is read as that too.

use super::Findings;
use super::literals::{Literal, find};
use crate::{LOCK_FILE, ProjectDir, ProjectError};

/// Larger files are told, not read.
const MAX_SCANNED: u64 = 32 << 20;

pub(super) fn check(project: &ProjectDir, findings: &mut Findings) -> Result<(), ProjectError> {
    for file in project.tree()? {
        if file.path == LOCK_FILE || file.path.ends_with(".whl") || file.path.starts_with("deps/") {
            continue;
        }
        if file.size > MAX_SCANNED {
            findings.add(
                "C501",
                &file.path,
                0,
                "too large to be searched for credentials",
                "make it smaller than 32 MiB",
            );
            continue;
        }
        let bytes = project.read(&file.path, MAX_SCANNED)?;
        for Literal { line, what, length } in found_in(&file.path, &bytes) {
            let found = format!("something like {what} ({length} characters)");
            findings.add(
                "C501",
                &file.path,
                line,
                found,
                "take it out, revoke it, and write [secret], REDACTED or a secret reference",
            );
        }
    }
    Ok(())
}

/// What looks like a credential in a file, however its text is encoded.
fn found_in(path: &str, bytes: &[u8]) -> Vec<Literal> {
    let mut found = find(path, &String::from_utf8_lossy(bytes));
    if bytes.contains(&0) {
        // Big-endian text is little-endian text one byte later.
        for start in [0, 1] {
            let (pairs, _) = bytes.get(start..).unwrap_or_default().as_chunks::<2>();
            let text: String = char::decode_utf16(pairs.iter().copied().map(u16::from_le_bytes))
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect();
            found.extend(find(path, &text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_in_every_encoding_and_beside_a_nul() {
        let text = "# note\nkey = \"AKIAQ3EXAMP2LONGKEY7\"\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let marked = [b"\xff\xfe".as_slice(), &little].concat();
        let beside = [b"\0\0\n".as_slice(), text.as_bytes()].concat();
        for (bytes, line) in [
            (text.as_bytes(), 2),
            (&little, 2),
            (&big, 2),
            (&marked, 2),
            (&beside, 3),
        ] {
            let found = found_in("notes.txt", bytes);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].line, found[0].what), (line, "an AWS access key"));
        }
        assert_eq!(found_in("picture.png", b"\x89PNG\0\0\0\r"), []);
    }
}
