//! The list of mechanisms with which a server begins SASL (AuthenticationSASL), without those that bind to a channel. Pure.
//!
//! They end in `-PLUS` (RFC 5802, 4) and prove that both ends have one TLS connection. Here they have two, and a client in plain
//! text that is offered one takes it for an attack and leaves. Without, the server is told the truth: that the client knows of
//! no channel to bind to.

/// The kind of a message in which a server asks for authentication.
pub(crate) const AUTHENTICATION: u8 = b'R';

/// Says that SASL begins.
const SASL: [u8; 4] = 10_u32.to_be_bytes();

/// What comes of a message's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is passed on as it is.
    AsItIs,
    /// This stands for it.
    Instead(Vec<u8>),
    /// It offers nothing else, or has no end.
    Nothing,
}

/// The body of a message of the kind [`AUTHENTICATION`].
pub(crate) fn unbound(body: &[u8]) -> Offered {
    let Some(list) = body.strip_prefix(&SASL) else {
        return Offered::AsItIs;
    };
    let Some(list) = list.strip_suffix(b"\0\0") else {
        return Offered::Nothing;
    };
    let all: Vec<&[u8]> = list.split(|&byte| byte == 0).collect();
    let kept: Vec<&[u8]> = all
        .iter()
        .copied()
        .filter(|name| !name.ends_with(b"-PLUS"))
        .collect();
    if kept.is_empty() {
        return Offered::Nothing;
    }
    if kept.len() == all.len() {
        return Offered::AsItIs;
    }
    let mut instead = SASL.to_vec();
    for name in kept {
        instead.extend_from_slice(name);
        instead.push(0);
    }
    instead.push(0);
    Offered::Instead(instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sasl(list: &[u8]) -> Vec<u8> {
        [&SASL[..], list].concat()
    }

    #[test]
    fn mechanisms_that_bind_to_a_channel_are_left_out() {
        let offered = sasl(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0OAUTHBEARER\0\0");
        let instead = Offered::Instead(sasl(b"SCRAM-SHA-256\0OAUTHBEARER\0\0"));
        assert_eq!(unbound(&offered), instead);
        assert_eq!(unbound(&sasl(b"SCRAM-SHA-256\0\0")), Offered::AsItIs);
        assert_eq!(unbound(&sasl(b"SCRAM-SHA-256-PLUS\0\0")), Offered::Nothing);
    }

    #[test]
    fn what_is_no_list_is_left_alone_or_has_no_end() {
        // AuthenticationOk, AuthenticationMD5Password, and nothing at all.
        for other in [&[0, 0, 0, 0][..], &[0, 0, 0, 5, 1, 2, 3, 4], &[]] {
            assert_eq!(unbound(other), Offered::AsItIs);
        }
        for endless in [&b""[..], b"\0", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256"] {
            assert_eq!(unbound(&sasl(endless)), Offered::Nothing);
        }
    }
}
