//! The way to a worker: the input of a Write, or Cancel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use caisson_proto::v1;
use caisson_wire::message::{self, to_worker};
use tokio::sync::{mpsc, oneshot};

use super::frames::FrameWriter;
use super::given::Given;

/// What goes to a destination's worker.
#[derive(Debug)]
pub(crate) enum Input {
    Schema(message::Schema, Bytes),
    Batch(message::Batch, Bytes),
    Checkpoint(v1::Checkpoint),
    /// The source ended well: everything may be made durable.
    End,
}

/// The task that owns the way to the worker: the input of a Write, or Cancel.
pub(super) async fn feed(
    mut writer: FrameWriter,
    mut input: Option<mpsc::Receiver<Input>>,
    mut cancelled: oneshot::Receiver<String>,
    given: Arc<Given>,
    fed: Arc<AtomicU64>,
) {
    loop {
        let next = async {
            match &mut input {
                Some(input) => input.recv().await,
                None => std::future::pending().await,
            }
        };
        let (message, body) = tokio::select! {
            biased;
            reason = &mut cancelled => return cancel(&mut writer, reason.ok()).await,
            next = next => match next {
                Some(Input::Schema(schema, body)) => (to_worker::Message::Schema(schema), body),
                Some(Input::Batch(batch, body)) => (to_worker::Message::Batch(batch), body),
                Some(Input::Checkpoint(checkpoint)) => {
                    tokio::select! {
                        biased;
                        reason = &mut cancelled => return cancel(&mut writer, reason.ok()).await,
                        () = given.room() => given.add(checkpoint.clone()),
                    }
                    let message = message::Checkpoint {
                        stream: checkpoint.stream,
                        partition: checkpoint.partition,
                        id: checkpoint.id,
                        state: checkpoint.state,
                        records: checkpoint.records,
                        r#final: checkpoint.r#final,
                    };
                    (to_worker::Message::Checkpoint(message), Bytes::new())
                }
                Some(Input::End) => {
                    input = None;
                    given.end();
                    (to_worker::Message::EndOfInput(message::EndOfInput {}), Bytes::new())
                }
                // The input broke off: whoever feeds it cancels the call.
                None => {
                    input = None;
                    continue;
                }
            },
        };
        let bytes = body.len() as u64;
        if writer.send(message, body).await.is_err() {
            return;
        }
        fed.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Tells the worker to stop; one that is gone already needs no telling.
async fn cancel(writer: &mut FrameWriter, reason: Option<String>) {
    if let Some(reason) = reason {
        let message = to_worker::Message::Cancel(message::Cancel { reason });
        let _ = writer.send(message, Bytes::new()).await;
    }
}
