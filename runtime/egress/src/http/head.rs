//! The head of an HTTP/1.1 request as a worker wrote it (RFC 9112), read strictly.
//!
//! A request that two servers could cut in different places is refused here, before anybody upstream sees a byte of it:
//! two lengths, a length beside a transfer coding, a coding other than `chunked`, folded lines, bare line feeds, spaces
//! before colons (RFC 9112, 11.2). What passes is written anew for the upstream, never copied.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use std::mem::MaybeUninit;

/// Longest head, bytes.
pub(super) const LONGEST: usize = 64 << 10;
/// Most header lines.
const LINES: usize = 128;

/// A head that was read.
#[derive(Debug)]
pub(super) struct Head {
    /// Without a body yet; its target as it was written.
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Whether the connection may carry another request after this one.
    pub(super) keep_alive: bool,
    /// Whether the worker waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
}

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// Why a head is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) String);

fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

/// Reads a head from the beginning of `bytes`, and says how long it is; `None` where more is needed.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, Malformed> {
    let mut lines = [const { MaybeUninit::uninit() }; LINES];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= LONGEST => {
            return malformed(format!("its head is longer than {LONGEST} bytes"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return malformed(format!("it has more than {LINES} header lines"));
        }
        Err(error) => return malformed(format!("its head is no HTTP/1.1: {error}")),
    };
    // httparse takes a line feed alone for the end of a line; others do not.
    let bare = bytes[..length]
        .iter()
        .enumerate()
        .any(|(at, &byte)| byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'));
    if bare {
        return malformed("a line of its head ends without a carriage return");
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return malformed("its first line is not whole");
    };
    let version = if minor == 0 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_bytes(line.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return malformed(format!(
                "the value of its header {:?} holds control characters",
                line.name
            ));
        };
        headers.append(name, value);
    }
    let framing = framing(&headers, version)?;
    let keep_alive = match version {
        Version::HTTP_10 => has_token(&headers, "keep-alive"),
        _ => !has_token(&headers, "close"),
    };
    let mut expected = headers.get_all(EXPECT).iter();
    let expects = match (expected.next(), expected.next()) {
        (None, _) => false,
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            version != Version::HTTP_10
        }
        _ => return malformed("it expects something else than 100-continue"),
    };
    if headers.get_all(HOST).iter().count() > 1 {
        return malformed("it has more than one Host");
    }
    let mut request = Request::new(());
    *request.method_mut() = match Method::from_bytes(method.as_bytes()) {
        Ok(method) => method,
        Err(_) => return malformed("its method is none"),
    };
    *request.uri_mut() = uri(target)?;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    let head = Head {
        request,
        framing,
        keep_alive,
        expects,
    };
    Ok(Some((head, length)))
}

/// A target in origin form, or the asterisk (RFC 9112, 3.2.1 and 3.2.4): a proxy's forms have no place here.
fn uri(target: &str) -> Result<Uri, Malformed> {
    if target != "*" && !target.starts_with('/') {
        return malformed(
            "its target is no path: absolute targets and CONNECT are for proxies, and the gateway is none to the worker",
        );
    }
    match target.parse::<Uri>() {
        Ok(uri)
            if target == "*"
                || uri
                    .path_and_query()
                    .is_some_and(|all| all.as_str() == target) =>
        {
            Ok(uri)
        }
        _ => malformed("its target holds characters that no target may hold"),
    }
}

fn framing(headers: &HeaderMap, version: Version) -> Result<Framing, Malformed> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (
        lengths.next(),
        lengths.next(),
        codings.next(),
        codings.next(),
    ) {
        (None, _, None, _) => Ok(Framing::Length(0)),
        (Some(length), None, None, _) => {
            let text = length.to_str().unwrap_or_default();
            let plain = !text.is_empty()
                && text.len() < 20
                && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse() {
                Ok(length) if plain => Ok(Framing::Length(length)),
                _ => malformed("its Content-Length is no number"),
            }
        }
        (None, _, Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            if version == Version::HTTP_10 {
                return malformed("it has a Transfer-Encoding, which HTTP/1.0 does not know");
            }
            Ok(Framing::Chunked)
        }
        (Some(_), Some(_), ..) => malformed("it has more than one Content-Length"),
        (Some(_), _, Some(_), _) => {
            malformed("it has both a Content-Length and a Transfer-Encoding")
        }
        (None, _, Some(_), _) => malformed("its Transfer-Encoding is another than chunked"),
    }
}

/// The options of Connection.
pub(super) fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers
        .get_all(CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether Connection has this option, in whatever letters.
pub(super) fn has_token(headers: &HeaderMap, wanted: &str) -> bool {
    tokens(headers).any(|token| token.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Head, Malformed> {
        read(text.as_bytes()).map(|read| read.expect("the head is whole").0)
    }

    #[test]
    fn an_ordinary_head_is_read_and_its_end_is_known() {
        let text = "POST /a?b=c HTTP/1.1\r\nHost: api.example\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET";
        let (head, length) = read(text.as_bytes()).unwrap().unwrap();
        assert_eq!(&text[length..], "abcGET");
        assert_eq!(head.framing, Framing::Length(3));
        assert!(head.keep_alive && head.expects);
        assert_eq!(head.request.uri().path_and_query().unwrap(), "/a?b=c");
        for short in 0..length {
            assert!(
                read(&text.as_bytes()[..short]).unwrap().is_none(),
                "{short}"
            );
        }
    }

    #[test]
    fn whether_the_connection_goes_on_is_what_both_versions_say() {
        let kept = |first: &str, line: &str| {
            let text = format!("GET / {first}\r\nHost: a\r\n{line}\r\n");
            read_all(&text).unwrap().keep_alive
        };
        assert!(kept("HTTP/1.1", ""));
        assert!(!kept("HTTP/1.1", "Connection: TE, Close\r\n"));
        assert!(!kept("HTTP/1.0", ""));
        assert!(kept("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    }

    /// Cases that intermediaries are tested with, among them those of the request smuggling reports of 2005 to 2024.
    #[test]
    fn what_two_servers_could_cut_in_two_ways_is_refused() {
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Content-Length: 3 3",
            "Content-Length:",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\u{b}chunked",
            "Transfer-Encoding:\n chunked",
            "Transfer-Encoding:\r\n chunked",
            " Transfer-Encoding: chunked",
            "X: y\nTransfer-Encoding: chunked",
            "X: y\rTransfer-Encoding: chunked",
            "X: y\0z",
            "Host: b",
            "Host: api.example",
            "Expect: everything",
            "Expect: 100-continue\r\nExpect: 100-continue",
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: api.example\r\n{lines}\r\n\r\n");
            assert!(read(text.as_bytes()).is_err(), "{lines:?}");
        }
        for first in [
            "GET http://api.example/ HTTP/1.1",
            "GET https://other.example/ HTTP/1.1",
            "CONNECT other.example:443 HTTP/1.1",
            "GET //other.example\\@x HTTP/1.1 HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.2",
            "GET / HTTP/2.0",
            "GET /\u{1} HTTP/1.1",
            "GET /#fragment HTTP/1.1",
            "GET /",
            "G(T / HTTP/1.1",
        ] {
            let text = format!("{first}\r\nHost: api.example\r\n\r\n");
            assert!(read(text.as_bytes()).is_err(), "{first:?}");
        }
        assert!(read(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(read(b"GET / HTTP/1.1\nHost: a\n\n").is_err());
    }

    #[test]
    fn a_head_that_never_ends_is_refused() {
        let text = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(LONGEST));
        assert!(
            read(text.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("longer")
        );
        let lines = "X: y\r\n".repeat(LINES + 1);
        let text = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        assert!(
            read(text.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("header lines")
        );
    }
}
