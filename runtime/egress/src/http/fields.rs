//! Header fields: those of one hop only, and how names are written.

use super::head::tokens;
use bytes::BytesMut;
use http::header::{
    CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What was meant for the gateway alone (RFC 9110, 7.6.1), and what only proxies are told.
static OF_ONE_HOP: [HeaderName; 9] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHORIZATION,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes out the fields of one hop, and those that Connection names.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !is_needed(name) && headers.contains_key(name))
        .collect();
    for name in OF_ONE_HOP.iter().chain(&named) {
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
    let start = head.len();
    head.extend_from_slice(name.as_str().as_bytes());
    let mut begins = true;
    for byte in &mut head[start..] {
        if begins {
            byte.make_ascii_uppercase();
        }
        begins = *byte == b'-';
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
