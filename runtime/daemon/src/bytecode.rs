//! A bundle's bytecode, beside its source, when it is installed: compiled in a
//! worker, for a parser of foreign text is no part of the daemon. Without it
//! every worker would compile what it imports, for its bundle is read-only.
//!
//! What the worker answers is trusted as far as the bundle is: it goes to
//! `__pycache__` beside a source that exists, and only workers of this bundle
//! load it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use caisson_sandbox::{Launcher, Program, WorkerSpec};
use tokio::runtime::Handle;

/// For all of a bundle.
const TIME: Duration = Duration::from_secs(120);
/// At most so much, in bytes.
const MOST: u64 = 1 << 30;
/// Of one path and of one module, in bytes.
const LONGEST: (u32, u32) = (4096, 64 << 20);

/// Compiles an unpacked bundle. A bundle without bytecode is as good, and
/// slower: what goes wrong is only logged. Blocks.
pub(crate) fn compile(runtime: &Handle, launcher: &Launcher, worker: u64, bundle: &Path) {
    match compiled(runtime, launcher, worker, bundle) {
        Ok(count) => tracing::debug!(count, "compiled a bundle's source"),
        Err(error) => {
            tracing::warn!(%error, "a bundle's source is not compiled: its workers start slower")
        }
    }
}

fn compiled(
    runtime: &Handle,
    launcher: &Launcher,
    worker: u64,
    bundle: &Path,
) -> io::Result<usize> {
    crate::open_to_all(bundle)?;
    let spec = WorkerSpec::new(worker, bundle.to_owned());
    let source = format!(
        "import sys; sys.path.append('/caisson/shim'); from caisson._compile import main; main({:?})",
        spec.profile.0
    );
    let launched = runtime.block_on(launcher.launch_program(spec, Program::Python(source)));
    let (mut process, io) = launched.map_err(io::Error::other)?.split();
    let killer = process.killer();
    let late = runtime.spawn(async move {
        tokio::time::sleep(TIME).await;
        killer.kill();
    });
    // Nobody reads what else it says.
    drop((io.channel, io.stderr, io.stacks, io.sockets));
    let written = place(
        File::from(io.stdout),
        bundle,
        &launcher.interpreter().cache_tag(),
    );
    let exit = runtime.block_on(process.wait())?;
    late.abort();
    let count = written?;
    match exit.status {
        Some(0) => Ok(count),
        _ => Err(io::Error::other(format!(
            "its worker ended early: {exit:?}"
        ))),
    }
}

/// Writes what comes, and says how much that was.
fn place(from: impl Read, bundle: &Path, tag: &str) -> io::Result<usize> {
    let mut from = BufReader::new(from.take(MOST));
    let mut count = 0;
    while let Some((path, code)) = next(&mut from)? {
        let file = target(bundle, &path, tag).ok_or_else(|| {
            io::Error::other(format!("no source of the bundle: {}", path.display()))
        })?;
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)?;
            crate::open_to_all(dir)?;
        }
        fs::write(file, code)?;
        count += 1;
    }
    Ok(count)
}

fn next(from: &mut impl Read) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let mut lengths = [0; 8];
    match from.read_exact(&mut lengths) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let [a, b, c, d, e, f, g, h] = lengths;
    let (name, code) = (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    );
    if name > LONGEST.0 || code > LONGEST.1 {
        return Err(io::Error::other("a length that no module has"));
    }
    let mut take = |length: u32| {
        let mut bytes = Vec::new();
        from.take(length.into()).read_to_end(&mut bytes)?;
        match bytes.len() == length as usize {
            true => Ok(bytes),
            false => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }
    };
    let path = String::from_utf8(take(name)?).map_err(io::Error::other)?;
    Ok(Some((path.into(), take(code)?)))
}

/// Where the bytecode of a source goes (PEP 3147); `None` where that is none of this bundle.
fn target(bundle: &Path, path: &Path, tag: &str) -> Option<PathBuf> {
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let ours = path.starts_with("src") || path.starts_with("deps");
    let is_source = path.extension().is_some_and(|end| end == "py");
    let source = bundle.join(path);
    // A link on the way would lead elsewhere.
    let real = fs::canonicalize(&source)
        .is_ok_and(|found| fs::canonicalize(bundle).is_ok_and(|bundle| found == bundle.join(path)));
    if !(plain && ours && is_source && real && source.is_file()) {
        return None;
    }
    let cache = source.parent()?.join("__pycache__");
    // Nor may there be one already.
    if fs::symlink_metadata(&cache).is_ok_and(|found| !found.is_dir()) {
        return None;
    }
    let file = cache.join(format!("{}.{tag}.pyc", path.file_stem()?.to_str()?));
    fs::symlink_metadata(&file).is_err().then_some(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn answer(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (path, code) in parts {
            all.extend((path.len() as u32).to_le_bytes());
            all.extend((code.len() as u32).to_le_bytes());
            all.extend(path.as_bytes());
            all.extend(*code);
        }
        all
    }

    fn bundle() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("src/shop")).unwrap();
        fs::write(dir.path().join("src/shop/api.py"), "").unwrap();
        fs::write(dir.path().join("connector.py"), "").unwrap();
        dir
    }

    #[test]
    fn bytecode_lies_where_python_looks_for_it() {
        let dir = bundle();
        let count = place(
            &answer(&[("src/shop/api.py", b"code")])[..],
            dir.path(),
            "cpython-311",
        );
        assert_eq!(count.unwrap(), 1);
        let file = dir.path().join("src/shop/__pycache__/api.cpython-311.pyc");
        assert_eq!(fs::read(file).unwrap(), b"code");
    }

    #[test]
    fn what_is_no_source_of_the_bundle_is_written_nowhere() {
        let dir = bundle();
        symlink("/tmp", dir.path().join("src/out")).unwrap();
        symlink("api.py", dir.path().join("src/shop/link.py")).unwrap();
        let wrong = [
            "connector.py",
            "src/shop/other.py",
            "src/shop",
            "src/../connector.py",
            "/etc/passwd",
            "src/out/x.py",
            "src/shop/link.py",
            "",
        ];
        for path in wrong {
            let placed = place(&answer(&[(path, b"code")])[..], dir.path(), "cpython-311");
            assert!(placed.is_err(), "{path}");
        }
        symlink("/tmp", dir.path().join("src/shop/__pycache__")).unwrap();
        let placed = place(
            &answer(&[("src/shop/api.py", b"code")])[..],
            dir.path(),
            "cpython-311",
        );
        assert!(placed.is_err());
    }

    #[test]
    fn an_answer_that_is_cut_off_or_too_long_is_an_error() {
        let dir = bundle();
        let whole = answer(&[("src/shop/api.py", b"code")]);
        assert!(place(&whole[..whole.len() - 1], dir.path(), "t").is_err());
        let mut long = whole.clone();
        long[7] = 0xff;
        assert!(place(&long[..], dir.path(), "t").is_err());
    }
}
