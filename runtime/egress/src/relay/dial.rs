//! Reaching the upstream: the checked addresses one after the other, the true cause where none answers.

use crate::reason::Reason;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// Why no address answered.
#[derive(Debug)]
pub(crate) struct Undialled {
    pub(crate) address: Option<IpAddr>,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// Connects to the first address that answers.
pub(crate) async fn dial(
    addresses: &[IpAddr],
    port: u16,
    timeout: Duration,
) -> Result<(TcpStream, IpAddr), Undialled> {
    let mut first = None;
    let mut details = Vec::new();
    // A name with many dead addresses takes no longer than a few attempts would.
    let deadline = Instant::now() + timeout * 3;
    for &address in addresses {
        let until = deadline.min(Instant::now() + timeout);
        let attempt = connect(SocketAddr::new(address, port));
        let error = match tokio::time::timeout_at(until, attempt).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer within {} s", timeout.as_secs()),
            ),
        };
        details.push(format!("{}: {error}", SocketAddr::new(address, port)));
        first.get_or_insert((address, cause(&error)));
    }
    let (address, reason) = first.unzip();
    Err(Undialled {
        address,
        reason: reason.unwrap_or(Reason::DialFailed),
        detail: details.join(", "),
    })
}

/// Closing such a connection resets it until the relay says otherwise, so that no upstream takes a broken upload for a
/// whole one.
async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_zero_linger()?;
    socket.connect(to).await
}

fn cause(error: &io::Error) -> Reason {
    match error.kind() {
        ErrorKind::ConnectionRefused => Reason::DialRefused,
        ErrorKind::TimedOut => Reason::DialTimeout,
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => Reason::DialUnreachable,
        _ => Reason::DialFailed,
    }
}
