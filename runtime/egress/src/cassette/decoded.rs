//! Bodies as they are without their codings.

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use std::io::{self, Read};

/// Headers that tell of a body as it travelled, and not as it is kept.
pub(super) const TRAVELLING: [&str; 3] =
    ["content-encoding", "content-length", "transfer-encoding"];

/// Has the upstream asked only for codings that can be undone.
pub(crate) fn accept_encoding(headers: &mut HeaderMap) {
    let asked = headers
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let known = asked.contains("gzip") || asked.contains("deflate") || asked.contains('*');
    let kept = if known { "gzip, deflate" } else { "identity" };
    if headers.contains_key(ACCEPT_ENCODING) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(kept));
    }
}

/// Why a body stays as it is.
#[derive(Debug)]
pub(super) enum Undecoded {
    Coding(String),
    TooLong,
    Broken(io::Error),
}

/// The body without the codings that its `Content-Encoding` names.
pub(super) fn decoded(codings: &str, body: &Bytes) -> Result<Bytes, Undecoded> {
    // Answers to HEAD and 304 name a coding of what they do not hold.
    if body.is_empty() {
        return Ok(body.clone());
    }
    let mut body = body.clone();
    for coding in codings
        .split(',')
        .rev()
        .map(str::trim)
        .filter(|coding| !coding.is_empty())
    {
        body = match coding.to_ascii_lowercase().as_str() {
            "identity" => body,
            "gzip" | "x-gzip" => read(MultiGzDecoder::new(&body[..]))?,
            // zlib's frame by the standard; some servers leave it out.
            "deflate" => read(ZlibDecoder::new(&body[..]))
                .or_else(|_| read(DeflateDecoder::new(&body[..])))?,
            other => return Err(Undecoded::Coding(other.to_owned())),
        };
    }
    Ok(body)
}

fn read(from: impl Read) -> Result<Bytes, Undecoded> {
    let mut read = Vec::new();
    let most = super::LONGEST as u64 + 1;
    from.take(most)
        .read_to_end(&mut read)
        .map_err(Undecoded::Broken)?;
    if read.len() > super::LONGEST {
        return Err(Undecoded::TooLong);
    }
    Ok(read.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    #[test]
    fn codings_are_undone_in_their_order_and_unknown_ones_are_named() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"hello").unwrap();
        let gzip = Bytes::from(gzip.finish().unwrap());
        let mut both = ZlibEncoder::new(Vec::new(), Compression::fast());
        both.write_all(&gzip).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(b"hello").unwrap();
        assert_eq!(decoded("gzip", &gzip).unwrap(), "hello");
        assert_eq!(
            decoded("gzip, deflate", &both.finish().unwrap().into()).unwrap(),
            "hello"
        );
        assert_eq!(
            decoded("deflate", &raw.finish().unwrap().into()).unwrap(),
            "hello"
        );
        assert_eq!(decoded("", &gzip).unwrap(), gzip);
        assert!(matches!(decoded("br", &gzip), Err(Undecoded::Coding(coding)) if coding == "br"));
        assert!(matches!(
            decoded("gzip", &Bytes::from_static(b"hello")),
            Err(Undecoded::Broken(_))
        ));
    }

    #[test]
    fn only_codings_that_can_be_undone_are_asked_for() {
        let ask = |asked: &'static str| {
            let mut headers =
                HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(asked))]);
            accept_encoding(&mut headers);
            headers[ACCEPT_ENCODING].to_str().unwrap().to_owned()
        };
        assert_eq!(ask("gzip, deflate, br, zstd"), "gzip, deflate");
        assert_eq!(ask("br"), "identity");
        let mut none = HeaderMap::new();
        accept_encoding(&mut none);
        assert!(none.is_empty());
    }
}
