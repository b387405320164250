//! The worker's side of a startup: TLS and GSSAPI are declined, what is asked for then is read whole.
//!
//! Inside the worker's network there is nobody to encrypt against: the gateway is the other end of the device.

use super::packet::{HEAD, NoPacket, Packet};
use crate::name::Name;
use crate::reason::Reason;
use std::io::{self, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest that a startup may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server's word for "no encryption here".
const DECLINED: &[u8] = b"N";

/// What the worker asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Startup {
    /// A session or a cancel request.
    pub(super) packet: Packet,
    /// As it came, for the server.
    pub(super) bytes: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NoStartup {
    /// What the worker sent is refused.
    Refused(Reason, String),
    /// It broke off before it said anything.
    Gone(io::Error),
}

/// Reads a startup to the server `host`.
pub(super) async fn read(
    worker: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &Name,
) -> Result<Startup, NoStartup> {
    let late = || {
        let detail = format!(
            "no startup packet for {host} within {} s",
            PATIENCE.as_secs()
        );
        NoStartup::Refused(Reason::NotPostgres, detail)
    };
    let read = tokio::time::timeout(PATIENCE, packets(worker, host)).await;
    read.unwrap_or_else(|_| Err(late()))
}

async fn packets(
    worker: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &Name,
) -> Result<Startup, NoStartup> {
    let not_postgres = |why: &dyn std::fmt::Display| {
        let detail =
            format!("the connection to {host} does not begin with a startup packet: {why}");
        NoStartup::Refused(Reason::NotPostgres, detail)
    };
    let refused = |why: NoPacket| match why {
        NoPacket::Hello => insisted(host),
        why => not_postgres(&why),
    };
    let (mut tls, mut gss) = (false, false);
    loop {
        let bytes = match packet(worker).await {
            Ok(bytes) => bytes.map_err(refused)?,
            // As libpq does under sslmode=require.
            Err((0, _)) if tls => return Err(insisted(host)),
            Err((0, error)) => return Err(NoStartup::Gone(error)),
            Err(_) => return Err(not_postgres(&"it ended early")),
        };
        let packet = Packet::parse(&bytes).map_err(refused)?;
        let (asked, what) = match packet {
            Packet::Tls => (&mut tls, "TLS"),
            Packet::Gss => (&mut gss, "GSSAPI"),
            Packet::Cancel | Packet::Startup(..) => return Ok(Startup { packet, bytes }),
        };
        if std::mem::replace(asked, true) {
            return Err(not_postgres(&NoPacket::Twice(what)));
        }
        let told = worker.write_all(DECLINED).await;
        told.map_err(NoStartup::Gone)?;
    }
}

/// One packet, whole. Where it broke off: after how many bytes.
async fn packet(
    worker: &mut (impl AsyncRead + Unpin),
) -> Result<Result<Vec<u8>, NoPacket>, (usize, io::Error)> {
    let mut head = [0; HEAD];
    let mut filled = 0;
    while filled < HEAD {
        match worker.read(&mut head[filled..]).await {
            Ok(0) => return Err((filled, ErrorKind::UnexpectedEof.into())),
            Ok(length) => filled += length,
            Err(error) => return Err((filled, error)),
        }
        // A ClientHello may be shorter than a worker's patience.
        if let Err(hello @ NoPacket::Hello) = Packet::length(&head) {
            return Ok(Err(hello));
        }
    }
    let length = match Packet::length(&head) {
        Ok(length) => length,
        Err(none) => return Ok(Err(none)),
    };
    let mut bytes = vec![0; length];
    bytes[..HEAD].copy_from_slice(&head);
    let rest = worker.read_exact(&mut bytes[HEAD..]).await;
    rest.map_err(|error| (HEAD, error))?;
    Ok(Ok(bytes))
}

fn insisted(host: &Name) -> NoStartup {
    let detail = format!(
        "the connector wants TLS up to {host}, and under protocol: postgres it is the gateway that speaks TLS with the server and verifies it: write sslmode=disable or prefer in the connector's config (it is plain text inside of the worker's own network only), or protocol: tcp, under which the connector does all of it"
    );
    NoStartup::Refused(Reason::TlsInsisted, detail)
}

#[cfg(test)]
mod tests {
    use super::super::packet::ASK_FOR_TLS;
    use super::*;
    use tokio::io::duplex;

    const ASK_FOR_GSS: [u8; HEAD] = *b"\0\0\0\x08\x04\xd2\x16\x30";
    const SESSION: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ada\0\0";

    /// What comes of what a worker sends, and what it is told.
    async fn sent(bytes: &[u8]) -> (Result<Startup, (Reason, String)>, Vec<u8>) {
        let (mut worker, mut gateway) = duplex(1 << 16);
        worker.write_all(bytes).await.unwrap();
        worker.shutdown().await.unwrap();
        let read = read(&mut gateway, &Name::parse("db.example").unwrap()).await;
        drop(gateway);
        let mut told = Vec::new();
        worker.read_to_end(&mut told).await.unwrap();
        let read = read.map_err(|none| match none {
            NoStartup::Refused(reason, detail) => (reason, detail),
            NoStartup::Gone(error) => (Reason::DialFailed, error.to_string()),
        });
        (read, told)
    }

    #[tokio::test]
    async fn encryption_is_declined_and_the_session_goes_on_in_plain_text() {
        for (asks, declined) in [
            (vec![], &b""[..]),
            (vec![ASK_FOR_TLS], b"N"),
            (vec![ASK_FOR_GSS, ASK_FOR_TLS], b"NN"),
            (vec![ASK_FOR_TLS, ASK_FOR_GSS], b"NN"),
        ] {
            let (read, told) = sent(&[&asks.concat(), SESSION].concat()).await;
            assert_eq!(read.unwrap().bytes, SESSION);
            assert_eq!(told, declined);
        }
    }

    #[tokio::test]
    async fn who_wants_tls_up_to_the_server_is_told_why_not() {
        for insists in [
            &ASK_FOR_TLS[..],
            &[0x16, 3, 1],
            &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc],
        ] {
            let (read, _) = sent(insists).await;
            let (reason, detail) = read.unwrap_err();
            assert_eq!(reason, Reason::TlsInsisted);
            assert!(detail.contains("sslmode=disable or prefer"), "{detail}");
        }
    }

    #[tokio::test]
    async fn what_is_no_startup_is_refused() {
        for odd in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\0\0\0",
            &SESSION[..12],
            &[&ASK_FOR_TLS[..], &ASK_FOR_TLS, SESSION].concat(),
            &[&ASK_FOR_TLS[..], b"\0\0"].concat(),
        ] {
            let (read, _) = sent(odd).await;
            assert_eq!(read.unwrap_err().0, Reason::NotPostgres, "{odd:?}");
        }
        assert_eq!(
            sent(b"").await.0.unwrap_err().0,
            Reason::DialFailed,
            "nothing is no refusal"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_sends_nothing_is_not_waited_for() {
        let (_worker, mut gateway) = duplex(64);
        let host = Name::parse("db.example").unwrap();
        let none = read(&mut gateway, &host).await.unwrap_err();
        assert!(matches!(none, NoStartup::Refused(Reason::NotPostgres, _)));
    }
}
