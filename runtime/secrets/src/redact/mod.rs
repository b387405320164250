//! Takes secrets out of everything that leaves a worker: logs, errors, tracebacks, progress, audit.
//!
//! Two ideas carry it. `forms` lists what a secret may be turned *into* by an encoding of fixed output (base64 in every
//! alignment, hex). `views` turns text *back* where an encoder has freedom (percent-encoding, backslash escapes), so that
//! every mixture of encoded and plain characters is caught, not only those that somebody thought of.
//!
//! This guards against accidents, not against a connector that wants to leak: that one can reverse the text. What a
//! connector may reach is the gateway's business.

mod forms;
mod mask;
#[cfg(test)]
mod plainly;
mod search;
mod stream;
mod views;

use std::borrow::Cow;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, OnceLock};

use caisson_without::{Part, without};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::value::SecretValue;
use search::Search;
pub use stream::StreamRedactor;
use views::{Extent, Views};

/// What stands in the place of a secret.
pub const MARKER: &str = "[redacted]";

/// Values shorter than this, in bytes, are not looked for: `root` or `5432` would blank out half of every log.
pub const MIN_BYTES: usize = 6;

/// Values longer than this, in bytes, are looked for in pieces and only as they are, not in base64 or hex.
pub const MAX_BYTES: usize = 64 * 1024;

/// Replaces secrets by [`MARKER`]. Cheap to clone.
#[derive(Clone)]
pub struct Redactor(Arc<Inner>);

struct Inner {
    /// Nothing where there is nothing to look for.
    search: Option<Search>,
    /// The same patterns without regard to case, built when a name is first looked through.
    folded: OnceLock<Search>,
    gaps: Vec<Gap>,
    /// What it is made of.
    values: Vec<(String, SecretValue)>,
}

/// A value that is not looked for, or not in every form. Worth a warning to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// Shorter than [`MIN_BYTES`]; not looked for at all.
    TooShort {
        /// The property that uses the value.
        name: String,
    },
    /// Longer than [`MAX_BYTES`]; base64 and hex of it are not looked for.
    TooLong {
        /// The property that uses the value.
        name: String,
    },
}

impl Gap {
    /// What is not looked for of the value of a property.
    pub(crate) fn of(name: &str, value: &SecretValue) -> Option<Gap> {
        let (length, name) = (value.expose().len(), name.to_owned());
        if length < MIN_BYTES {
            Some(Gap::TooShort { name })
        } else if length > MAX_BYTES {
            Some(Gap::TooLong { name })
        } else {
            None
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::TooShort { name } => {
                write!(
                    f,
                    "{name}: the secret is shorter than {MIN_BYTES} bytes and is not redacted from logs; use a longer one"
                )
            }
            Gap::TooLong { name } => {
                write!(
                    f,
                    "{name}: the secret is longer than {MAX_BYTES} bytes; its base64 and hex forms are not redacted from logs"
                )
            }
        }
    }
}

impl Redactor {
    /// Looks for these values; the names are for [`Redactor::gaps`] only.
    pub fn new<'a>(values: impl IntoIterator<Item = (&'a str, &'a SecretValue)>) -> Redactor {
        let (mut patterns, mut gaps, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value) in values {
            if without(Part::Redactor) {
                continue;
            }
            kept.push((name.to_owned(), value.clone()));
            gaps.extend(Gap::of(name, value));
            forms::of(value.expose(), &mut patterns);
        }
        Redactor(Arc::new(Inner {
            search: Search::of(patterns),
            folded: OnceLock::new(),
            gaps,
            values: kept,
        }))
    }

    /// One that knows more values besides.
    pub fn and<'a>(
        &'a self,
        more: impl IntoIterator<Item = (&'a str, &'a SecretValue)>,
    ) -> Redactor {
        let own = self.0.values.iter();
        let own = own.map(|(name, value)| (name.as_str(), value));
        Redactor::new(own.chain(more))
    }

    /// Values that are not looked for, or not in every form.
    pub fn gaps(&self) -> &[Gap] {
        &self.0.gaps
    }

    /// The text without secrets; borrowed where there was none.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        replaced(text, self.0.found(text.as_bytes()))
    }

    /// Whether a secret stands in bytes that are no text, such as an Arrow schema.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.0
            .visit(bytes, &mut |search, views, view| {
                let bytes = &views.view(view).bytes;
                search.find(bytes, &mut |_| ControlFlow::Break(()))
            })
            .is_break()
    }

    /// As [`Redactor::finds`], in little memory however long the bytes are.
    pub fn finds_anywhere(&self, bytes: &[u8]) -> bool {
        const SHORT: usize = 64 << 10;
        if bytes.len() <= SHORT {
            return self.finds(bytes);
        }
        let mut stream = self.stream();
        for piece in bytes.chunks(SHORT) {
            stream.push(piece);
            if stream.has_found() {
                return true;
            }
        }
        stream.finish_found()
    }

    /// As [`Redactor::redact`], for text that holds names of hosts. DNS names have no case and are cut into labels, so
    /// here case is no difference, and a dot may stand anywhere inside of a secret.
    pub fn redact_name<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(search) = &self.0.search else {
            return Cow::Borrowed(text);
        };
        let folded = self.0.folded.get_or_init(|| search.lowercase());
        let mut ranges = Ranges::default();
        let mut add = |views: &Views, view: usize| {
            let small = Zeroizing::new(views.view(view).bytes.to_ascii_lowercase());
            folded.find(&small, &mut |found| {
                ranges.add(views, view, found);
                ControlFlow::Continue(())
            })
        };
        let (bytes, sought) = (text.as_bytes(), folded.sought());
        let _ = Views::visit(bytes, sought, Extent::Whole, &mut add);
        let of_name = Views::of_name(bytes, sought);
        let _ = (0..of_name.len()).try_for_each(|view| add(&of_name, view));
        replaced(text, ranges.merged())
    }

    /// Redacts every string of a JSON value, names of fields too.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(redacted) = self.redact(text) {
                    *text = redacted;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            Value::Object(map) => {
                for (name, mut value) in std::mem::take(map) {
                    self.redact_json(&mut value);
                    map.insert(self.redact(&name).into_owned(), value);
                }
            }
            Value::Number(number) => {
                if let Cow::Owned(redacted) = self.redact(&number.to_string()) {
                    *value = Value::String(redacted);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A redactor for text that arrives in chunks.
    pub fn stream(&self) -> StreamRedactor {
        StreamRedactor::new(self.0.clone())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("patterns", &self.0.search.as_ref().map_or(0, Search::len))
            .field("gaps", &self.0.gaps)
            .finish()
    }
}

impl Inner {
    /// Where secrets stand in a whole source.
    fn found(&self, source: &[u8]) -> Vec<Range<usize>> {
        let mut ranges = Ranges::default();
        let _ = self.visit(source, &mut |search, views, view| {
            ranges.add_all(search, views, view);
            ControlFlow::Continue(())
        });
        ranges.merged()
    }

    /// Shows every view of a whole source, where there is something to look for.
    fn visit(
        &self,
        source: &[u8],
        see: &mut impl FnMut(&Search, &Views, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(search) = &self.search else {
            return ControlFlow::Continue(());
        };
        let see = &mut |views: &Views, view: usize| see(search, views, view);
        Views::visit(source, search.sought(), Extent::Whole, see).1
    }
}

/// Where secrets stand in a source.
#[derive(Default)]
struct Ranges(Vec<Range<usize>>);

impl Ranges {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds every find in a view.
    fn add_all(&mut self, search: &Search, views: &Views, view: usize) {
        let _ = search.find(&views.view(view).bytes, &mut |found| {
            self.add(views, view, found);
            ControlFlow::Continue(())
        });
    }

    /// Adds a find in a view.
    fn add(&mut self, views: &Views, view: usize, found: Range<usize>) {
        let (first, last) = (found.start, found.end - 1);
        let range = views.source(view, first).start..views.source(view, last).end;
        push_merging(&mut self.0, range);
    }

    /// Disjoint and in order. Overlapping finds are one range; neighbours stay two.
    fn merged(mut self) -> Vec<Range<usize>> {
        self.0.sort_by_key(|range| range.start);
        let mut merged = Vec::with_capacity(self.0.len());
        for range in self.0 {
            push_merging(&mut merged, range);
        }
        merged
    }
}

/// The text with [`MARKER`] in place of each range.
fn replaced(text: &str, ranges: Vec<Range<usize>>) -> Cow<'_, str> {
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        out.extend_from_slice(&text.as_bytes()[from..range.start]);
        out.extend_from_slice(MARKER.as_bytes());
        from = range.end;
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    // Every form begins and ends on a character, so this replaces nothing; but no text is worth a panic here.
    Cow::Owned(
        String::from_utf8(out)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

fn push_merging(ranges: &mut Vec<Range<usize>>, mut range: Range<usize>) {
    while let Some(last) = ranges.last() {
        if range.start >= last.end || last.start >= range.end {
            break;
        }
        range = last.start.min(range.start)..last.end.max(range.end);
        ranges.pop();
    }
    ranges.push(range);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn redactor(values: &[&str]) -> Redactor {
        let values: Vec<_> = values
            .iter()
            .map(|value| SecretValue::new(*value))
            .collect();
        Redactor::new(values.iter().map(|value| ("k", value)))
    }

    #[test]
    fn a_secret_between_bytes_that_are_no_text_is_found() {
        let r = redactor(&["hunter2-hunter2"]);
        let around = |name: &str| [&[0xff, 0, 0x80, 3][..], name.as_bytes(), &[0, 0xfe]].concat();
        assert!(r.finds(&around("hunter2-hunter2")));
        assert!(r.finds(&around("x-aHVudGVyMi1odW50ZXIy")));
        assert!(!r.finds(&around("hunter2-hunter3")));
        assert!(!redactor(&[]).finds(&around("hunter2-hunter2")));
    }

    #[test]
    fn base64_is_found_across_the_ends_of_its_lines() {
        use base64::Engine as _;
        let secret = "hunter2-hunter2-xyz";
        let around = format!("{}{secret}{}", "x".repeat(48), "y".repeat(20));
        let encoded = base64::engine::general_purpose::STANDARD.encode(&around);
        for end in ["\n", "\r\n"] {
            let lines: Vec<&str> = encoded
                .as_bytes()
                .chunks(76)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let said = format!("key:{end}{}{end}end", lines.join(end));
            for said in [serde_json::to_string(&said).unwrap(), said] {
                let shown = redactor(&[secret]).redact(&said).into_owned();
                assert!(shown.contains(MARKER), "{shown}");
            }
        }
    }

    #[test]
    fn a_return_inside_of_a_secret_is_left_out_where_lines_end() {
        let r = redactor(&["hunter2-hunter2"]);
        for end in ["\n", r"\n", r"\u000a é", "%0A"] {
            for between in ["\r", "\r\r", r"\r", "%0D"] {
                let text = format!("of '{end}', hunter2-{between}hunter2");
                let shown = r.redact(&text).into_owned();
                // A line's end and the return are seen by one reading.
                let seen = end == "\n"
                    || between.starts_with('\r')
                    || end.as_bytes()[0] == between.as_bytes()[0];
                assert_eq!(shown.contains(MARKER), seen, "{text:?}");
            }
        }
        assert_eq!(r.redact("hunter2-\rhunter2"), "hunter2-\rhunter2");
    }

    #[test]
    fn every_form_that_an_encoder_makes_is_taken_out() {
        let r = redactor(&["pä ss/w\"rd+\n"]);
        let table = [
            "raw pä ss/w\"rd+\n end",
            "base64 cMOkIHNzL3ciM3JkKwo= has another letter",
            "base64 cMOkIHNzL3cicmQrCg== end",
            "base64 inside dTpww6Qgc3MvdyJyZCsK end",
            "base64url cMOkIHNzL3cicmQrCg end",
            "percent p%C3%A4%20ss%2Fw%22rd%2B%0A end",
            "percent p%c3%a4%20ss%2fw%22rd%2b%0a end",
            "every byte %70%C3%a4%20%73%73/%77%22%72%64%2B%0A end",
            "form p%C3%A4+ss%2Fw%22rd%2B%0A end",
            "json \"pä ss/w\\\"rd+\\n\" end",
            "json ascii \"p\\u00e4 ss\\/w\\u0022rd+\\n\" end",
            "json in json \\\"p\\u00E4 ss/w\\\\\\\"rd+\\\\n\\\" end",
            "python repr 'p\\xc3\\xa4 ss/w\"rd+\\n' end",
            "hex 70c3a42073732f772272642b0a end",
            "HEX 70C3A42073732F772272642B0A end",
        ];
        let shown: Vec<_> = table
            .iter()
            .map(|text| r.redact(text).into_owned())
            .collect();
        assert_eq!(
            shown,
            [
                "raw [redacted] end",
                "base64 cMOkIHNzL3ciM3JkKwo= has another letter",
                "base64 [redacted] end",
                "base64 inside dTp[redacted] end",
                "base64url [redacted] end",
                "percent [redacted] end",
                "percent [redacted] end",
                "every byte [redacted] end",
                "form [redacted] end",
                "json \"[redacted]\" end",
                "json ascii \"[redacted]\" end",
                "json in json \\\"[redacted]\\\" end",
                "python repr '[redacted]' end",
                "hex [redacted] end",
                "HEX [redacted] end",
            ]
        );
    }

    #[test]
    fn what_python_writes_of_characters_beyond_ascii_is_taken_out() {
        let r = redactor(&["pässwörd\u{20ac}\u{1f600}", "café-crème"]);
        for text in [
            r"ascii 'p\xe4ssw\xf6rd\u20ac\U0001f600' end",
            r"repr of bytes b'p\xc3\xa4ssw\xc3\xb6rd\xe2\x82\xac\xf0\x9f\x98\x80' end",
            r"ascii in json 'p\\xe4ssw\\xf6rd\\u20ac\\U0001f600' end",
            r"bytes in json b'caf\\xc3\\xa9-cr\\xc3\\xa8me' end",
            r"latin-1 b'caf\xe9-cr\xe8me' end",
            r"mixed 'caf\u00E9-cr\xE8me' end",
            r"all 'caf\U000000e9-cr\U000000e8me' end",
        ] {
            let shown = r.redact(text).into_owned();
            assert!(shown.contains("'[redacted]' end"), "{text} became {shown}");
        }
        let mut stream = r.stream();
        let mut shown = Vec::new();
        for letter in r"'caf\xe9-cr\xe8me' end".bytes() {
            shown.extend(stream.push(&[letter]));
        }
        shown.extend(stream.finish());
        assert_eq!(shown, b"'[redacted]' end");
    }

    #[test]
    fn a_name_is_redacted_without_regard_to_case_and_to_the_dots_between_labels() {
        let r = redactor(&["Hunter22SesameOpen"]);
        for name in [
            "hunter22sesameopen.evil.com",
            "hunter22.sesame.open.evil.com",
            "48756E7465723232536573616D654F70656E.evil.com",
            "SHVudGVyMjJTZXNhbWVPcGVu.evil.com",
            "shvudgvymjjtzxnhbwvpcgvu.evil.com",
        ] {
            assert_eq!(r.redact_name(name), "[redacted].evil.com", "{name}");
        }
        for other in [
            "api.example.com",
            "eeeeeeeeeeee\nhunter22, or sesameopen\neeeeeeeeeeee",
        ] {
            assert_eq!(r.redact_name(other), other);
        }
    }

    #[test]
    fn text_without_secrets_is_borrowed_as_it_is() {
        for values in [&["hunter22"][..], &[]] {
            let r = redactor(values);
            for text in [
                "",
                "hunter2",
                "100%",
                "a\\",
                "%zz \\u12 \\uD800",
                "50%+\\u00",
                "ünïcödé \u{1f600}",
            ] {
                assert!(
                    matches!(r.redact(text), Cow::Borrowed(same) if same == text),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn of_two_overlapping_secrets_no_half_stays() {
        let r = redactor(&["abcdef", "defghi"]);
        assert_eq!(r.redact("xabcdefghiy"), "x[redacted]y");
        assert_eq!(r.redact("abcdefdefghi"), "[redacted][redacted]");
    }

    #[test]
    fn a_secret_is_found_anywhere_in_what_is_long_and_nothing_where_there_is_none() {
        let r = redactor(&["hunter22"]);
        for before in [0, 65_530, 300_000] {
            let mut bytes = vec![b'x'; before];
            assert!(!r.finds_anywhere(&bytes), "{before}");
            bytes.extend(b"hunter22");
            assert!(r.finds_anywhere(&bytes), "{before}");
        }
    }

    #[test]
    fn a_short_value_is_named_and_not_looked_for() {
        let values = [
            ("port", SecretValue::new("5432")),
            ("key", SecretValue::new("hunter22")),
        ];
        let r = Redactor::new(values.iter().map(|(name, value)| (*name, value)));
        assert_eq!(
            r.gaps(),
            [Gap::TooShort {
                name: "port".into()
            }]
        );
        assert_eq!(r.redact("5432 hunter22"), "5432 [redacted]");
        assert!(!format!("{r:?}").contains("hunter22"));
    }

    #[test]
    fn lines_and_fields_of_a_value_are_secrets_too() {
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END PRIVATE KEY-----\n";
        let r = redactor(&[pem, r#"{"user": "shop", "password": "hunter\"22"}"#]);
        assert_eq!(
            r.redact("line AASCBKcwggSjAgEAAoIBAQC7VJTU"),
            "line [redacted]"
        );
        assert_eq!(
            r.redact("login as shop with hunter\"22"),
            "login as shop with [redacted]"
        );
    }

    #[test]
    fn a_value_beyond_the_limit_is_still_taken_out_as_it_is() {
        let long: String = (0..20_000).map(|i| format!("{i:05}")).collect();
        let r = redactor(&[&long]);
        assert!(matches!(r.gaps(), [Gap::TooLong { .. }]));
        let shown = r.redact(&long).into_owned();
        assert_eq!(shown.replace(MARKER, ""), "");
    }

    #[test]
    fn a_secret_that_repeats_itself_is_not_compared_at_every_place() {
        let secret = "a".repeat(60_000);
        let r = redactor(&[&format!("{secret}b"), &secret]);
        let began = std::time::Instant::now();
        let near = format!("{}c", "a".repeat(59_999)).repeat(16);
        let text = format!("{near}{secret}a {secret}");
        let expected = format!("{near}{MARKER} {MARKER}");
        assert!(r.redact(&text) == expected);
        let mut stream = r.stream();
        let mut shown = stream.push(text.as_bytes());
        shown.extend(stream.finish());
        assert!(shown == expected.as_bytes());
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }

    #[test]
    fn json_is_redacted_in_values_and_names() {
        let r = redactor(&["hunter22", "1234567"]);
        let mut value =
            json!({ "a": ["hunter22", 1, null], "hunter22": { "b": "x=hunter22" }, "n": 1234567 });
        r.redact_json(&mut value);
        assert_eq!(
            value,
            json!({ "a": ["[redacted]", 1, null], "[redacted]": { "b": "x=[redacted]" }, "n": "[redacted]" })
        );
    }
}
