//! How many bytes the redactor reads in a second of one core, where there is nothing to redact. For `make bench`.
//!
//! Prints one line of JSON: by kind of text and number of secrets, bytes in a nanosecond of this thread's processor time;
//! `mix` is of a log with lines of every kind, with ten secrets, read as a stream.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use caisson_secrets::{Redactor, SecretValue};
use nix::time::{ClockId, clock_gettime};

const BYTES: usize = 4 << 20;
const CHUNK: usize = 64 << 10;
const ROUNDS: usize = 9;
/// The lines of the mix, of so many each: of its bytes half are JSON, a quarter base64, a sixth plain, the rest escaped.
const MIX: [(&str, usize); 5] = [
    ("json", 20),
    ("plain", 10),
    ("base64", 1),
    ("percent", 2),
    ("nested", 1),
];

const WORDS: [&str; 24] = [
    "request",
    "customer",
    "invoice",
    "GET",
    "the",
    "connection",
    "to",
    "host",
    "page",
    "token",
    "retry",
    "after",
    "record",
    "orders",
    "status",
    "error",
    "while",
    "reading",
    "value",
    "is",
    "not",
    "updated_at",
    "api",
    "stream",
];

/// Marsaglia's xorshift: the same texts on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    fn sentence(&mut self) -> String {
        let words: Vec<_> = (0..6 + self.below(10)).map(|_| self.word()).collect();
        words.join(" ")
    }

    fn letters(&mut self, count: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |_| char::from(ALPHABET[self.below(ALPHABET.len())]);
        (0..count).map(letter).collect()
    }
}

/// One record of a kind.
fn record(kind: &str, n: &mut Numbers) -> Vec<u8> {
    let at = format!(
        "2026-01-{:02}T12:{:02}:{:02}.123",
        1 + n.below(28),
        n.below(60),
        n.below(60)
    );
    let (said, word, other, number) = (n.sentence(), n.word(), n.word(), n.below(1_000_000));
    let text = match kind {
        "json" => {
            let body = if n.below(8) == 0 {
                r#","body":"{\"id\": 1}\n""#
            } else {
                ""
            };
            format!(
                "{{\"ts\":\"{at}Z\",\"level\":\"info\",\"msg\":\"{said}\",\"id\":{number},\"url\":\"https://api.example.com/v1/{word}?page={number}\"{body}}}\n"
            )
        }
        "plain" => format!(
            "{at} INFO app.{word}: {said}, {}% done, took {number} ms\n",
            n.below(100)
        ),
        "base64" => format!("{{\"blob\":\"{}\"}}\n", n.letters(2000)),
        "percent" => format!(
            "GET https://api.example.com/search?q={}&filter=%7B%22{word}%22%3A%22{other}%22%7D&next=https%3A%2F%2Fexample.com%2F{word} HTTP/1.1\n",
            said.replace(' ', "%20")
        ),
        "nested" => format!(
            "\"{{\\\"id\\\":{number},\\\"name\\\":\\\"{word}\\\",\\\"note\\\":\\\"{said}\\\\n{other}\\\"}}\"\n"
        ),
        "escaped" => said.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        _ => return n.next().to_le_bytes().to_vec(),
    };
    text.into_bytes()
}

fn text(kind: &str, n: &mut Numbers) -> Vec<u8> {
    let mut text = Vec::with_capacity(BYTES + 4096);
    while text.len() < BYTES {
        text.extend(record(kind, n));
    }
    text
}

/// Values as they are issued: keys with a prefix, random ones, some with a word in them.
fn redactor(count: usize) -> Redactor {
    let mut n = Numbers(7);
    let values: Vec<_> = (0..count)
        .map(|index| match index % 4 {
            0 => format!("sk_live_{}", n.letters(24)),
            1 => n.letters(40),
            2 => format!("{}-{}", n.word(), n.letters(12)),
            _ => n.letters(20),
        })
        .map(SecretValue::new)
        .collect();
    Redactor::new(values.iter().map(|value| ("k", value)))
}

/// Nanoseconds of this thread's processor time: the best of some rounds, for what interrupts can only add.
fn taken(mut run: impl FnMut()) -> u64 {
    let now = || {
        Duration::from(
            clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("threads have a clock"),
        )
    };
    let rounds = (0..ROUNDS).map(|_| {
        let began = now();
        run();
        (now() - began).as_nanos() as u64
    });
    rounds.min().unwrap_or(1).max(1)
}

fn stream(redactor: &Redactor, text: &[u8]) {
    let mut stream = redactor.stream();
    let mut bytes: usize = text
        .chunks(CHUNK)
        .map(|chunk| stream.push(chunk).len())
        .sum();
    bytes += stream.finish().len();
    assert_eq!(bytes, text.len(), "nothing is redacted");
}

fn main() {
    let mut rates = BTreeMap::new();
    for kind in [
        "json", "plain", "base64", "random", "percent", "nested", "escaped",
    ] {
        let text = text(kind, &mut Numbers(42));
        for count in [1, 10, 100] {
            let redactor = redactor(count);
            let whole = || {
                text.chunks(CHUNK)
                    .for_each(|chunk| assert!(!redactor.finds(chunk)))
            };
            let rate = |nanoseconds| text.len() as f64 / nanoseconds as f64;
            rates.insert(
                format!("{kind} {count} stream"),
                rate(taken(|| stream(&redactor, &text))),
            );
            rates.insert(format!("{kind} {count} whole"), rate(taken(whole)));
        }
    }
    let mut n = Numbers(42);
    let mut mixed = Vec::with_capacity(BYTES + 4096);
    let of: usize = MIX.iter().map(|(_, share)| share).sum();
    while mixed.len() < BYTES {
        let mut at = n.below(of);
        let kind = MIX.iter().find(|(_, share)| {
            let here = at < *share;
            at = at.saturating_sub(*share);
            here
        });
        mixed.extend(record(kind.map_or("json", |(kind, _)| kind), &mut n));
    }
    let redactor = redactor(10);
    let nanoseconds = taken(|| stream(&redactor, &mixed));
    rates.insert("mix".to_owned(), mixed.len() as f64 / nanoseconds as f64);
    println!("{}", serde_json::json!(rates));
}
