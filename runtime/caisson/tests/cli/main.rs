//! The built binary against a daemon that only pretends: what it sends, what
//! it writes, what it says, and what it exits with. Nothing here makes a
//! worker; that is tested end to end (tests/).
#![forbid(unsafe_code)]

mod daemon;
mod example;
mod offline;
mod read;
mod write;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary with an environment of its own.
fn caisson(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caisson"));
    command
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    caisson(home).args(args).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
