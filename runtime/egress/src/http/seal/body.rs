//! The body: values are put into forms and JSON texts, which are held for it; everything else is looked through as it passes.

use super::codings::Decoder;
use super::head::pairs;
use super::{Misplaced, Put};
use crate::cassette::{Undecoded, decoded};
use crate::http::body::{AnyBody, BodyError, Meter, Metered, text};
use crate::lookout::Lookout;
use crate::places::{Json, replaced, steps};
use crate::policy::Place;
use crate::shared::Shared;
use bytes::Bytes;
use caisson_secrets::Redactor;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use zeroize::Zeroizing;

/// Longest body that a value is put into, bytes, with its codings and without.
const LONGEST: usize = 1 << 20;
/// Longest that a worker may take to send such a body.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are decoded at once.
const PIECE: usize = 4 << 10;
/// So many times as long as it travelled a body may become, beyond its first MiB.
const RATIO: usize = 100;
const NOT_CODED: &str = "perhaps in a body that is not in the coding it names";

pub(super) async fn put_in(
    parts: &mut request::Parts,
    body: AnyBody,
    puts: &[Put<'_>],
    placeholders: &Redactor,
    shared: &Arc<Shared>,
    found: impl FnOnce(&str) + Send + Unpin + 'static,
) -> Result<AnyBody, Misplaced> {
    if body.is_end_stream() {
        return Ok(body);
    }
    let kind = field(&parts.headers, CONTENT_TYPE);
    let essence = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_form = essence == "application/x-www-form-urlencoded";
    let is_json = essence == "application/json" || essence.ends_with("+json");
    let belongs = puts.iter().any(|put| match put.place {
        Place::Form(_) => is_form,
        Place::Json(_) => is_json,
        _ => false,
    });
    if belongs {
        let (body, room) = hold(body, shared).await?;
        let filled = held(parts, body, is_form, puts, placeholders)?;
        return Ok(Metered::new(filled, Meter::default(), move |_| drop(room)).boxed_unsync());
    }
    let codings = field(&parts.headers, CONTENT_ENCODING);
    let decoder = Decoder::of(&codings).ok_or_else(|| unreadable(&codings))?;
    Ok(Watched {
        inner: body,
        decoder,
        lookout: Lookout::for_all_of(placeholders),
        placeholders: placeholders.clone(),
        coded: 0,
        plain: 0,
        found: Some(found),
    }
    .boxed_unsync())
}

async fn hold(
    body: AnyBody,
    shared: &Arc<Shared>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Misplaced> {
    let too_long = || Misplaced("perhaps in a body of more than 1 MiB".to_owned());
    // What a worker says is believed: no more than that is read.
    let length = body.size_hint().exact().unwrap_or(LONGEST as u64);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(too_long());
    }
    let full = || Misplaced("perhaps in one of too many bodies at once".to_owned());
    let room = tokio::time::timeout(PATIENCE, shared.room(length)).await;
    let room = room.map_err(|_| full())?;
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok((body.to_bytes(), room)),
        Ok(Err(error)) if error.is::<BodyError>() => {
            Err(Misplaced("perhaps in a body that broke off".to_owned()))
        }
        Ok(Err(_)) => Err(too_long()),
        Err(_) => Err(Misplaced(
            "perhaps in a body that did not come within a minute".to_owned(),
        )),
    }
}

/// A whole body with the values in it.
fn held(
    parts: &mut request::Parts,
    body: Bytes,
    is_form: bool,
    puts: &[Put<'_>],
    placeholders: &Redactor,
) -> Result<AnyBody, Misplaced> {
    let codings = field(&parts.headers, CONTENT_ENCODING);
    let plain = decoded(&codings, &body).map_err(|undecoded| match undecoded {
        Undecoded::TooLong => {
            Misplaced("perhaps in a body of more than 16 MiB without its coding".to_owned())
        }
        Undecoded::Coding(coding) => unreadable(&coding),
        Undecoded::Broken(coding, _) => unreadable(&coding),
    })?;
    if plain.len() > LONGEST {
        return Err(Misplaced(
            "perhaps in a body of more than 1 MiB without its coding".to_owned(),
        ));
    }
    let elsewhere = || Misplaced("in its body".to_owned());
    let filled = match std::str::from_utf8(&plain) {
        Ok(plain) if is_form => {
            let puts = puts.iter().filter_map(|put| match &put.place {
                Place::Form(field) => Some((field.as_str(), put)),
                _ => None,
            });
            pairs(plain, puts, placeholders, "its form")?
        }
        Ok(plain) => json(plain, puts, placeholders)?,
        Err(_) if placeholders.finds_anywhere(&plain) => return Err(elsewhere()),
        Err(_) => None,
    };
    let Some(mut filled) = filled else {
        return Ok(text(body));
    };
    let headers = &mut parts.headers;
    headers.remove(CONTENT_ENCODING);
    headers.remove(TRANSFER_ENCODING);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(filled.len()));
    Ok(text(std::mem::take(&mut *filled)))
}

/// A JSON text with values in it; `None` where none belongs there.
fn json(
    plain: &str,
    puts: &[Put<'_>],
    placeholders: &Redactor,
) -> Result<Option<Zeroizing<String>>, Misplaced> {
    let mut words = Vec::new();
    let json = Json::of(plain);
    for put in puts {
        let (Place::Json(pointer), Some(json)) = (&put.place, &json) else {
            continue;
        };
        for value in json.at(&steps(pointer)) {
            let is_it = serde_json::from_str::<String>(value.get())
                .is_ok_and(|text| text == put.sealed.placeholder.expose());
            if is_it {
                let word = serde_json::to_string(put.value()).unwrap_or_default();
                words.push((json.place(value), Zeroizing::new(word)));
            }
        }
    }
    let rest = replaced(
        plain,
        words
            .iter()
            .map(|(place, _)| (place.clone(), "\"\""))
            .collect(),
    );
    if placeholders.finds_anywhere(rest.as_bytes()) {
        return Err(Misplaced("in its body".to_owned()));
    }
    let filled = || {
        let places = words
            .iter()
            .map(|(place, word)| (place.clone(), word.as_str()));
        Zeroizing::new(replaced(plain, places.collect()))
    };
    Ok((!words.is_empty()).then(filled))
}

fn unreadable(coding: &str) -> Misplaced {
    Misplaced(format!(
        "perhaps in a body in the coding {coding:?}, which is not read"
    ))
}

/// All values of a field, in their order.
pub(super) fn field(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name);
    let values: Vec<&str> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    values.join(", ")
}

/// A body that ends where a placeholder is found in it.
struct Watched<F> {
    inner: AnyBody,
    decoder: Decoder,
    lookout: Lookout,
    placeholders: Redactor,
    /// Bytes so far, with the coding and without.
    coded: usize,
    plain: usize,
    found: Option<F>,
}

impl<F: FnOnce(&str)> Watched<F> {
    /// # Errors
    /// A placeholder was found, or may be in what cannot be read.
    fn look(&mut self, data: &[u8]) -> Result<(), BodyError> {
        for piece in data.chunks(PIECE) {
            let Ok(plain) = self.decoder.push(piece) else {
                return Err(self.end(NOT_CODED));
            };
            self.coded += piece.len();
            self.plain += plain.len();
            if self.plain > LONGEST + self.coded.saturating_mul(RATIO) {
                return Err(
                    self.end("perhaps in a body that grows beyond all measure without its coding")
                );
            }
            if self.lookout.finds(&plain) {
                return Err(self.end("in its body"));
            }
        }
        Ok(())
    }

    fn look_at(&mut self, trailers: &HeaderMap) -> Result<(), BodyError> {
        let found = |value: &HeaderValue| self.placeholders.finds(value.as_bytes());
        if trailers.values().any(found) {
            return Err(self.end("in its trailers"));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        let rest = if self.coded == 0 {
            Vec::new()
        } else {
            self.decoder.finish().map_err(|_| self.end(NOT_CODED))?
        };
        if self.lookout.finds(&rest) || self.lookout.finds_at_end() {
            return Err(self.end("in its body"));
        }
        Ok(())
    }

    fn end(&mut self, what: &str) -> BodyError {
        if let Some(found) = self.found.take() {
            found(what);
        }
        BodyError::Misplaced
    }
}

impl<F: FnOnce(&str) + Unpin> Body for Watched<F> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        let looked = match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let looked = match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => this.look(data),
                    (None, Some(trailers)) => this.look_at(trailers),
                    (None, None) => Ok(()),
                };
                // Of a body whose length was said, nobody asks for an end behind the last byte.
                if looked.is_ok() && this.inner.is_end_stream() {
                    this.finish()
                } else {
                    looked
                }
            }
            Poll::Ready(None) => this.finish(),
            _ => Ok(()),
        };
        match looked {
            Ok(()) => polled,
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
