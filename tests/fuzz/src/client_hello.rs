//! The first bytes of a connection under `protocol: tls`.
//!
//! Input: a length of the plan, the plan (how the socket cuts the rest), and the bytes themselves.

use crate::script::{Script, cut};
use caisson_egress::{Name, fuzzing};

const HOST: &str = "api.example.com";

/// What the relay makes of a connection does not depend on how its bytes were cut, it passes on every byte, and it lets
/// none through whose ClientHello does not name the host for a reading of its own, written apart from rustls.
pub fn client_hello(data: &[u8]) {
    let mut script = Script(data);
    let plan = script.bytes();
    let bytes = script.0;
    let expected = Name::parse(HOST).expect("a host name");

    let whole = fuzzing::client_hello(&expected, [bytes]);
    let pieces: Vec<_> = cut(bytes, plan).collect();
    let cut = fuzzing::client_hello(&expected, pieces.iter().copied());
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(whole, bytes, "every byte goes on");
            assert!(bytes.starts_with(cut), "nothing else goes on");
        }
        (Err(whole), Err(cut)) => assert_eq!(whole, cut),
        _ => panic!(
            "the cut decides: {whole:?} whole, {cut:?} in {} pieces",
            pieces.len()
        ),
    }
    if whole.is_ok() {
        let named = server_name(bytes).expect("a name where one was accepted");
        let named = named.strip_suffix(b".").unwrap_or(&named);
        assert!(named.eq_ignore_ascii_case(HOST.as_bytes()), "{named:?}");
    }
}

/// The one host name of the ClientHello at the start of `bytes` (RFC 8446, 4.1.2; RFC 6066, 3).
fn server_name(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut handshake = Vec::new();
    let mut rest = Script(bytes);
    while !rest.is_over() && rest.byte() == 22 {
        let _version = (rest.byte(), rest.byte());
        let length = u16::from_be_bytes([rest.byte(), rest.byte()]);
        let length = usize::from(length).min(rest.0.len());
        let (body, tail) = rest.0.split_at(length);
        handshake.extend_from_slice(body);
        rest = Script(tail);
    }
    let (kind, hello) = (handshake.first()?, vector(handshake.get(1..)?, 3)?.0);
    let sessions = (*kind == 1).then(|| hello.get(34..)).flatten()?;
    let ciphers = vector(sessions, 1)?.1;
    let compressions = vector(ciphers, 2)?.1;
    let mut extensions = vector(vector(compressions, 1)?.1, 2)?.0;
    while let [high, low, rest @ ..] = extensions {
        let (body, tail) = vector(rest, 2)?;
        if (high, low) == (&0, &0) {
            let list = vector(body, 2)?.0;
            // 0: a host name.
            let name = list.strip_prefix(&[0])?;
            return vector(name, 2).map(|(name, _)| name.to_vec());
        }
        extensions = tail;
    }
    None
}

/// What a length of `width` bytes announces, and what follows.
fn vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length
        .iter()
        .fold(0, |length, &byte| length << 8 | usize::from(byte));
    rest.split_at_checked(length)
}
