//! What credentials look like: the formats that their makers gave them, and
//! strings of high entropy under telling names.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A place that looks like a credential, without it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) line: usize,
    pub(super) what: &'static str,
    pub(super) length: usize,
}

/// Formats that are credentials wherever they stand.
const FORMATS: [(&str, &str); 21] = [
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    (
        "a Stripe key",
        r"\b(?:sk|rk)_(?:live|test)_[0-9a-zA-Z]{16,}",
    ),
    ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}"),
    ("a GitHub token", r"\bgithub_pat_[A-Za-z0-9_]{22,}"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"),
    (
        "a Slack webhook",
        r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}",
    ),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a Google OAuth token", r"\bya29\.[0-9A-Za-z_-]{20,}"),
    (
        "a SendGrid key",
        r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    ),
    ("a Twilio key", r"\bSK[0-9a-f]{32}\b"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a PyPI token", r"\bpypi-AgEI[A-Za-z0-9_-]{20,}"),
    ("a Vault token", r"\bhv[sb]\.[A-Za-z0-9_-]{20,}"),
    ("a Shopify token", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b"),
    ("a DigitalOcean token", r"\bdo[oprt]_v1_[a-f0-9]{64}\b"),
    (
        "an OpenAI or Anthropic key",
        r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}",
    ),
    (
        "a HubSpot token",
        r"\bpat-(?:na|eu)[0-9]-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    ),
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    (
        "a JSON Web Token",
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    ),
    (
        "a password in a URL",
        r"[a-z][a-z0-9+]{1,15}://[A-Za-z0-9._%-]{1,64}:([^\s/@:{}<>$\x22']{6,})@",
    ),
];

static KNOWN: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    FORMATS
        .iter()
        .map(|(what, pattern)| (*what, compile(pattern)))
        .collect()
});

const NAMES: &str = "(?i-u:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)[a-z0-9_]*)";

/// `name = "value"`, `"name": "value"`.
static QUOTED: LazyLock<Regex> = LazyLock::new(|| {
    compile(&format!(
        r#"{NAMES}["']?\]?\s*[:=]\s*[bfru]{{0,2}}["']([^"'\n]{{16,512}})["']"#
    ))
});

/// `name: value` and `NAME=value` of YAML, INI and env files.
static BARE: LazyLock<Regex> = LazyLock::new(|| {
    compile(&format!(
        r#"(?m)^[ \t-]*(?:export )?{NAMES}[ \t]*[:=][ \t]*([^\s"'#{{\[]{{16,512}})[ \t]*$"#
    ))
});

/// A header, cookie or parameter of a HAR cassette that carries a credential.
static RECORDED: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r#""name"\s*:\s*"(?i-u:authorization|proxy-authorization|cookie|set-cookie|x-api-key|api-key|apikey|"#,
        r#"x-auth-token|x-access-token|api_key|access_token|token|client_secret|password|refresh_token)"\s*,"#,
        r#"\s*"value"\s*:\s*"((?:[^"\\]|\\.)*)""#
    ))
});

/// An Authorization header anywhere.
static HEADER: LazyLock<Regex> =
    LazyLock::new(|| compile(r"\b(?:Bearer|Basic|Token) ([A-Za-z0-9+/=_.~-]{16,})"));

/// Everything in `text` that looks like a credential.
pub(super) fn find(path: &str, text: &str) -> Vec<Literal> {
    let mut found: Vec<(usize, Literal)> = Vec::new();
    for (what, pattern) in KNOWN.iter() {
        for captures in pattern.captures_iter(text) {
            let value = value_of(&captures);
            if !is_marked(value) {
                found.push((start(&captures), literal(text, &captures, what)));
            }
        }
    }
    for captures in RECORDED.captures_iter(text) {
        let value = value_of(&captures);
        if !value.is_empty() && !is_placeholder(value) {
            found.push((
                start(&captures),
                literal(text, &captures, "a recorded credential"),
            ));
        }
    }
    let bare = [
        ".yaml",
        ".yml",
        ".env",
        ".ini",
        ".cfg",
        ".toml",
        ".conf",
        ".properties",
    ]
    .iter()
    .any(|end| path.ends_with(end));
    let named = QUOTED
        .captures_iter(text)
        .chain(bare.then(|| BARE.captures_iter(text)).into_iter().flatten());
    for captures in named.chain(HEADER.captures_iter(text)) {
        let value = value_of(&captures);
        if is_random(value) && !is_placeholder(value) {
            found.push((start(&captures), literal(text, &captures, "a credential")));
        }
    }
    found.sort_by_key(|(start, _)| *start);
    let mut literals: Vec<Literal> = found.into_iter().map(|(_, literal)| literal).collect();
    // One line is one finding, by its most telling name.
    literals.dedup_by(|later, earlier| {
        let same = later.line == earlier.line;
        if same && earlier.what == "a credential" {
            earlier.what = later.what;
        }
        same
    });
    literals
}

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is part of this file and a test compiles it")
}

fn value_of<'t>(captures: &Captures<'t>) -> &'t str {
    captures
        .get(1)
        .or_else(|| captures.get(0))
        .map_or("", |found| found.as_str())
}

fn start(captures: &Captures<'_>) -> usize {
    captures
        .get(1)
        .or_else(|| captures.get(0))
        .map_or(0, |found| found.start())
}

fn literal(text: &str, captures: &Captures<'_>, what: &'static str) -> Literal {
    Literal {
        line: text[..start(captures)].matches('\n').count() + 1,
        what,
        length: value_of(captures).chars().count(),
    }
}

/// True if a value of a known format says itself that it is none.
fn is_marked(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    [
        "redacted",
        "example",
        "placeholder",
        "xxxxxx",
        "000000",
        "changeme",
    ]
    .iter()
    .any(|mark| lower.contains(mark))
}

/// True if a value stands where a credential would be and is none.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let marks = [
        "redacted",
        "placeholder",
        "example",
        "changeme",
        "change-me",
        "xxxx",
        "****",
        "dummy",
        "fake",
        "your-",
        "your_",
        "sample",
        "not-a-",
        "not_a_",
        "test",
        "secret-of",
        "...",
        "…",
        "${",
        "{{",
        "<",
        // What the CDK's recorder writes in a secret's place.
        "[secret]",
    ];
    let references = ["env:", "file:", "vault:", "command:", "http://", "https://"];
    marks.iter().any(|mark| lower.contains(mark))
        || references.iter().any(|start| lower.starts_with(start))
}

/// True if a string has digits, letters and about as many different characters as chance gives.
fn is_random(value: &str) -> bool {
    let plain = value.chars().all(|c| c.is_ascii_graphic());
    let digits = value.chars().any(|c| c.is_ascii_digit());
    let letters = value.chars().any(|c| c.is_ascii_alphabetic());
    plain && digits && letters && value.len() >= 16 && entropy(value) >= 3.0
}

/// Shannon's entropy in bits per character.
fn entropy(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value
        .bytes()
        .for_each(|byte| counts[usize::from(byte)] += 1);
    #[expect(clippy::cast_precision_loss, reason = "lengths of a few hundred")]
    let total = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Built at run time, so that this file itself holds none.
    fn canary(prefix: &str, length: usize) -> String {
        let random = "q7Zr2Xc9Vb4Nm1Kj8Hg5Fd3Sa6Lp0Oi7Uy2Tr9Ew4Qz1Xs8Cd5Vf3Bg6Nh0Mj7Kl2"
            .chars()
            .cycle();
        format!("{prefix}{}", random.take(length).collect::<String>())
    }

    #[test]
    fn known_formats_are_found_and_their_examples_are_not() {
        let aws = ["AKIA", "Q7ZR2XC9VB4NM1KJ"].concat();
        for text in [
            aws,
            canary("sk_live_", 24),
            canary("ghp_", 36),
            canary("xoxb-", 20),
            canary("glpat-", 20),
            ["-----BEGIN RSA ", "PRIVATE KEY-----"].concat(),
            format!(
                "{}.{}.{}",
                canary("eyJ", 20),
                canary("eyJ", 20),
                canary("", 20)
            ),
            format!("postgres://user:{}@db.internal/x", canary("", 12)),
        ] {
            assert_eq!(find("a.py", &text).len(), 1, "{text}");
        }
        for text in [
            "AKIAIOSFODNN7EXAMPLE",
            "sk_live_REDACTED_REDACTED_0",
            "postgres://user:${PASSWORD}@host/",
            "https://example.com/a",
        ] {
            assert_eq!(find("a.py", text), [], "{text}");
        }
    }

    #[test]
    fn random_values_under_telling_names_are_found_and_placeholders_are_not() {
        let value = canary("", 24);
        for text in [
            format!("API_KEY = \"{value}\""),
            format!("{{\"client_secret\": \"{value}\"}}"),
            format!("headers['Authorization'] = 'Bearer {value}'"),
            format!("config[\"password\"] = '{value}'"),
        ] {
            assert_eq!(find("a.py", &text).len(), 1, "{text}");
        }
        assert_eq!(
            find("a.yaml", &format!("x: 1\napi_key: {value}\n"))[0].line,
            2
        );
        for text in [
            "token = \"vault:kv/data/shop#api_key1\"",
            "api_key = \"your-api-key-goes-here-1\"",
            "password = os.environ['PASSWORD_1_FOR_US']",
            "token_url = \"https://login.acme.io/oauth2/token\"",
            "next_token: nothing random in this line",
            "primary_key=\"id\", cursor=\"updated_at\"",
        ] {
            assert_eq!(find("a.yaml", text), [], "{text}");
        }
    }

    #[test]
    fn a_cassette_with_any_credential_left_in_it_is_found() {
        let recorded =
            |value: &str| format!("{{\n \"name\": \"Authorization\",\n \"value\": \"{value}\"\n}}");
        assert_eq!(
            find("tests/cassettes/a.har", &recorded("Bearer k1")).len(),
            1
        );
        assert_eq!(
            find("tests/cassettes/a.har", &recorded("Bearer REDACTED")),
            []
        );
        assert_eq!(find("tests/cassettes/a.har", &recorded("")), []);
    }
}
