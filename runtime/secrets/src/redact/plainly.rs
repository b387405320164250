//! The rule of redaction as it would be written with no thought of time, to hold the quick way against.
//!
//! Every view is read byte by byte, and every pattern is compared at every place of every view.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::stream::StreamRedactor;
use super::views::{Token, backslash, characters, percent};
use super::{MARKER, Redactor, forms, push_merging};
use crate::value::SecretValue;

/// Bytes, and of each the run of the source that it stands for.
type View = Vec<(u8, Range<usize>)>;

fn read(view: &View, token: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> View {
    let text: Vec<u8> = view.iter().map(|(byte, _)| *byte).collect();
    let (mut read, mut at) = (View::new(), 0);
    while at < view.len() {
        let Some((decoded, used)) = token(&text[at..]) else {
            read.push(view[at].clone());
            at += 1;
            continue;
        };
        let span = view[at].1.start..view[at + used - 1].1.end;
        read.extend(decoded.into_iter().map(|byte| (byte, span.clone())));
        at += used;
    }
    read
}

fn reading(of: fn(&[u8]) -> Token) -> impl Fn(&[u8]) -> Option<(Vec<u8>, usize)> {
    move |text| match of(text) {
        Token::Escape(decoded, used) => Some((decoded.as_slice().to_vec(), used)),
        Token::Plain | Token::Incomplete => None,
    }
}

/// Two readings deep, a form's spaces, and where the text is whole, each of them without the ends of its lines.
fn views(source: &[u8], spaces: bool, whole: bool) -> Vec<View> {
    let source: View = (0..)
        .zip(source)
        .map(|(at, byte)| (*byte, at..at + 1))
        .collect();
    let deeper = |view: &View| [percent, backslash, characters].map(|of| read(view, reading(of)));
    let mut views = vec![source.clone()];
    for once in deeper(&source) {
        views.extend(deeper(&once));
        views.push(once);
    }
    if spaces {
        let plus = read(&source, |text| (text[0] == b'+').then(|| (vec![b' '], 1)));
        views.push(read(&plus, reading(percent)));
        views.push(plus);
    }
    if whole {
        let with_lines = views
            .iter()
            .filter(|view| view.iter().any(|(byte, _)| *byte == b'\n'));
        let end = |text: &[u8]| b"\r\n".contains(&text[0]).then(|| (vec![], 1));
        let joined: Vec<View> = with_lines.map(|view| read(view, end)).collect();
        views.extend(joined);
    }
    views
}

fn found(patterns: &[Zeroizing<Vec<u8>>], views: &[View]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for view in views {
        let text: Vec<u8> = view.iter().map(|(byte, _)| *byte).collect();
        for at in 0..text.len() {
            for pattern in patterns
                .iter()
                .filter(|pattern| text[at..].starts_with(pattern))
            {
                ranges.push(view[at].1.start..view[at + pattern.len() - 1].1.end);
            }
        }
    }
    ranges.sort_by_key(|range| range.start);
    let mut merged = Vec::new();
    ranges
        .into_iter()
        .for_each(|range| push_merging(&mut merged, range));
    merged
}

fn replaced(text: &[u8], ranges: Vec<Range<usize>>) -> Vec<u8> {
    let (mut out, mut from) = (Vec::new(), 0);
    for range in ranges {
        out.extend_from_slice(&text[from..range.start]);
        out.extend_from_slice(MARKER.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(&text[from..]);
    out
}

fn in_pieces(redactor: &Redactor, text: &[u8], cuts: &[usize], piece: usize) -> Vec<u8> {
    let mut stream = StreamRedactor::in_pieces(redactor.0.clone(), piece);
    let (mut rest, mut out) = (text, Vec::new());
    for &cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, more) = rest.split_at(cut.min(rest.len()));
        out.extend(stream.push(chunk));
        rest = more;
    }
    out.extend(stream.finish());
    out
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab%+\\\\ ]{6,8}",
        "[a-c]{6,9}",
        "[ab]{6,30}",
        "[A-Za-z0-9_/+-]{6,40}",
        "[ -~\n]{6,40}",
        "[a-z]{12,300}",
        proptest::collection::vec(any::<char>(), 6..20).prop_map(String::from_iter),
    ]
}

/// How one letter is written; the number chooses.
fn written(letter: char, how: u8) -> String {
    let mut bytes = [0; 4];
    let bytes = letter.encode_utf8(&mut bytes).as_bytes();
    let each = |before: &str| {
        bytes
            .iter()
            .map(|byte| format!("{before}{byte:02x}"))
            .collect::<String>()
    };
    let code = u32::from(letter);
    match how {
        0..20 => letter.to_string(),
        20..23 => each("%"),
        23 => each("%").to_uppercase(),
        24 => each("%25"),
        25 => each("\\x"),
        26 => each("\\\\x"),
        27 => each("%5cx"),
        28 => format!("\\u{:04x}", code.min(0xffff)),
        29 => format!("\\\\u{:04x}", code.min(0xffff)),
        30 if code < 0x100 => format!("\\x{code:02x}"),
        31 => format!("\\U{code:08x}"),
        32 => format!("{letter}\n"),
        33 => format!("{letter}\r\n"),
        34 => format!("\\{letter}"),
        35 => each("%25%32%35"),
        36 => letter.to_string().replace(' ', "+"),
        37 => format!("{letter}\\n"),
        _ => serde_json::to_string(&letter)
            .unwrap()
            .trim_matches('"')
            .to_owned(),
    }
}

/// Secrets, and a text of them in every mixture of encodings, whole and in parts, between what looks like escapes.
fn secrets_and_text() -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    proptest::collection::vec(secret(), 1..4).prop_flat_map(|secrets| {
        let count = secrets.len();
        let noise = prop_oneof![
            "[ab%+4x0u26n\\\\\n\r\" ]{0,20}".prop_map(String::into_bytes),
            "[a-z ]{0,60}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        let letters = (
            0..count,
            0u8..4,
            0usize..8,
            proptest::collection::vec(0u8..45, 1..12),
        );
        let parts = proptest::collection::vec((letters, noise), 0..6);
        (Just(secrets), parts).prop_map(|(secrets, parts)| {
            let mut text = Vec::new();
            for ((which, kind, cut, hows), noise) in parts {
                let secret = &secrets[which];
                let letters = secret.chars().skip(if kind == 3 { cut } else { 0 });
                let part: String = match kind {
                    0 => STANDARD.encode(format!("{}{secret}", &"xyz"[..cut % 4])),
                    1 => secret.clone(),
                    _ => letters
                        .zip(hows.iter().cycle())
                        .map(|(c, how)| written(c, *how))
                        .collect(),
                };
                text.extend(part.into_bytes());
                text.extend(noise);
            }
            (secrets, text)
        })
    })
}

proptest! {
    #[test]
    fn all_that_the_plain_rule_finds_is_found_and_nothing_else(
        (secrets, text) in secrets_and_text(),
        cuts in proptest::collection::vec(1usize..40, 1..6),
        piece in 8usize..60,
    ) {
        let values: Vec<_> = secrets.iter().map(|secret| SecretValue::new(secret.as_str())).collect();
        let redactor = Redactor::new(values.iter().map(|value| ("k", value)));
        let mut patterns = Vec::new();
        secrets.iter().for_each(|secret| forms::of(secret, &mut patterns));
        let spaces = patterns.iter().any(|pattern| pattern.contains(&b' '));
        let ranges = found(&patterns, &views(&text, spaces, true));
        prop_assert_eq!(redactor.finds(&text), !ranges.is_empty());
        prop_assert_eq!(redactor.0.found(&text), ranges);
        let ranges = found(&patterns, &views(&text, spaces, false));
        let shown = in_pieces(&redactor, &text, &cuts, piece);
        let expected = replaced(&text, ranges);
        prop_assert_eq!(String::from_utf8_lossy(&shown), String::from_utf8_lossy(&expected));
    }
}
