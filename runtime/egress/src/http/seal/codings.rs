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
            Self::Gzip(decoder) => {
                decoder.write_all(piece)?;
                decoder.get_mut()
            }
            Self::Zlib(decoder) => {
                decoder.write_all(piece)?;
                decoder.get_mut()
            }
            Self::Raw(decoder) => {
                decoder.write_all(piece)?;
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
