//! From bytes of a socket to frames.

use std::marker::PhantomData;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use crate::{HEADER, MAX_BODY, MAX_META};

/// What the other side sent is no frame. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A message length over [`MAX_META`].
    #[error("a frame announces a message of {0} bytes, over the limit of {MAX_META}")]
    MetaTooLarge(usize),
    /// A body length over [`MAX_BODY`].
    #[error("a frame announces a body of {0} bytes, over the limit of {MAX_BODY}")]
    BodyTooLarge(usize),
    /// The message is not valid protobuf of the expected type.
    #[error("a frame's message is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The socket closed inside a frame.
    #[error("the connection closed inside a frame, {0} bytes of it received")]
    Truncated(usize),
}

/// Collects bytes and gives frames of message type `M`. Bodies are slices of
/// the receive buffer, not copies.
#[derive(Debug)]
pub struct Decoder<M> {
    buffer: BytesMut,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Decoder<M> {
    /// An empty decoder.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            message: PhantomData,
        }
    }

    /// Where a socket's bytes go: read into it, then call [`Decoder::next`].
    /// At least `want` bytes of room are reserved.
    pub fn buffer(&mut self, want: usize) -> &mut BytesMut {
        self.buffer.reserve(want);
        &mut self.buffer
    }

    /// How many bytes are missing until the next frame is whole; a hint for
    /// [`Decoder::buffer`].
    pub fn missing(&self) -> usize {
        match self.lengths() {
            Some((meta, body)) => (HEADER + meta + body).saturating_sub(self.buffer.len()),
            None => HEADER - self.buffer.len(),
        }
    }

    /// The next whole frame, or `None` until more bytes came.
    #[allow(
        clippy::should_implement_trait,
        reason = "fallible, and fed between calls"
    )]
    pub fn next(&mut self) -> Result<Option<(M, Bytes)>, DecodeError> {
        let Some((meta, body)) = self.lengths() else {
            return Ok(None);
        };
        if meta > MAX_META {
            return Err(DecodeError::MetaTooLarge(meta));
        }
        if body > MAX_BODY {
            return Err(DecodeError::BodyTooLarge(body));
        }
        if self.buffer.len() < HEADER + meta + body {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let message = M::decode(self.buffer.split_to(meta).freeze())?;
        Ok(Some((message, self.buffer.split_to(body).freeze())))
    }

    /// To be called when the socket closed: an error if it did so mid-frame.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.buffer.len() {
            0 => Ok(()),
            held => Err(DecodeError::Truncated(held)),
        }
    }

    fn lengths(&self) -> Option<(usize, usize)> {
        let header = self.buffer.get(..HEADER)?;
        let at =
            |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        Some((at(0) as usize, at(4) as usize))
    }
}

impl<M: Message + Default> Default for Decoder<M> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{encode, message::Checkpoint};

    fn feed(decoder: &mut Decoder<Checkpoint>, bytes: &[u8]) {
        decoder.buffer(bytes.len()).extend_from_slice(bytes);
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_however_the_socket_cuts_them(
            states in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)), 1..8),
            cut in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for (state, body) in &states {
                let message = Checkpoint { state: state.clone(), ..Default::default() };
                bytes.extend(encode(&message, body.len()).unwrap());
                bytes.extend(body);
            }
            let mut decoder = Decoder::<Checkpoint>::new();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                feed(&mut decoder, piece);
                while let Some((message, body)) = decoder.next().unwrap() {
                    seen.push((message.state, body.to_vec()));
                }
            }
            prop_assert_eq!(seen, states);
            prop_assert!(decoder.finish().is_ok());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::<Checkpoint>::new();
            feed(&mut decoder, &bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_from_the_header_alone() {
        let mut decoder = Decoder::<Checkpoint>::new();
        feed(&mut decoder, &[0xff; HEADER]);
        assert!(matches!(decoder.next(), Err(DecodeError::MetaTooLarge(_))));
    }

    #[test]
    fn a_connection_that_closes_inside_a_frame_is_an_error() {
        let mut decoder = Decoder::<Checkpoint>::new();
        feed(&mut decoder, &[1, 0, 0]);
        assert!(matches!(decoder.finish(), Err(DecodeError::Truncated(3))));
    }
}
