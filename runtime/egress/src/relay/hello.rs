//! The host name in a ClientHello, read without answering it.
//!
//! rustls parses; what was read is kept and relayed as it came. The bound on time and size keeps a worker that sends a
//! ClientHello byte by byte from holding more than a buffer.

use crate::name::Name;
use crate::reason::Reason;
use caisson_without::{Part, without};
use rustls::server::Acceptor;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Longest that a ClientHello may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest ClientHello, record headers included; post-quantum key shares stay far below.
const LONGEST: usize = 64 << 10;

/// Why a connection does not name the host.
#[derive(Debug)]
pub(super) enum HelloError {
    /// What it begins with is refused.
    Refused(Reason, String),
    /// It broke off before it said anything.
    Gone(io::Error),
}

/// Reads the ClientHello and requires it to name `expected`. Returns all bytes that were read.
pub(super) async fn read_hello(
    stream: &mut TcpStream,
    expected: &Name,
) -> Result<Vec<u8>, HelloError> {
    let late = || {
        HelloError::Refused(
            Reason::NotTls,
            format!(
                "no ClientHello for {expected} within {} s",
                PATIENCE.as_secs()
            ),
        )
    };
    tokio::time::timeout(PATIENCE, read(stream, expected))
        .await
        .unwrap_or_else(|_| Err(late()))
}

async fn read(stream: &mut TcpStream, expected: &Name) -> Result<Vec<u8>, HelloError> {
    let not_tls = |why: &dyn std::fmt::Display| {
        let detail =
            format!("the connection to {expected} does not begin with a ClientHello: {why}");
        HelloError::Refused(Reason::NotTls, detail)
    };
    let mut acceptor = Acceptor::default();
    let mut seen = Vec::new();
    let mut chunk = vec![0; 8 << 10];
    loop {
        let length = stream.read(&mut chunk).await.map_err(HelloError::Gone)?;
        if length == 0 && seen.is_empty() {
            return Err(HelloError::Gone(ErrorKind::UnexpectedEof.into()));
        }
        if length == 0 {
            return Err(not_tls(&"it ended early"));
        }
        seen.extend_from_slice(&chunk[..length]);
        let mut rest = &chunk[..length];
        while !rest.is_empty() {
            acceptor
                .read_tls(&mut rest)
                .map_err(|error| not_tls(&error))?;
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    return check(accepted.client_hello().server_name(), expected).map(|()| seen);
                }
                Ok(None) => {}
                Err((error, _)) => return Err(not_tls(&error)),
            }
        }
        if seen.len() > LONGEST {
            return Err(not_tls(&"it is too long"));
        }
    }
}

fn check(sni: Option<&str>, expected: &Name) -> Result<(), HelloError> {
    if without(Part::Sni) {
        return Ok(());
    }
    let Some(sni) = sni else {
        let detail = format!("the ClientHello names no host; it must name {expected}");
        return Err(HelloError::Refused(Reason::SniMissing, detail));
    };
    match Name::parse(sni) {
        Ok(name) if name == *expected => Ok(()),
        _ => {
            let detail = format!(
                "the ClientHello names {}, and the connection is to {expected}",
                sni.escape_default()
            );
            Err(HelloError::Refused(Reason::SniMismatch, detail))
        }
    }
}
