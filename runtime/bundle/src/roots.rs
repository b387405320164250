//! Root bundles among the files of an unpacked bundle: certifi's, botocore's, pip's, stripe's, and whoever brings the next.
//!
//! They are known by what is in them, not by their names, of which there is no end. A file is one where it holds [`FEWEST`]
//! certificates or more and all are of authorities. One certificate, or two while the first is being replaced, is a pin, and
//! whoever pins is not to be overruled. A client's certificate comes with its chain, but is of no authority itself. A file that
//! holds a private key is none either, whatever else it holds.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::certificate::is_authority;

/// Certificates in a bundle, at least.
const FEWEST: usize = 3;
/// Size of a file that may be one, in bytes: the public roots are a quarter of a megabyte.
const SIZES: std::ops::RangeInclusive<u64> = 1_024..=4 << 20;
/// A bundle's first certificate begins within so many bytes, after what it says of itself.
const HEAD: u64 = 16 << 10;
/// What files are looked through for, and what none of them may hold.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const KEY: &[u8] = b"PRIVATE KEY-----";

/// A file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading {path}: {source}", path = .path.display())]
pub struct RootsError {
    /// The file or directory.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// The root bundles beneath a directory, as paths relative to it, sorted. Links are not followed.
///
/// # Errors
/// What could not be read.
pub fn find_roots(dir: &Path) -> Result<Vec<PathBuf>, RootsError> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        let error = |path: &Path| {
            let path = path.to_owned();
            |source| RootsError { path, source }
        };
        for entry in fs::read_dir(&next).map_err(error(&next))? {
            let entry = entry.map_err(error(&next))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(error(&path))?;
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && !is_code(&path) && is_roots(&path).map_err(error(&path))? {
                let relative = path.strip_prefix(dir).unwrap_or(&path);
                found.push(relative.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Python that has roots in a string: what is put in its place would not compile.
fn is_code(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("py" | "pyi" | "pyc"))
}

fn is_roots(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if !SIZES.contains(&size) {
        return Ok(false);
    }
    let mut content = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut content)?;
    if !holds(&content, BEGIN) {
        return Ok(false);
    }
    file.take(*SIZES.end()).read_to_end(&mut content)?;
    Ok(!holds(&content, KEY) && are_roots(&content))
}

fn are_roots(pem: &[u8]) -> bool {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        match certificate {
            Ok(der) if is_authority(&der) => count += 1,
            _ => return false,
        }
    }
    count >= FEWEST
}

fn holds(content: &[u8], what: &[u8]) -> bool {
    content.windows(what.len()).any(|window| window == what)
}
