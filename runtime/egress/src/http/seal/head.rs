//! The request line and the fields.

use super::{Misplaced, Put};
use crate::form::{decoded, encoded};
use crate::policy::Place;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use caisson_secrets::Redactor;
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, request};
use zeroize::Zeroizing;

pub(super) fn put_in(
    parts: &mut request::Parts,
    puts: &[Put<'_>],
    placeholders: &Redactor,
) -> Result<(), Misplaced> {
    target(&mut parts.uri, puts, placeholders)?;
    fields(&mut parts.headers, puts, placeholders)
}

fn target(uri: &mut Uri, puts: &[Put<'_>], placeholders: &Redactor) -> Result<(), Misplaced> {
    let Some(all) = uri.path_and_query() else {
        return Ok(());
    };
    if placeholders.finds(all.path().as_bytes()) {
        return Err(Misplaced("in its path".to_owned()));
    }
    let Some(query) = all.query() else {
        return Ok(());
    };
    let puts = puts.iter().filter_map(|put| match &put.place {
        Place::Query(key) => Some((key.as_str(), put)),
        _ => None,
    });
    let Some(query) = pairs(query, puts, placeholders, "the query")? else {
        return Ok(());
    };
    let target = Zeroizing::new(format!("{}?{}", all.path(), *query));
    let target = PathAndQuery::try_from(target.as_bytes())
        .map_err(|_| Misplaced("in a query that would be too long with its value".to_owned()))?;
    let mut own = uri.clone().into_parts();
    own.path_and_query = Some(target);
    *uri = Uri::from_parts(own).map_err(|_| Misplaced("in its query".to_owned()))?;
    Ok(())
}

/// A query or form with values in it; `None` where none belongs there.
pub(super) fn pairs<'a>(
    text: &str,
    puts: impl Iterator<Item = (&'a str, &'a Put<'a>)>,
    placeholders: &Redactor,
    of: &str,
) -> Result<Option<Zeroizing<String>>, Misplaced> {
    let puts: Vec<_> = puts.collect();
    let mut put_in = false;
    let mut shown = Zeroizing::new(String::with_capacity(text.len() + 256));
    for (number, pair) in text.split('&').enumerate() {
        if number > 0 {
            shown.push('&');
        }
        let (spelt, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(spelt), decoded(value));
        let put = puts
            .iter()
            .find(|(key, put)| *key == name && put.sealed.placeholder.expose() == value);
        match put {
            Some((_, put)) => {
                put_in = true;
                shown.push_str(spelt);
                shown.push('=');
                shown.push_str(&Zeroizing::new(encoded(put.value())));
            }
            None if placeholders.finds(pair.as_bytes()) => {
                return Err(Misplaced(format!("in {of}")));
            }
            None => shown.push_str(pair),
        }
    }
    Ok(put_in.then_some(shown))
}

fn fields(
    headers: &mut HeaderMap,
    puts: &[Put<'_>],
    placeholders: &Redactor,
) -> Result<(), Misplaced> {
    for (name, value) in headers.iter_mut() {
        let rest = match filled(name, value, puts)? {
            Some((mut filled, rest)) => {
                // Never kept in a table of the connection (RFC 7541, 7.1.3).
                filled.set_sensitive(true);
                *value = filled;
                rest
            }
            None => Zeroizing::new(value.as_bytes().to_vec()),
        };
        if placeholders.finds(&rest) {
            return Err(Misplaced(format!("in its field {name}")));
        }
        if placeholders.finds(name.as_str().as_bytes()) {
            return Err(Misplaced("in the name of a field".to_owned()));
        }
    }
    Ok(())
}

type Filled = (HeaderValue, Zeroizing<Vec<u8>>);

/// A field's value with secrets in it, and what stood beside their placeholders. `None`: none belongs there.
fn filled(
    name: &HeaderName,
    value: &HeaderValue,
    puts: &[Put<'_>],
) -> Result<Option<Filled>, Misplaced> {
    let Ok(text) = value.to_str() else {
        return Ok(None);
    };
    let made = |text: Zeroizing<String>, rest: String| {
        let value = HeaderValue::from_str(&text).map_err(|_| {
            Misplaced(format!(
                "in its field {name}, which cannot hold the value: it has characters that no field may"
            ))
        })?;
        Ok(Some((value, Zeroizing::new(rest.into_bytes()))))
    };
    let here = || {
        puts.iter()
            .filter(|put| put.place == Place::Header(name.clone()))
    };
    let (mut shown, mut rest) = (Zeroizing::new(text.to_owned()), text.to_owned());
    let mut found = false;
    for put in here() {
        let placeholder = put.sealed.placeholder.expose();
        if rest.contains(placeholder) {
            found = true;
            shown = Zeroizing::new(shown.replace(placeholder, put.value()));
            rest = rest.replace(placeholder, "");
        }
    }
    if found {
        return made(shown, rest);
    }
    if *name != AUTHORIZATION {
        return Ok(None);
    }
    let Some((scheme, user, password)) = basic(text) else {
        return Ok(None);
    };
    let mut rest = String::new();
    let mut part = |own: &str| {
        let put = puts.iter().find(|put| {
            let is_place = put.place == Place::Basic || put.place == Place::Header(AUTHORIZATION);
            is_place && put.sealed.placeholder.expose() == own
        });
        found |= put.is_some();
        let shown = put.map_or(own, |put| put.value());
        if put.is_none() {
            rest.push_str(own);
            rest.push(':');
        }
        Zeroizing::new(shown.to_owned())
    };
    let (user, password) = (part(&user), part(&password));
    if !found {
        return Ok(None);
    }
    let pair = Zeroizing::new(format!("{}:{}", *user, *password));
    let coded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
    made(Zeroizing::new(format!("{scheme} {}", *coded)), rest)
}

/// Scheme, user and password of a field (RFC 7617).
fn basic(text: &str) -> Option<(&str, String, String)> {
    let (scheme, credentials) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((scheme, user.to_owned(), password.to_owned()))
}
