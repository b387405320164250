//! The worker's socket as frames, on tokio.

use std::io;

use bytes::{BufMut, Bytes};
use caisson_wire::{
    DecodeError, Decoder, EncodeError, HEADER, MAX_BODY, MAX_META, Opening, encode,
    message::{FromWorker, Start, ToWorker, from_worker, to_worker},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};
use zeroize::{Zeroize, Zeroizing};

/// The first read of a frame: its header, its message, and little of a large
/// body, which is copied once the frame's length is known.
const FIRST: usize = 16 << 10;

/// One read asks for at most this much: the largest frame, so that a body is
/// received into room of its own size and never copied into larger room.
/// Announced, a length takes addresses; memory it takes as bytes come.
const READ: usize = HEADER + MAX_META + MAX_BODY;

/// Why the channel is of no further use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the worker's channel failed: {0}")]
    Io(#[from] io::Error),
    #[error("the worker sent no frame: {0}")]
    Decode(#[from] DecodeError),
    #[error("the worker sent a frame without a message")]
    Empty,
    #[error("a frame for the worker is too large: {0}")]
    Encode(#[from] EncodeError),
}

/// What the worker says.
pub(crate) struct FrameReader {
    socket: OwnedReadHalf,
    decoder: Decoder<FromWorker>,
}

/// What the worker is told.
pub(crate) struct FrameWriter {
    socket: OwnedWriteHalf,
}

/// Both directions over the worker's only socket.
pub(crate) fn split(socket: UnixStream) -> (FrameReader, FrameWriter) {
    let (read, write) = socket.into_split();
    (
        FrameReader {
            socket: read,
            decoder: Decoder::new(),
        },
        FrameWriter { socket: write },
    )
}

impl FrameReader {
    /// The next frame; `None` once the worker closed between two frames.
    /// Cancel-safe: what was read stays in the decoder.
    pub(crate) async fn next(
        &mut self,
    ) -> Result<Option<(from_worker::Message, Bytes)>, FrameError> {
        loop {
            if let Some((frame, body)) = self.decoder.next()? {
                return Ok(Some((frame.message.ok_or(FrameError::Empty)?, body)));
            }
            let want = self.decoder.missing().clamp(FIRST, READ);
            // No further than asked, however much room there is: what follows
            // a large frame starts in room of its own.
            let mut room = self.decoder.buffer(want).limit(want);
            match self.socket.read_buf(&mut room).await {
                Ok(0) => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
                Ok(_) => {}
                // A worker that was killed with bytes for it unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl FrameWriter {
    /// Sends Start and the streams that it announces.
    pub(crate) async fn open(&mut self, opening: Opening) -> Result<(), FrameError> {
        for (message, body) in opening.messages() {
            match message {
                to_worker::Message::Start(start) => self.start(start).await?,
                message => self.send(message, body).await?,
            }
        }
        Ok(())
    }

    /// Sends Start, the one message that holds values of secrets, and wipes
    /// them.
    async fn start(&mut self, start: Start) -> Result<(), FrameError> {
        let mut message = ToWorker {
            message: Some(to_worker::Message::Start(start)),
        };
        let head = encode(&message, 0).map(Zeroizing::new);
        if let Some(to_worker::Message::Start(start)) = &mut message.message {
            start
                .secrets
                .iter_mut()
                .for_each(|secret| secret.value.zeroize());
        }
        self.socket.write_all(&head?).await?;
        Ok(())
    }

    /// Sends one message and its body. Not cancel-safe: a half-sent frame
    /// ends the call.
    pub(crate) async fn send(
        &mut self,
        message: to_worker::Message,
        body: Bytes,
    ) -> Result<(), FrameError> {
        let head = encode(
            &ToWorker {
                message: Some(message),
            },
            body.len(),
        )?;
        self.socket.write_all(&head).await?;
        self.socket.write_all(&body).await?;
        Ok(())
    }
}
