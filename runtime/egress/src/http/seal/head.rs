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
                shown.push_str(&Zeroizing::new(encoded(put.sealed.value.expose())));
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
        if let Some(filled) = puts.iter().find_map(|put| filled(name, value, put)) {
            let (mut filled, rest) = filled?;
            if placeholders.finds(rest.as_bytes()) {
                return Err(Misplaced(format!(
                    "in its field {name}, beside another one"
                )));
            }
            // Never kept in a table of the connection (RFC 7541, 7.1.3).
            filled.set_sensitive(true);
            *value = filled;
        } else if placeholders.finds(value.as_bytes()) {
            return Err(Misplaced(format!("in its field {name}")));
        } else if placeholders.finds(name.as_str().as_bytes()) {
            return Err(Misplaced("in the name of a field".to_owned()));
        }
    }
    Ok(())
}

/// A field's value with the secret in it, and what stood beside the placeholder. `None`: nothing belongs there.
fn filled(
    name: &HeaderName,
    value: &HeaderValue,
    put: &Put<'_>,
) -> Option<Result<(HeaderValue, String), Misplaced>> {
    let in_field = match &put.place {
        Place::Header(own) if own == name => true,
        Place::Basic if *name == AUTHORIZATION => false,
        _ => return None,
    };
    let text = value.to_str().ok()?;
    let (placeholder, secret) = (put.sealed.placeholder.expose(), put.sealed.value.expose());
    let unfit = || {
        Misplaced(format!(
            "in its field {name}, which cannot hold the value: it has characters that no field may"
        ))
    };
    let made = |text: Zeroizing<String>, rest: String| {
        let value = HeaderValue::from_str(&text).map_err(|_| unfit())?;
        Ok((value, rest))
    };
    if in_field && text.contains(placeholder) {
        let filled = Zeroizing::new(text.replace(placeholder, secret));
        return Some(made(filled, text.replace(placeholder, "")));
    }
    if *name != AUTHORIZATION {
        return None;
    }
    let (scheme, credentials) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    let mut found = false;
    let mut part = |own: &str| {
        let is_it = own == placeholder;
        found |= is_it;
        if is_it {
            secret.to_owned()
        } else {
            own.to_owned()
        }
    };
    let filled = Zeroizing::new(format!("{}:{}", part(user), part(password)));
    if !found {
        return None;
    }
    let rest = pair.replace(placeholder, "");
    let filled = Zeroizing::new(format!(
        "{scheme} {}",
        BASE64_STANDARD.encode(filled.as_bytes())
    ));
    Some(made(filled, rest))
}
