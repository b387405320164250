//! The worker's socket as frames, on tokio.

use std::io;

use bytes::Bytes;
use caisson_wire::{
    DecodeError, Decoder, EncodeError, Opening, encode,
    message::{FromWorker, Start, ToWorker, from_worker, to_worker},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{
    UnixStream,
    unix::{OwnedReadHalf, OwnedWriteHalf},
};
use zeroize::{Zeroize, Zeroizing};

/// One read asks for at most this much, so that a frame's announced length
/// alone never reserves memory.
const READ: usize = 1 << 20;

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
            let want = self.decoder.missing().clamp(64 << 10, READ);
            let read = self.socket.read_buf(self.decoder.buffer(want)).await;
            match read {
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
