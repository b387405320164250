//! Bodies as they are without their codings.

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use std::io::{self, Read};

/// Headers that tell of a body as it travelled, and not as it is kept.
pub(super) const TRAVELLING: [&str; 3] =
    ["content-encoding", "content-length", "transfer-encoding"];

/// Has the upstream asked only for those of the client's codings that can be undone (RFC 9110, section 12.5.3).
pub(crate) fn accept_encoding(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let asked: Vec<(String, bool)> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| {
            let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight.trim().trim_start_matches(['q', 'Q', '=']);
            let refused = weight.parse() == Ok(0.0);
            (coding.trim().to_ascii_lowercase(), !refused)
        })
        .collect();
    let wants = |coding: &str| {
        let of = |name: &str| asked.iter().find(|(own, _)| own == name);
        of(coding)
            .or_else(|| of("*"))
            .is_some_and(|(_, wanted)| *wanted)
    };
    let kept: Vec<&str> = ["gzip", "deflate"]
        .into_iter()
        .filter(|coding| wants(coding))
        .collect();
    let kept = if kept.is_empty() {
        "identity".to_owned()
    } else {
        kept.join(", ")
    };
    if let Ok(value) = HeaderValue::from_str(&kept) {
        headers.insert(ACCEPT_ENCODING, value);
    }
}

/// Why a body stays as it is.
#[derive(Debug)]
pub(crate) enum Undecoded {
    Coding(String),
    TooLong,
    /// The coding, and what is wrong.
    Broken(String, io::Error),
}

/// The body without the codings that its `Content-Encoding` names.
pub(crate) fn decoded(codings: &str, body: &Bytes) -> Result<Bytes, Undecoded> {
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
        let read = match coding.to_ascii_lowercase().as_str() {
            "identity" => continue,
            "gzip" | "x-gzip" => read(MultiGzDecoder::new(&body[..])),
            // zlib's frame by the standard; some servers leave it out.
            "deflate" => {
                read(ZlibDecoder::new(&body[..])).or_else(|_| read(DeflateDecoder::new(&body[..])))
            }
            other => return Err(Undecoded::Coding(other.to_owned())),
        };
        body = read.map_err(|error| Undecoded::Broken(coding.to_owned(), error))?;
        if body.len() > super::LONGEST {
            return Err(Undecoded::TooLong);
        }
    }
    Ok(body)
}

/// Up to a byte more than a cassette keeps.
fn read(from: impl Read) -> io::Result<Bytes> {
    let mut read = Vec::new();
    from.take(super::LONGEST as u64 + 1)
        .read_to_end(&mut read)?;
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
            Err(Undecoded::Broken(..))
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
        assert_eq!(ask("gzip;q=0, *"), "deflate");
        assert_eq!(ask("GZIP; q=0.5, deflate;q=0.000"), "gzip");
        assert_eq!(ask("*;q=0"), "identity");
        let mut none = HeaderMap::new();
        accept_encoding(&mut none);
        assert!(none.is_empty());
    }
}
