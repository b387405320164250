//! The way to a worker: the input of a Write, or Cancel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use caisson_proto::v1;
use caisson_wire::message::{self, to_worker};
use tokio::sync::{mpsc, oneshot};

use super::frames::FrameWriter;

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
    sent: Arc<Mutex<HashMap<String, v1::Checkpoint>>>,
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
            reason = &mut cancelled => {
                if let Ok(reason) = reason {
                    // A worker that is gone already needs no Cancel.
                    let _ = writer.send(to_worker::Message::Cancel(message::Cancel { reason }), Bytes::new()).await;
                }
                return;
            }
            next = next => match next {
                Some(Input::Schema(schema, body)) => (to_worker::Message::Schema(schema), body),
                Some(Input::Batch(batch, body)) => (to_worker::Message::Batch(batch), body),
                Some(Input::Checkpoint(checkpoint)) => {
                    if let Ok(mut sent) = sent.lock() {
                        sent.insert(checkpoint.id.clone(), checkpoint.clone());
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
