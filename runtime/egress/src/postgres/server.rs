//! The server's side of a startup: TLS before anything else, or nothing.

use super::mechanisms::{AUTHENTICATION, Offered, unbound};
use super::packet::{ASK_FOR_TLS, LONGEST};
use crate::client_certificate::{ClientCertificate, Notes, is_alert, wanted};
use crate::name::Name;
use crate::reason::Reason;
use crate::relay::{Count, Undialled, dial};
use crate::shared::Shared;
use rustls::pki_types::ServerName;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The most notices before authentication; servers send none or one.
const NOTICES: usize = 8;

/// Dials, has the server begin TLS, and verifies it.
pub(super) async fn reach(
    shared: &Shared,
    addresses: &[IpAddr],
    name: &Name,
    port: u16,
    shown: Option<&ClientCertificate>,
) -> Result<(TlsStream<TcpStream>, IpAddr), Undialled> {
    let timeout = shared.upstream.dial_timeout;
    let (mut stream, address) = dial(addresses, port, timeout).await?;
    let failed = |detail: String| Undialled {
        address: Some(address),
        reason: Reason::TlsFailed,
        detail,
    };
    let late = || {
        failed(format!(
            "TLS with {name}: no answer within {} s",
            timeout.as_secs()
        ))
    };
    let agreed = tokio::time::timeout(timeout, ask(&mut stream)).await;
    match agreed.map_err(|_| late())? {
        Ok(b'S') => {}
        Ok(b'N') => {
            return Err(failed(format!(
                "{name} speaks no TLS, and without it nothing is sent: switch it on there (ssl = on), or write protocol: tcp, under which the connector decides"
            )));
        }
        Ok(_) => {
            return Err(failed(format!(
                "{name} port {port} does not answer as PostgreSQL does when it is asked for TLS"
            )));
        }
        Err(error) => return Err(failed(format!("TLS with {name}: {error}"))),
    }
    let host = ServerName::try_from(name.as_str().to_owned());
    let host = host.map_err(|_| failed(format!("{name} is no name in a certificate")))?;
    let asked = Arc::new(AtomicBool::new(false));
    let config = shared.upstream.tls.plain_client(shown);
    let handshake = TlsConnector::from(config).connect(host, stream);
    let handshake = Notes::during(&asked, handshake);
    match tokio::time::timeout(timeout, handshake).await {
        Err(_) => Err(late()),
        Ok(Ok(stream)) => Ok((stream, address)),
        Ok(Err(error)) if shown.is_none() && asked.load(Ordering::Relaxed) && is_alert(&error) => {
            let detail = format!("TLS with {name}: {error}; {}", wanted(name, port));
            Err(Undialled {
                reason: Reason::ClientCertificateWanted,
                ..failed(detail)
            })
        }
        Ok(Err(error)) => Err(failed(format!("TLS with {name}: {error}"))),
    }
}

/// One byte and no more: what came behind it in plain text would otherwise be taken for what TLS carried.
async fn ask(stream: &mut TcpStream) -> io::Result<u8> {
    stream.write_all(&ASK_FOR_TLS).await?;
    stream.read_u8().await
}

/// Passes on what a server says up to its first word on authentication, without mechanisms that bind to a channel.
pub(super) async fn authentication(
    server: &mut (impl AsyncRead + Unpin),
    worker: &mut (impl AsyncWrite + Unpin),
    down: &Count<'_>,
) -> io::Result<()> {
    for _ in 0..NOTICES {
        let mut head = [0; 5];
        server.read_exact(&mut head).await?;
        let [kind, length @ ..] = head;
        // A length counts itself. Of a notice, a version that the server offers, and authentication, it is short.
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let is_first = kind == AUTHENTICATION;
        if !(is_first || kind == b'N' || kind == b'v') || !(4..=LONGEST).contains(&length) {
            // An error, or another protocol: nothing of it is the gateway's.
            return pass(worker, &[&head], down).await;
        }
        let mut body = vec![0; length - 4];
        server.read_exact(&mut body).await?;
        if !is_first {
            pass(worker, &[&head, &body], down).await?;
            continue;
        }
        let instead = match unbound(&body) {
            Offered::AsItIs => return pass(worker, &[&head, &body], down).await,
            Offered::Instead(body) => body,
            Offered::Nothing => {
                let told = "the server offers no authentication but such as binds to the TLS connection, and the worker has another one than the server";
                return Err(io::Error::new(ErrorKind::Unsupported, told));
            }
        };
        let length = u32::try_from(instead.len() + 4).unwrap_or(u32::MAX);
        let length = length.to_be_bytes();
        return pass(worker, &[&[kind], &length, &instead], down).await;
    }
    Ok(())
}

async fn pass(
    worker: &mut (impl AsyncWrite + Unpin),
    parts: &[&[u8]],
    down: &Count<'_>,
) -> io::Result<()> {
    let whole = parts.concat();
    worker.write_all(&whole).await?;
    down.add(whole.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// What a worker gets of what a server says.
    async fn got(said: &[u8]) -> io::Result<Vec<u8>> {
        let (sum, mut from, mut to) = (AtomicU64::new(0), said, Vec::new());
        let count = Count::in_sum(&sum);
        authentication(&mut from, &mut to, &count).await?;
        // What comes behind is relayed.
        to.extend_from_slice(from);
        Ok(to)
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[tokio::test]
    async fn only_the_list_of_mechanisms_is_another() {
        let list = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        let shorter = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let version = message(b'v', b"\0\x03\0\0\0\0\0\0");
        let behind = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0");
        let said = [&version[..], &list, &behind].concat();
        let expected = [&version[..], &shorter, &behind].concat();
        assert_eq!(got(&said).await.unwrap(), expected);
        for other in [
            message(b'R', &[0; 4]),
            message(b'E', b"SFATAL\0\0"),
            b"Esorry, too many clients already\n\0".to_vec(),
            message(b'R', &[9; 10_001]),
        ] {
            assert_eq!(got(&other).await.unwrap(), other);
        }
    }

    #[tokio::test]
    async fn a_server_that_offers_nothing_else_is_told_of() {
        let said = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0\0");
        assert_eq!(got(&said).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(
            got(&said[..9]).await.unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
    }
}
