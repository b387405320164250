//! An answer on its way to a worker over HTTP/1.1 (RFC 9112), frame by frame as the upstream sends it.

use super::body::AnyBody;
use super::fields;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::BodyExt;
use std::fmt::Write as _;
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What of the request shapes its answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Whether the connection may go on.
    pub(super) keep_alive: bool,
}

enum Shape {
    /// No body at all, whatever the headers promise (RFC 9112, 6.3).
    None,
    /// As long as Content-Length says.
    Length,
    Chunked,
    /// Until the connection ends.
    Close,
}

/// Tells the worker to send the body that it holds back.
pub(super) async fn write_continue(io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    io.flush().await
}

/// Writes an answer, and says whether the connection may carry another one.
///
/// # Errors
/// The worker is gone, or the upstream broke off: then the worker must see that too.
pub(super) async fn write(
    io: &mut (impl AsyncWrite + Unpin),
    asked: &Asked,
    mut response: Response<AnyBody>,
) -> io::Result<bool> {
    let shape = shape(asked, &response);
    let keep_alive = asked.keep_alive && !matches!(shape, Shape::Close);
    let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let length = response.body().size_hint().exact();
    let headers = response.headers_mut();
    if !upgrades {
        fields::strip_hop_by_hop(headers);
    }
    match shape {
        Shape::Chunked => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Shape::Length => {
            if let Some(length) = length {
                headers.insert(CONTENT_LENGTH, length.into());
            }
        }
        Shape::None | Shape::Close => {}
    }
    if !keep_alive && !upgrades {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    } else if asked.version == Version::HTTP_10 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    let mut head = head(&response);
    let mut body = response.into_body();
    if matches!(shape, Shape::None) {
        io.write_all(&head).await?;
        io.flush().await?;
        return Ok(keep_alive);
    }
    let chunked = matches!(shape, Shape::Chunked);
    let mut left = length.filter(|_| matches!(shape, Shape::Length));
    loop {
        let next = match body.frame().now_or_never() {
            Some(next) => next,
            None => {
                // The head does not wait for what may come late.
                if !head.is_empty() {
                    io.write_all(&head.split()).await?;
                    io.flush().await?;
                }
                body.frame().await
            }
        };
        let Some(frame) = next else { break };
        // Where the answer broke off, so does the connection: nobody takes half an answer for a whole one.
        let frame = frame.map_err(io::Error::other)?;
        // Trailers have no place that HTTP/1.1 clients look at.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        left = left.map(|left| left.saturating_sub(data.len() as u64));
        if chunked {
            write!(&mut head, "{:x}\r\n", data.len()).map_err(io::Error::other)?;
            let end = Bytes::from_static(b"\r\n");
            io.write_all_buf(&mut head.split().chain(data).chain(end))
                .await?;
        } else {
            io.write_all_buf(&mut head.split().chain(data)).await?;
        }
        io.flush().await?;
    }
    if chunked {
        head.extend_from_slice(b"0\r\n\r\n");
    }
    io.write_all(&head).await?;
    io.flush().await?;
    // Shorter than its length said, which only a fault script brings about: the next answer would be taken for the rest.
    Ok(keep_alive && left.is_none_or(|left| left == 0))
}

fn shape(asked: &Asked, response: &Response<AnyBody>) -> Shape {
    let status = response.status();
    if asked.method == Method::HEAD
        || status.is_informational()
        || matches!(status.as_u16(), 204 | 304)
    {
        Shape::None
    } else if response.body().size_hint().exact().is_some() {
        Shape::Length
    } else if asked.version == Version::HTTP_10 {
        Shape::Close
    } else {
        Shape::Chunked
    }
}

fn head(response: &Response<AnyBody>) -> BytesMut {
    let mut head = BytesMut::with_capacity(1 << 10);
    let status = response.status();
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.extend_from_slice(b" ");
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in response.headers() {
        let is_length_of_nothing =
            name == CONTENT_LENGTH && response.headers().contains_key(TRANSFER_ENCODING);
        if !is_length_of_nothing {
            fields::write(&mut head, name, value);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
