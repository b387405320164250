//! No form of a secret survives, however the text is cut. Each property has a positive control: the same search finds
//! the secret in the text that was not redacted.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use caisson_secrets::{Redactor, SecretValue};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Form {
    Raw,
    Base64 { url: bool, pad: bool },
    Hex { upper: bool },
    Percent { every: bool, upper: bool },
    PlusForSpace,
    Json { ascii: bool },
    JsonTwice,
    JsonInUrl,
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        Just(Form::Raw),
        (any::<bool>(), any::<bool>()).prop_map(|(url, pad)| Form::Base64 { url, pad }),
        any::<bool>().prop_map(|upper| Form::Hex { upper }),
        (any::<bool>(), any::<bool>()).prop_map(|(every, upper)| Form::Percent { every, upper }),
        Just(Form::PlusForSpace),
        any::<bool>().prop_map(|ascii| Form::Json { ascii }),
        Just(Form::JsonTwice),
        Just(Form::JsonInUrl),
    ]
}

fn percent(text: &str, every: bool, upper: bool) -> String {
    text.bytes()
        .map(|byte| match byte {
            b if !every && (b.is_ascii_alphanumeric() || b"-_.~".contains(&b)) => {
                char::from(b).to_string()
            }
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        })
        .collect()
}

fn json(text: &str, ascii: bool) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    let inner = &quoted[1..quoted.len() - 1];
    if !ascii {
        return inner.to_owned();
    }
    let mut units = [0; 2];
    inner
        .chars()
        .map(|c| match c {
            c if c.is_ascii() => c.to_string(),
            c => c
                .encode_utf16(&mut units)
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect(),
        })
        .collect()
}

/// The encoding of the whole text and what of it would betray the secret.
fn encode(form: Form, before: &str, secret: &str, after: &str) -> (String, String) {
    let whole = format!("{before}{secret}{after}");
    let apply = |with: &dyn Fn(&str) -> String| {
        (
            format!("{}{}{}", with(before), with(secret), with(after)),
            with(secret),
        )
    };
    match form {
        Form::Raw => (whole, secret.to_owned()),
        Form::Base64 { url, pad } => {
            let engine = match (url, pad) {
                (false, true) => STANDARD,
                (false, false) => STANDARD_NO_PAD,
                (true, true) => URL_SAFE,
                (true, false) => URL_SAFE_NO_PAD,
            };
            let encoded = engine.encode(&whole);
            // The characters whose six bits are all the secret's.
            let first = (before.len() * 8).div_ceil(6);
            let last = ((before.len() + secret.len()) * 8) / 6;
            let core = encoded[first..last].to_owned();
            (encoded, core)
        }
        Form::Hex { upper } => apply(&|text| {
            text.bytes()
                .map(|b| {
                    if upper {
                        format!("{b:02X}")
                    } else {
                        format!("{b:02x}")
                    }
                })
                .collect()
        }),
        Form::Percent { every, upper } => apply(&|text| percent(text, every, upper)),
        Form::PlusForSpace => apply(&|text| percent(text, false, true).replace("%20", "+")),
        Form::Json { ascii } => apply(&|text| json(text, ascii)),
        Form::JsonTwice => apply(&|text| json(&json(text, true), false)),
        Form::JsonInUrl => apply(&|text| percent(&json(text, false), false, true)),
    }
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_/+-]{6,40}",
        "[ -~]{6,40}",
        "[a-c]{6,9}",
        proptest::collection::vec(any::<char>(), 6..20).prop_map(String::from_iter),
    ]
}

fn redactor(secret: &str) -> Redactor {
    Redactor::new([("k", &SecretValue::new(secret))])
}

fn in_chunks(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut stream, mut rest, mut out) = (redactor.stream(), text, Vec::new());
    for &cut in cuts.iter().cycle().take(text.len()) {
        let (chunk, tail) = rest.split_at(cut.min(rest.len()));
        out.extend(stream.push(chunk));
        rest = tail;
    }
    out.extend(stream.push(rest));
    out.extend(stream.finish());
    out
}

proptest! {
    #[test]
    fn no_form_of_a_secret_survives_any_chunking(
        secret in secret(),
        before in "\\PC{0,20}",
        after in "\\PC{0,20}",
        form in form(),
        cuts in proptest::collection::vec(1usize..12, 1..6),
    ) {
        let (text, betrays) = encode(form, &before, &secret, &after);
        prop_assert!(text.contains(&betrays), "the control: the search must find what it looks for");
        let redactor = redactor(&secret);
        let whole = redactor.redact(&text);
        prop_assert!(!whole.contains(&betrays), "{whole}");
        prop_assert!(whole.contains("[redacted]"));
        let chunked = in_chunks(&redactor, text.as_bytes(), &cuts);
        prop_assert_eq!(String::from_utf8(chunked).unwrap(), whole);
    }

    #[test]
    fn the_output_does_not_depend_on_the_chunks(
        secrets in proptest::collection::vec("[ab%+\\\\ ]{6,8}", 1..4),
        text in "[ab%+4x0u26\\\\ ]{0,80}",
        cuts in proptest::collection::vec(1usize..9, 1..6),
    ) {
        let values: Vec<_> = secrets.iter().map(|secret| SecretValue::new(secret.as_str())).collect();
        let redactor = Redactor::new(values.iter().map(|value| ("k", value)));
        let chunked = in_chunks(&redactor, text.as_bytes(), &cuts);
        prop_assert_eq!(String::from_utf8(chunked).unwrap(), redactor.redact(&text));
    }

    #[test]
    fn what_holds_no_secret_comes_out_as_it_went_in(
        text in "\\PC{0,200}",
        cuts in proptest::collection::vec(1usize..12, 1..6),
    ) {
        let redactor = redactor("a secret that no such text holds: 7f3a");
        prop_assert_eq!(redactor.redact(&text), text.as_str());
        prop_assert_eq!(in_chunks(&redactor, text.as_bytes(), &cuts), text.as_bytes());
    }
}
