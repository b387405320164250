//! What a client of PostgreSQL sends before anything else ("Message Formats" in its manual). Pure; anything may come in.
//!
//! A packet is its length (four bytes, itself included), a code, and what belongs to the code.

/// Longest packet, bytes: as long as servers take (MAX_STARTUP_PACKET_LENGTH).
pub(crate) const LONGEST: usize = 10_000;

/// Bytes that say how long a packet is, and what.
pub(crate) const HEAD: usize = 8;

/// Longest key of a cancel request, bytes (protocol 3.2); in 3.0 it has four.
const LONGEST_KEY: usize = 256;

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// Asks a server for TLS.
pub(crate) const ASK_FOR_TLS: [u8; HEAD] = *b"\0\0\0\x08\x04\xd2\x16\x2f";

/// The first byte of a ClientHello's record (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// May TLS begin?
    Tls,
    /// May encryption by GSSAPI begin?
    Gss,
    /// End what another connection does.
    Cancel,
    /// A session of this version (major, minor) begins.
    Startup(u16, u16),
}

/// Why bytes are no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPacket {
    #[error("it begins with a ClientHello")]
    Hello,
    #[error("a packet of {0} bytes, and they have 8 to 10000")]
    Length(u32),
    #[error("a request for a session in protocol {0}.{1}, and only 3 is spoken")]
    Version(u16, u16),
    #[error("a {0} of {1} bytes")]
    Size(&'static str, usize),
    #[error("its parameters are not pairs of texts with an end")]
    Parameters,
    #[error("its parameters name no user")]
    NoUser,
    #[error("it asks for {0} a second time")]
    Twice(&'static str),
}

impl Packet {
    /// How long a packet is, by its head.
    pub(crate) fn length(head: &[u8; HEAD]) -> Result<usize, NoPacket> {
        let [a, b, c, d, ..] = *head;
        if a == HANDSHAKE {
            return Err(NoPacket::Hello);
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        match usize::try_from(length) {
            Ok(whole) if (HEAD..=LONGEST).contains(&whole) => Ok(whole),
            _ => Err(NoPacket::Length(length)),
        }
    }

    /// What a whole packet is.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, NoPacket> {
        let Some(&[_, _, _, _, a, b, c, d]) = packet.first_chunk::<HEAD>() else {
            return Err(NoPacket::Size("packet", packet.len()));
        };
        let rest = &packet[HEAD..];
        let alone = |own, what| match rest {
            [] => Ok(own),
            _ => Err(NoPacket::Size(what, packet.len())),
        };
        match u32::from_be_bytes([a, b, c, d]) {
            TLS => alone(Self::Tls, "request for TLS"),
            GSS => alone(Self::Gss, "request for GSSAPI"),
            // The number of a process, and a key.
            CANCEL if (8..=4 + LONGEST_KEY).contains(&rest.len()) => Ok(Self::Cancel),
            CANCEL => Err(NoPacket::Size("request to cancel", packet.len())),
            _ => {
                let version = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                if version.0 != 3 {
                    return Err(NoPacket::Version(version.0, version.1));
                }
                parameters(rest)?;
                Ok(Self::Startup(version.0, version.1))
            }
        }
    }
}

/// Names and values, each ended by a zero, and one zero more; `user` among the names.
fn parameters(mut rest: &[u8]) -> Result<(), NoPacket> {
    let mut user = false;
    loop {
        if rest == [0] {
            return if user { Ok(()) } else { Err(NoPacket::NoUser) };
        }
        let (name, behind) = text(rest)?;
        let (value, behind) = text(behind)?;
        if name.is_empty() {
            return Err(NoPacket::Parameters);
        }
        user |= name == b"user" && !value.is_empty();
        rest = behind;
    }
}

fn text(bytes: &[u8]) -> Result<(&[u8], &[u8]), NoPacket> {
    let end = bytes.iter().position(|&byte| byte == 0);
    let end = end.ok_or(NoPacket::Parameters)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEAD + rest.len()).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
    }

    fn read(packet: &[u8]) -> Result<Packet, NoPacket> {
        let head = packet.first_chunk().unwrap();
        assert_eq!(Packet::length(head)?, packet.len());
        Packet::parse(packet)
    }

    #[test]
    fn each_packet_is_known() {
        assert_eq!(read(&ASK_FOR_TLS), Ok(Packet::Tls));
        assert_eq!(read(&packet(GSS, b"")), Ok(Packet::Gss));
        assert_eq!(read(&packet(CANCEL, &[0; 8])), Ok(Packet::Cancel));
        assert_eq!(read(&packet(CANCEL, &[0; 260])), Ok(Packet::Cancel));
        let parameters = b"user\0ada\0database\0shop\0options\0\0\0";
        assert_eq!(
            read(&packet(3 << 16, parameters)),
            Ok(Packet::Startup(3, 0))
        );
        assert_eq!(
            read(&packet(3 << 16 | 2, parameters)),
            Ok(Packet::Startup(3, 2))
        );
    }

    #[test]
    fn what_is_none_is_told_apart() {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1];
        assert_eq!(Packet::length(&hello), Err(NoPacket::Hello));
        for length in [0, 7, 10_001, 0x4745_5420] {
            let mut head = [0; HEAD];
            head[..4].copy_from_slice(&u32::to_be_bytes(length));
            assert_eq!(Packet::length(&head), Err(NoPacket::Length(length)));
        }
        for (code, rest) in [
            (TLS, &[0][..]),
            (GSS, &[0]),
            (CANCEL, &[0; 7]),
            (CANCEL, &[0; 261]),
        ] {
            let told = read(&packet(code, rest)).unwrap_err();
            assert!(matches!(told, NoPacket::Size(..)), "{told}");
        }
        assert_eq!(read(&packet(2 << 16, b"")), Err(NoPacket::Version(2, 0)));
        for odd in [
            &b""[..],
            b"user\0ada\0",
            b"user\0ada",
            b"user\0",
            b"\0\0\0",
            b"user\0ada\0\0more",
        ] {
            assert_eq!(
                read(&packet(3 << 16, odd)),
                Err(NoPacket::Parameters),
                "{odd:?}"
            );
        }
        for nobody in [&b"\0"[..], b"database\0shop\0\0", b"user\0\0\0"] {
            assert_eq!(read(&packet(3 << 16, nobody)), Err(NoPacket::NoUser));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(head: [u8; HEAD], rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::length(&head);
            let _ = Packet::parse(&[&head[..], &rest].concat());
            let _ = Packet::parse(&rest);
        }
    }
}
