//! The chunked coding (RFC 9112, 7.1), read strictly and step by step.

use super::head::Malformed;
use bytes::{Buf, Bytes, BytesMut};

/// Longest line between chunks, extension included, bytes.
const LINE: usize = 1 << 10;
/// Longest trailer section, bytes.
const TRAILERS: usize = 8 << 10;

/// Where in the coding the reader stands.
#[derive(Debug)]
pub(super) enum Chunks {
    /// Before a line with a size.
    Size,
    /// Inside a chunk of which so many bytes are to come.
    Data(u64),
    /// Behind a chunk's data.
    After,
    /// In the lines behind the last chunk, of which so many bytes were read.
    Trailers(usize),
    /// Behind all of it.
    End,
}

/// What the bytes so far come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    More,
    End,
}

impl Chunks {
    /// Takes what it can from the front of `bytes`.
    pub(super) fn step(&mut self, bytes: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(bytes, LINE)? else {
                        return Ok(Step::More);
                    };
                    *self = match size(&line)? {
                        0 => Self::Trailers(0),
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    if bytes.is_empty() {
                        return Ok(Step::More);
                    }
                    let take = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= take as u64;
                    if *left == 0 {
                        *self = Self::After;
                    }
                    return Ok(Step::Data(bytes.split_to(take).freeze()));
                }
                Self::After => {
                    if bytes.len() < 2 {
                        return Ok(Step::More);
                    }
                    if &bytes[..2] != b"\r\n" {
                        return Err(Malformed("a chunk is longer than it says".to_owned()));
                    }
                    bytes.advance(2);
                    *self = Self::Size;
                }
                // Trailers are read for their end and go no further: nothing upstream needs them (RFC 9110, 6.5.1).
                Self::Trailers(seen) => {
                    let Some(line) = line(bytes, TRAILERS)? else {
                        return Ok(Step::More);
                    };
                    *seen += line.len() + 2;
                    if *seen > TRAILERS {
                        return Err(Malformed("its trailers are too long".to_owned()));
                    }
                    if line.is_empty() {
                        *self = Self::End;
                    }
                }
                Self::End => return Ok(Step::End),
            }
        }
    }
}

/// A whole line without its end, where there is one.
fn line(bytes: &mut BytesMut, longest: usize) -> Result<Option<Bytes>, Malformed> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        return if bytes.len() > longest {
            Err(Malformed("a line of its chunks is too long".to_owned()))
        } else {
            Ok(None)
        };
    };
    let mut line = bytes.split_to(end + 1).freeze();
    let whole = line.len() >= 2
        && line[line.len() - 2] == b'\r'
        && !line[..line.len() - 2].contains(&b'\r');
    if !whole || line.len() > longest {
        return Err(Malformed(
            "a line of its chunks does not end as lines do".to_owned(),
        ));
    }
    line.truncate(line.len() - 2);
    Ok(Some(line))
}

fn size(line: &[u8]) -> Result<u64, Malformed> {
    let (digits, extension) = match line.iter().position(|&byte| byte == b';') {
        Some(at) => line.split_at(at),
        None => (line, &[][..]),
    };
    let plain = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let quiet = extension
        .iter()
        .all(|&byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match size {
        Some(size) if plain && quiet => Ok(size),
        _ => Err(Malformed(
            "the size of a chunk is no hexadecimal number".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8], cut: usize) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let mut chunks = Chunks::Size;
        let (mut read, mut buffer) = (Vec::new(), BytesMut::new());
        let mut rest = text;
        loop {
            match chunks.step(&mut buffer)? {
                Step::Data(data) => read.extend_from_slice(&data),
                Step::End => return Ok((read, [&buffer[..], rest].concat())),
                Step::More if rest.is_empty() => return Err(Malformed("more".into())),
                Step::More => {
                    let (now, later) = rest.split_at(cut.min(rest.len()));
                    buffer.extend_from_slice(now);
                    rest = later;
                }
            }
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let text =
            b"5\r\nhello\r\n1;name=\"v\"\r\n,\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET /";
        for cut in 1..text.len() {
            let (read, rest) = whole(text, cut).unwrap();
            assert_eq!(read, b"hello,0123456789", "{cut}");
            assert_eq!(rest, b"GET /");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for text in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nhello",
            b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
            b"5\r\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nX: y\n\r\n",
        ] {
            let error = whole(text, text.len()).unwrap_err();
            assert_ne!(error.0, "more", "{:?}", String::from_utf8_lossy(text));
        }
        let long = [b"5;".as_slice(), &vec![b'a'; LINE]].concat();
        assert!(whole(&long, 64).unwrap_err().0.contains("too long"));
    }
}
