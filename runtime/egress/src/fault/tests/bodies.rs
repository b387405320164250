//! Each fault of a body, over bodies that come in frames of any size, on a clock that only the tests move.

use crate::fault::{BodyFault, Broken, Spoiled};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use std::convert::Infallible;
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const TEXT: &str = "0123456789";
const LONG: Duration = Duration::from_secs(30 * 86_400);

type Step = Result<Frame<Bytes>, Infallible>;

/// A body of `text` in frames of `size`.
fn cut(text: &'static str, size: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
    let frames: Vec<Step> = text
        .as_bytes()
        .chunks(size)
        .map(|part| Ok(Frame::data(Bytes::from_static(part))))
        .collect();
    StreamBody::new(tokio_stream::iter(frames))
}

/// How a body came to its end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    Reset,
    Never,
}

/// What comes of a body: its bytes, how it ends, after what time.
async fn read<B>(mut body: Spoiled<B>) -> (String, End, Duration)
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin,
{
    let begun = Instant::now();
    let mut read = Vec::new();
    let end = loop {
        match timeout(LONG, body.frame()).await {
            Err(_) => return (String::from_utf8(read).unwrap(), End::Never, LONG),
            Ok(None) => break End::Whole,
            Ok(Some(Ok(frame))) => read.extend_from_slice(&frame.into_data().unwrap()),
            Ok(Some(Err(Broken::Reset))) => break End::Reset,
            Ok(Some(Err(Broken::Inner(never)))) => match never {},
        }
    };
    (String::from_utf8(read).unwrap(), end, begun.elapsed())
}

async fn of(fault: BodyFault, expected: (&str, End, Duration)) {
    for size in 1..=TEXT.len() {
        let (read, end, time) = read(Spoiled::new(cut(TEXT, size), fault)).await;
        assert_eq!(
            (read.as_str(), &end, time),
            (expected.0, &expected.1, expected.2),
            "{fault:?} in frames of {size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_comes_after_exactly_its_bytes() {
    of(BodyFault::ResetAfter(1), ("0", End::Reset, Duration::ZERO)).await;
    of(
        BodyFault::ResetAfter(4),
        ("0123", End::Reset, Duration::ZERO),
    )
    .await;
    of(
        BodyFault::ResetAfter(10),
        (TEXT, End::Reset, Duration::ZERO),
    )
    .await;
    of(
        BodyFault::ResetAfter(99),
        (TEXT, End::Reset, Duration::ZERO),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stall_lasts_as_long_as_it_says_and_then_the_rest_comes() {
    let minute = Duration::from_secs(60);
    for after in [0, 4, 10, 99] {
        of(
            BodyFault::StallAfter(after, Some(minute)),
            (TEXT, End::Whole, minute),
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_without_an_end_is_for_ever() {
    of(BodyFault::StallAfter(0, None), ("", End::Never, LONG)).await;
    of(BodyFault::StallAfter(4, None), ("0123", End::Never, LONG)).await;
    of(BodyFault::StallAfter(99, None), (TEXT, End::Never, LONG)).await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_body_ends_cleanly() {
    of(
        BodyFault::TruncateAfter(0),
        ("", End::Whole, Duration::ZERO),
    )
    .await;
    of(
        BodyFault::TruncateAfter(4),
        ("0123", End::Whole, Duration::ZERO),
    )
    .await;
    of(
        BodyFault::TruncateAfter(99),
        (TEXT, End::Whole, Duration::ZERO),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_takes_its_time_however_it_was_cut() {
    let rate = |rate| BodyFault::Slow(NonZeroU64::new(rate).unwrap());
    of(rate(1), (TEXT, End::Whole, Duration::from_secs(10))).await;
    of(rate(20), (TEXT, End::Whole, Duration::from_millis(500))).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_slow_all_along() {
    let begun = Instant::now();
    let mut body = Spoiled::new(
        Full::new(Bytes::from(vec![b'x'; 1000])),
        BodyFault::Slow(NonZeroU64::new(100).unwrap()),
    );
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        seen += frame.unwrap().into_data().unwrap().len();
        assert_eq!(Duration::from_millis(seen as u64 * 10), begun.elapsed());
    }
    assert_eq!(seen, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_does_not_make_up_for_the_upstreams_pauses() {
    let (upstream, frames) = tokio::sync::mpsc::channel::<Step>(1);
    let frames = tokio_stream::wrappers::ReceiverStream::new(frames);
    let mut body = Spoiled::new(
        StreamBody::new(frames),
        BodyFault::Slow(NonZeroU64::new(10).unwrap()),
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    upstream
        .send(Ok(Frame::data(Bytes::from_static(TEXT.as_bytes()))))
        .await
        .unwrap();
    drop(upstream);
    let begun = Instant::now();
    while body.frame().await.is_some() {}
    let late = Duration::from_millis(100);
    assert_eq!(begun.elapsed(), Duration::from_secs(1) - late);
}

#[tokio::test(start_paused = true)]
async fn a_broken_gzip_has_as_many_bytes_and_no_magic() {
    let gzip: &[u8] = b"\x1f\x8b\x08\x00rest";
    for size in 1..=gzip.len() {
        let frames: Vec<Step> = std::iter::once(&gzip[..0])
            .chain(gzip.chunks(size))
            .map(|part| Ok(Frame::data(Bytes::from_static(part))))
            .collect();
        let body = Spoiled::new(
            StreamBody::new(tokio_stream::iter(frames)),
            BodyFault::BrokenGzip,
        );
        let read = body.collect().await.unwrap().to_bytes();
        assert_eq!(&read[..], b"\x00\x8b\x08\x00rest", "in frames of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_keeps_the_length_that_was_promised() {
    let slow = BodyFault::Slow(NonZeroU64::new(1).unwrap());
    for fault in [
        BodyFault::ResetAfter(4),
        BodyFault::TruncateAfter(4),
        BodyFault::TruncateAfter(0),
        BodyFault::StallAfter(4, None),
        slow,
        BodyFault::BrokenGzip,
    ] {
        let body = Spoiled::new(Full::from(TEXT), fault);
        assert_eq!(body.size_hint().exact(), Some(10), "{fault:?}");
        assert!(!body.is_end_stream(), "{fault:?}");
    }
    let empty = Spoiled::new(Full::<Bytes>::default(), BodyFault::ResetAfter(4));
    assert!(
        !empty.is_end_stream(),
        "a body that will break off has not ended"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_is_still_to_come() {
    for fault in [
        BodyFault::StallAfter(4, Some(LONG)),
        BodyFault::Slow(NonZeroU64::new(40).unwrap()),
    ] {
        let mut body = Spoiled::new(Full::from(TEXT), fault);
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "0123");
        assert_eq!(body.size_hint().exact(), Some(6), "{fault:?}");
        assert!(!body.is_end_stream(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_and_errors_of_the_upstream_pass() {
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
    for fault in [
        BodyFault::Slow(NonZeroU64::MIN),
        BodyFault::StallAfter(1, Some(LONG)),
        BodyFault::BrokenGzip,
        BodyFault::TruncateAfter(9),
    ] {
        let frames: Vec<Result<_, &str>> = vec![
            Ok(Frame::data(Bytes::from_static(b"ab"))),
            Ok(Frame::trailers(trailers.clone())),
            Err("gone"),
        ];
        let mut body = Spoiled::new(StreamBody::new(tokio_stream::iter(frames)), fault);
        let (mut bytes, mut seen) = (0, None);
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(frame) if frame.is_data() => bytes += frame.into_data().unwrap().len(),
                Ok(frame) => seen = frame.into_trailers().ok(),
                Err(error) => break error,
            }
        };
        assert_eq!(
            (bytes, seen.as_ref(), error),
            (2, Some(&trailers), Broken::Inner("gone")),
            "{fault:?}"
        );
    }
}
