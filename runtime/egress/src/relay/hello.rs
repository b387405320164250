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
pub(crate) enum HelloError {
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
    let mut hello = Hello::new(expected);
    let mut chunk = vec![0; 8 << 10];
    loop {
        let length = stream.read(&mut chunk).await.map_err(HelloError::Gone)?;
        if length == 0 {
            return Err(hello.broken_off());
        }
        if hello.push(&chunk[..length])? {
            return Ok(hello.into_seen());
        }
    }
}

/// A ClientHello as it comes in. What it comes to depends on its first [`LONGEST`] bytes, never on how the socket cut them.
pub(crate) struct Hello<'a> {
    expected: &'a Name,
    acceptor: Acceptor,
    /// Everything that was pushed, for the upstream.
    seen: Vec<u8>,
}

impl<'a> Hello<'a> {
    pub(crate) fn new(expected: &'a Name) -> Self {
        Self {
            expected,
            acceptor: Acceptor::default(),
            seen: Vec::new(),
        }
    }

    /// Takes more bytes; true once the ClientHello is whole and names the host.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<bool, HelloError> {
        let room = LONGEST.saturating_sub(self.seen.len());
        let mut rest = &bytes[..bytes.len().min(room)];
        self.seen.extend_from_slice(bytes);
        while !rest.is_empty() {
            self.acceptor
                .read_tls(&mut rest)
                .map_err(|error| self.not_tls(&error))?;
            match self.acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return check(hello.server_name(), self.expected).map(|()| true);
                }
                Ok(None) => {}
                Err((error, _)) => return Err(self.not_tls(&error)),
            }
        }
        if self.seen.len() >= LONGEST {
            return Err(self.not_tls(&"it is too long"));
        }
        Ok(false)
    }

    /// Everything that was pushed.
    pub(crate) fn into_seen(self) -> Vec<u8> {
        self.seen
    }

    /// What the end of the connection means before the ClientHello was whole.
    pub(crate) fn broken_off(&self) -> HelloError {
        if self.seen.is_empty() {
            HelloError::Gone(ErrorKind::UnexpectedEof.into())
        } else {
            self.not_tls(&"it ended early")
        }
    }

    fn not_tls(&self, why: &dyn std::fmt::Display) -> HelloError {
        let detail = format!(
            "the connection to {} does not begin with a ClientHello: {why}",
            self.expected
        );
        HelloError::Refused(Reason::NotTls, detail)
    }
}

pub(crate) fn check(sni: Option<&str>, expected: &Name) -> Result<(), HelloError> {
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
