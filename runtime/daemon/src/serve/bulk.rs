//! The answer to a Read as HTTP/2 sends it: a batch's data are the bytes that
//! came from the worker, not a copy of them.
//!
//! tonic encodes a message into one buffer, which copies a batch once more.
//! So a Read's service answers with no events; the events go in the response's
//! extensions to [`body`], which every response passes on its way out.

use std::mem::take;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use caisson_proto::v1::{self, read_event::Event};
use http_body::Frame;
use prost::Message;
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::{Response, Status};

/// A flag of compression and a length precede each message.
const PREFIX: usize = 5;
/// Data lie at multiples of this, counted from their message's prefix: a caller
/// that keeps the stream in aligned memory reads Arrow, whose data are multiples
/// of it too, where it lies.
const ALIGN: usize = 16;
/// Keys of fields that are bytes: `ReadEvent.batch`, what ReadEvent reserves
/// for padding, and `Batch.data`.
const BATCH: u8 = 4 << 3 | 2;
const PADDING: u8 = 15 << 3 | 2;
const DATA: u8 = 2 << 3 | 2;

type Events = Pin<Box<dyn Stream<Item = Result<v1::ReadEvent, Status>> + Send>>;

/// The events on their way from the service to [`body`].
#[derive(Clone)]
struct Handed(Arc<Mutex<Option<Events>>>);

/// A Read's answer, for [`body`] to fill.
pub(crate) fn answer(events: Events) -> Response<Events> {
    let none: Events = Box::pin(tokio_stream::empty());
    let mut response = Response::new(none);
    let handed = Handed(Arc::new(Mutex::new(Some(events))));
    response.extensions_mut().insert(handed);
    response
}

/// Puts the events of a Read into its response; leaves others as they are.
pub(crate) fn body(mut response: http::Response<Body>) -> http::Response<Body> {
    let handed = response.extensions_mut().remove::<Handed>();
    let events = handed.and_then(|Handed(events)| {
        take(&mut *events.lock().unwrap_or_else(PoisonError::into_inner))
    });
    match events {
        Some(events) => response.map(|_| {
            Body::new(Bulk {
                events,
                data: Bytes::new(),
                over: false,
            })
        }),
        None => response,
    }
}

/// Events as chunks of a body.
struct Bulk {
    events: Events,
    /// What follows the chunk that went last.
    data: Bytes,
    over: bool,
}

impl http_body::Body for Bulk {
    type Data = Bytes;
    type Error = Status;

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(take(&mut self.data)))));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let status = match ready!(self.events.as_mut().poll_next(context)) {
            Some(Ok(event)) => {
                let (head, data) = message(event);
                self.data = data;
                return Poll::Ready(Some(Ok(Frame::data(head.into()))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.over = true;
        let mut trailers = http::HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }
}

/// A message with its prefix, without the data that end it, and these.
fn message(event: v1::ReadEvent) -> (Vec<u8>, Bytes) {
    let (event, mut end, data) = match event {
        v1::ReadEvent {
            header,
            event: Some(Event::Batch(batch)),
        } => {
            let (end, data) = ending(batch);
            (
                v1::ReadEvent {
                    header,
                    event: None,
                },
                end,
                data,
            )
        }
        other => (other, Vec::new(), Bytes::new()),
    };
    let mut head = Vec::with_capacity(PREFIX + event.encoded_len() + 2 * ALIGN + end.len());
    head.extend_from_slice(&[0; PREFIX]);
    // A Vec grows, so there is always room.
    event.encode_raw(&mut head);
    pad(&mut head, end.len());
    head.append(&mut end);
    // Far below 4 GiB: a worker's frame has at most a few MiB.
    let length = (head.len() - PREFIX + data.len()) as u32;
    head[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    (head, data)
}

/// `ReadEvent.batch`, its data last and apart.
fn ending(mut batch: v1::Batch) -> (Vec<u8>, Bytes) {
    let data = take(&mut batch.data);
    let mut fields = batch.encode_to_vec();
    if !data.is_empty() {
        fields.push(DATA);
        length(data.len(), &mut fields);
    }
    let mut end = vec![BATCH];
    length(fields.len() + data.len(), &mut end);
    end.append(&mut fields);
    (end, data)
}

fn length(length: usize, into: &mut Vec<u8>) {
    prost::encode_length_delimiter(length, into).expect("a Vec grows");
}

/// Adds a field that nobody reads, so that `head` and the `more` bytes that
/// follow it end at a multiple of [`ALIGN`].
fn pad(head: &mut Vec<u8>, more: usize) {
    let missing = match (head.len() + more).wrapping_neg() % ALIGN {
        0 => return,
        // The field's key and its length take two bytes.
        1 => ALIGN + 1,
        missing => missing,
    };
    let zeros = missing - 2;
    head.extend_from_slice(&[PADDING, zeros as u8]);
    head.resize(head.len() + zeros, 0);
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    fn batch(stream: &str, data: &'static [u8]) -> v1::ReadEvent {
        v1::ReadEvent {
            header: Some(v1::EventHeader {
                call_id: "c".into(),
                stream: stream.into(),
                sequence: 300,
                ..Default::default()
            }),
            event: Some(Event::Batch(v1::Batch {
                schema_id: "s-1".into(),
                data: Bytes::from_static(data),
                records: 8192,
            })),
        }
    }

    fn chunks(events: Vec<Result<v1::ReadEvent, Status>>) -> Bulk {
        Bulk {
            events: Box::pin(tokio_stream::iter(events)),
            data: Bytes::new(),
            over: false,
        }
    }

    async fn next(bulk: &mut Bulk) -> Option<Frame<Bytes>> {
        let next = std::future::poll_fn(|context| {
            http_body::Body::poll_frame(Pin::new(&mut *bulk), context)
        });
        next.await.map(Result::unwrap)
    }

    #[test]
    fn a_message_reads_as_the_event_that_it_was_and_its_data_are_aligned() {
        for letters in 0..2 * ALIGN {
            let heartbeat = v1::ReadEvent {
                event: Some(Event::Heartbeat(v1::Heartbeat {})),
                ..batch(&"x".repeat(letters), b"")
            };
            for event in [
                batch(&"x".repeat(letters), &[7; 300]),
                batch(&"x".repeat(letters), b""),
                heartbeat,
            ] {
                let (head, data) = message(event.clone());
                assert_eq!(head.len() % ALIGN, 0);
                let whole = [&head[..], &data[..]].concat();
                assert_eq!(whole[0], 0, "not compressed");
                let length = u32::from_be_bytes(whole[1..PREFIX].try_into().unwrap());
                assert_eq!(length as usize, whole.len() - PREFIX);
                assert_eq!(v1::ReadEvent::decode(&whole[PREFIX..]).unwrap(), event);
            }
        }
    }

    #[tokio::test]
    async fn data_follow_their_head_uncopied_and_trailers_end_the_stream() {
        static DATA: [u8; 300] = [7; 300];
        let mut bulk = chunks(vec![Ok(batch("s", &DATA)), Ok(batch("s", b""))]);
        assert!(next(&mut bulk).await.unwrap().is_data());
        let data = next(&mut bulk).await.unwrap().into_data().unwrap();
        assert_eq!(data.as_ptr(), DATA.as_ptr());
        assert!(next(&mut bulk).await.unwrap().is_data());
        let trailers = next(&mut bulk).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(http_body::Body::is_end_stream(&bulk));
        assert!(next(&mut bulk).await.is_none());
    }

    #[tokio::test]
    async fn an_error_becomes_the_status() {
        let mut bulk = chunks(vec![Err(Status::aborted("slow"))]);
        let trailers = next(&mut bulk).await.unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "10");
        assert!(next(&mut bulk).await.is_none());
    }

    #[tokio::test]
    async fn a_response_of_another_call_stays_as_it_is_and_a_reads_gets_its_events() {
        let other = body(http::Response::new(Body::empty()));
        assert!(http_body::Body::is_end_stream(other.body()));
        let mut answer = answer(Box::pin(tokio_stream::iter([Ok(batch("s", b"x"))])));
        assert!(answer.get_mut().next().await.is_none());
        let mut response = http::Response::new(Body::empty());
        *response.extensions_mut() = answer.into_parts().2;
        assert!(!http_body::Body::is_end_stream(body(response).body()));
    }
}
