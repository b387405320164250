//! Codings of a body (RFC 9110, section 8.4.1), undone as it passes.

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::{self, Write};

/// Undoes one coding, piece by piece.
#[derive(Debug)]
pub(super) enum Decoder {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// zlib's frame by the standard; some leave it out, which the first byte tells.
    Deflate,
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
}

impl Decoder {
    /// Of a `Content-Encoding`. `None`: a coding that is not undone, or several.
    pub(super) fn of(coding: &str) -> Option<Self> {
        match coding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    pub(super) fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    /// What a piece stands for. Pieces should be small: one may become a thousand times as long.
    ///
    /// # Errors
    /// It is not in this coding.
    pub(super) fn push(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        if matches!(self, Self::Deflate) {
            let Some(first) = piece.first() else {
                return Ok(Vec::new());
            };
            *self = if first & 0x0f == 8 {
                Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            } else {
                Self::Raw(Box::new(DeflateDecoder::new(Vec::new())))
            };
        }
        let out = match self {
            Self::Identity | Self::Deflate => return Ok(piece.to_vec()),
            // Flushed, or what the piece stands for would come with the next one.
            Self::Gzip(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                decoder.get_mut()
            }
            Self::Zlib(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                decoder.get_mut()
            }
            Self::Raw(decoder) => {
                decoder.write_all(piece)?;
                decoder.flush()?;
                decoder.get_mut()
            }
        };
        Ok(std::mem::take(out))
    }

    /// What is left at the end.
    ///
    /// # Errors
    /// The coding is not whole.
    pub(super) fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity | Self::Deflate => Ok(Vec::new()),
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zlib(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Raw(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn coded(coding: &str, text: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" => {
                let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
                coder.write_all(text).unwrap();
                coder.finish().unwrap()
            }
            "zlib" => {
                let mut coder = ZlibEncoder::new(Vec::new(), Compression::fast());
                coder.write_all(text).unwrap();
                coder.finish().unwrap()
            }
            _ => {
                let mut coder = DeflateEncoder::new(Vec::new(), Compression::fast());
                coder.write_all(text).unwrap();
                coder.finish().unwrap()
            }
        }
    }

    #[test]
    fn what_a_piece_stands_for_comes_with_it_however_it_is_cut() {
        let text: Vec<u8> = (0..50_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        for (coding, named) in [("gzip", "gzip"), ("zlib", "deflate"), ("raw", "deflate")] {
            let coded = coded(coding, &text);
            for size in [1, 7, 4_096] {
                let mut decoder = Decoder::of(named).unwrap();
                let mut plain = Vec::new();
                for piece in coded.chunks(size) {
                    plain.extend(decoder.push(piece).unwrap());
                }
                assert_eq!(plain.len(), text.len(), "{coding}: nothing is held back");
                plain.extend(decoder.finish().unwrap());
                assert_eq!(plain, text);
            }
            let mut cut = Decoder::of(named).unwrap();
            cut.push(&coded[..coded.len() / 2]).unwrap();
            assert!(cut.finish().is_err() || coding == "raw", "{coding}");
            assert!(
                Decoder::of(named).unwrap().push(b"no such coding").is_err() || coding == "raw"
            );
        }
        assert!(Decoder::of("br").is_none() && Decoder::of("gzip, gzip").is_none());
    }
}
