//! HTTP/2 written frame by frame (RFC 9113): what no client of a library would send.

use super::server::{self, Spoken};
use super::{Inspected, PATIENCE, inspected};
use http::{Request, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field block of literals without indexing (RFC 7541, 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let fields = fields
        .iter()
        .map(|(name, value)| [vec![0], text(name), text(value)].concat());
    fields.flatten().collect()
}

/// Asks with these fields and body, and says what kind of frame answered on the stream.
async fn ask(inspected: &Inspected, fields: &[(&str, &str)], body: &[u8]) -> Option<u8> {
    let mut stream = inspected.tls("api.example.com", &["h2"]).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let asked = [
        &preface[..],
        &frame(4, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, &block(fields)),
        &frame(0, END_STREAM, 1, body),
    ];
    stream.write_all(&asked.concat()).await.unwrap();
    let answered = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return None;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.ok()?;
            if matches!(head[3], HEADERS | RST_STREAM | GOAWAY) {
                return Some(head[3]);
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .expect("an answer, or an end")
}

#[tokio::test]
async fn what_could_smuggle_a_request_over_http_2_is_never_a_whole_request_of_the_upstream() {
    for spoken in [Spoken::Two.alone(), &[Spoken::Two, Spoken::One]] {
        let whole = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&whole);
        let answer = server::answer(move |request: Request<hyper::body::Incoming>| {
            let count = Arc::clone(&count);
            async move {
                if request.into_body().collect().await.is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Response::new(server::whole("hello"))
            }
        });
        let inspected = inspected("", spoken, answer).await;
        let authority = format!("api.example.com:{}", inspected.api.port);
        let post: &[(&str, &str)] = &[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", &authority),
            (":path", "/a"),
        ];
        let with = |more: &[(&'static str, &'static str)]| [post, more].concat();
        let without = |name: &str| {
            let kept = post.iter().copied().filter(|(own, _)| *own != name);
            kept.collect::<Vec<_>>()
        };
        assert_eq!(ask(&inspected, post, b"hello").await, Some(HEADERS));
        assert_eq!(whole.load(Ordering::Relaxed), 1, "as it should be");
        let connect: &[(&str, &str)] = &[(":method", "CONNECT"), (":authority", &authority)];
        let cases: &[(&str, Vec<(&str, &str)>)] = &[
            ("less than its length", with(&[("content-length", "6")])),
            ("more than its length", with(&[("content-length", "4")])),
            (
                "two lengths",
                with(&[("content-length", "5"), ("content-length", "4")]),
            ),
            ("a length that is none", with(&[("content-length", "+5")])),
            ("two paths", with(&[(":path", "/b")])),
            ("two authorities", with(&[(":authority", "evil.example")])),
            (
                "a pseudo field behind others",
                [&with(&[("x", "y")])[..], &[(":path", "/b")]].concat(),
            ),
            ("no path", without(":path")),
            ("no scheme", without(":scheme")),
            ("another host", with(&[("host", "evil.example")])),
            (
                "a transfer coding",
                with(&[("transfer-encoding", "chunked")]),
            ),
            ("an option of HTTP/1.1", with(&[("connection", "close")])),
            ("capitals in a name", with(&[("X-Y", "z")])),
            (
                "a line's end in a value",
                with(&[("x", "y\r\nHost: evil.example")]),
            ),
            ("a line's end in a name", with(&[("x: y\r\nz", "1")])),
            (
                "a line's end in the path",
                [&without(":path")[..], &[(":path", "/a HTTP/1.1\r\nX: y")]].concat(),
            ),
            (
                "a method of two lines",
                [
                    &without(":method")[..],
                    &[(":method", "GET / HTTP/1.1\r\n\r\nPOST")],
                ]
                .concat(),
            ),
            ("CONNECT", connect.to_vec()),
            (
                "CONNECT for a WebSocket",
                [
                    &without(":method")[..],
                    &[(":method", "CONNECT"), (":protocol", "websocket")],
                ]
                .concat(),
            ),
        ];
        for (what, fields) in cases {
            // Reset, the connection's end, or an answer of the gateway's own.
            ask(&inspected, fields, b"hello").await;
            assert_eq!(whole.load(Ordering::Relaxed), 1, "{what}");
        }
        assert_eq!(ask(&inspected, post, b"hello").await, Some(HEADERS));
        assert_eq!(whole.load(Ordering::Relaxed), 2, "it serves on");
    }
}
