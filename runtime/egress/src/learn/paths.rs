//! Patterns that hold all paths that were seen, and few others: what names one thing among many becomes `*`.

use std::collections::{BTreeMap, BTreeSet};

/// Values at one place beyond which they are taken for names of things rather than parts of the API.
const MANY: usize = 12;
/// Patterns of one place beyond which they are drawn together under what they begin with.
const MOST: usize = 40;

/// The patterns of paths, with all methods of the paths that each holds.
pub(super) fn patterns(
    paths: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut patterns: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for (path, methods) in paths {
        let segments = path[1..].split('/').map(|segment| {
            let is_star = names_one_of_many(segment) || segment.contains('*');
            if is_star {
                "*".to_owned()
            } else {
                segment.to_owned()
            }
        });
        patterns
            .entry(segments.collect())
            .or_default()
            .extend(methods.iter().cloned());
    }
    while let Some(drawn) = drawn_together(&patterns) {
        patterns = drawn;
    }
    if patterns.len() > MOST {
        let mut wide: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for (segments, methods) in patterns {
            // The root begins with nothing, and stays what it is.
            let begins = match &segments[..] {
                [root] if root.is_empty() => segments,
                _ => vec![segments[0].clone(), "**".to_owned()],
            };
            wide.entry(begins).or_default().extend(methods);
        }
        patterns = wide;
    }
    patterns
        .into_iter()
        .map(|(segments, methods)| (format!("/{}", segments.join("/")), methods))
        .collect()
}

/// The patterns with one more `*`, where many differ in one place alone.
fn drawn_together(
    patterns: &BTreeMap<Vec<String>, BTreeSet<String>>,
) -> Option<BTreeMap<Vec<String>, BTreeSet<String>>> {
    let mut alike: BTreeMap<(usize, Vec<String>), BTreeSet<&String>> = BTreeMap::new();
    for segments in patterns.keys() {
        // The first segment is a part of the API, not a name of a thing.
        for place in 1..segments.len() {
            let mut others = segments.clone();
            let own = std::mem::replace(&mut others[place], "*".to_owned());
            if own != "*" {
                alike
                    .entry((place, others))
                    .or_default()
                    .insert(&segments[place]);
            }
        }
    }
    let ((place, pattern), _) = alike.into_iter().find(|(_, values)| values.len() > MANY)?;
    let is_held = |segments: &[String]| {
        segments.len() == pattern.len()
            && segments
                .iter()
                .zip(&pattern)
                .enumerate()
                .all(|(at, (own, other))| at == place || own == other)
    };
    let mut drawn = BTreeMap::new();
    for (segments, methods) in patterns {
        let key = if is_held(segments) {
            pattern.clone()
        } else {
            segments.clone()
        };
        drawn
            .entry(key)
            .or_insert_with(BTreeSet::new)
            .extend(methods.iter().cloned());
    }
    Some(drawn)
}

/// Numbers, dates, UUIDs, hashes and other long identifiers.
fn names_one_of_many(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let is = |test: fn(&u8) -> bool| segment.bytes().all(|byte| test(&byte));
    let is_number =
        digits > 0 && is(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b':'));
    let is_hash =
        segment.len() >= 8 && digits > 0 && is(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    let is_identifier = segment.len() >= 14
        && digits >= 3
        && is(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_number || is_hash || is_identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(paths: &[&str]) -> Vec<String> {
        let get = BTreeSet::from(["GET".to_owned()]);
        let paths = paths
            .iter()
            .map(|path| ((*path).to_owned(), get.clone()))
            .collect();
        patterns(&paths).into_keys().collect()
    }

    #[test]
    fn what_names_one_of_many_becomes_a_star_and_parts_of_the_api_stay() {
        assert_eq!(
            of(&[
                "/v1/orders/17",
                "/v1/orders/18/items",
                "/v1/orders",
                "/v2/2026-01-01",
                "/v1/users/3fa85f64-5717-4562-b3fc-2c963f66afa6"
            ]),
            [
                "/v1/orders",
                "/v1/orders/*",
                "/v1/orders/*/items",
                "/v1/users/*",
                "/v2/*"
            ]
        );
        assert_eq!(
            of(&["/", "/v1/me", "/v1/beta2"]),
            ["/", "/v1/beta2", "/v1/me"]
        );
    }

    #[test]
    fn many_values_at_one_place_are_drawn_together() {
        let names: Vec<String> = (b'a'..=b'z')
            .map(|letter| format!("/repos/{}/issues", char::from(letter)))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["/user"]).collect();
        assert_eq!(of(&names), ["/repos/*/issues", "/user"]);
    }

    #[test]
    fn the_root_among_many_paths_stays_the_root() {
        let names: Vec<String> = (0..=MOST)
            .map(|number| format!("/p{}x", "a".repeat(number)))
            .chain(["/".to_owned()])
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let patterns = of(&names);
        assert!(patterns.contains(&"/".to_owned()), "{patterns:?}");
        for pattern in patterns {
            assert!(
                crate::http::path::Pattern::parse(&pattern).is_ok(),
                "{pattern}"
            );
        }
    }
}
