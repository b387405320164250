//! `caisson serve --config FILE`, less the layers that CAISSON_WITHOUT names: for `tests/escape/without.py`.
//!
//! It is built by its own command only and serves nothing unless a layer was taken away, so that nobody runs it for the
//! product. `caisson-less parts` prints what can be taken away.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use caisson_daemon::{Config, Daemon};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["launcher"] => Ok(caisson_daemon::launcher_main()?),
        ["parts"] => {
            caisson_without::names().for_each(|name| println!("{name}"));
            Ok(())
        }
        ["serve", "--config", file] => serve(Path::new(file)),
        _ => bail!("caisson-less serve --config FILE, or caisson-less parts"),
    }
}

fn serve(file: &Path) -> anyhow::Result<()> {
    caisson_without::remember();
    if caisson_without::handed_on().is_none_or(|(_, parts)| parts.is_empty()) {
        bail!("CAISSON_WITHOUT names no part; for a whole daemon run `caisson serve`");
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .init();
    let config = Config::load(file, PathBuf::from("/var/lib/caisson"))
        .map_err(|faults| anyhow::anyhow!("{faults}"))?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut daemon = Daemon::start(config).await.context("starting")?;
        eprintln!("serving at {}", daemon.endpoint());
        let failure = daemon.failed().await;
        bail!("the daemon stopped: {failure}")
    })
}
