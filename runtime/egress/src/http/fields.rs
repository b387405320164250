//! Header fields: those of one hop only, and how names are written.

use super::head::tokens;
use bytes::BytesMut;
use http::header::{CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Takes out what was meant for the gateway alone (RFC 9110, 7.6.1), and what only proxies are told.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for token in tokens(headers) {
        if let Ok(name) = HeaderName::from_bytes(token.as_bytes())
            && !is_needed(&name)
        {
            headers.remove(name);
        }
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
    ] {
        headers.remove(name);
    }
}

/// What Connection must not take out: a way to make the upstream judge another request than the gateway did.
fn is_needed(name: &HeaderName) -> bool {
    use http::header;
    [
        header::HOST,
        header::AUTHORIZATION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::COOKIE,
        header::EXPECT,
        header::RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
    ]
    .contains(name)
}

/// Writes one line, its name in the capitals that HTTP/1.1 is mostly written in.
pub(super) fn write(head: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    let mut begins = true;
    for byte in name.as_str().bytes() {
        let cased = if begins {
            byte.to_ascii_uppercase()
        } else {
            byte
        };
        head.extend_from_slice(&[cased]);
        begins = byte == b'-';
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_hop_go_no_further_and_connection_cannot_name_the_rest() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Trace, Authorization, host"),
            ("x-trace", "1"),
            ("authorization", "Bearer t"),
            ("host", "a"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "authorization", "host"]);
    }

    #[test]
    fn names_are_written_in_capitals() {
        let mut head = BytesMut::new();
        write(
            &mut head,
            &HeaderName::from_static("x-request-id"),
            &HeaderValue::from_static("a"),
        );
        assert_eq!(&head[..], b"X-Request-Id: a\r\n");
    }
}
