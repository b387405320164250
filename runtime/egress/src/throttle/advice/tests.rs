//! The decision table of headers.

use super::*;
use proptest::prelude::*;

/// Wednesday, 1 January 2025, noon.
fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_732_800)
}

fn headers(lines: &[&str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

/// An answer in one line, and what it says.
fn said(answer: &str) -> String {
    let (status, lines) = answer.split_once(' ').unwrap_or((answer, ""));
    let lines: Vec<&str> = lines.split(" | ").filter(|line| !line.is_empty()).collect();
    let advice = read(status.parse().unwrap(), &headers(&lines), noon());
    let mut said = Vec::new();
    if let Some(Refused { cause, wait, of }) = advice.refused {
        let wait = wait.map_or("backoff".to_owned(), |wait| {
            format!("{}s", wait.as_secs_f64())
        });
        said.push(format!("refused ({cause}): {wait}"));
        said.extend(of.map(|of| format!("too much {}", format!("{of:?}").to_lowercase())));
    }
    for quota in advice.quotas {
        let reset = quota
            .reset
            .map_or("?".to_owned(), |reset| reset.as_secs_f64().to_string());
        said.push(format!("{} left for {reset}s", quota.remaining));
    }
    said.extend(advice.granted.map(|rate| format!("grants {rate}/s")));
    let pace = advice.bucket.and_then(Bucket::pace);
    said.extend(pace.map(|(rate, time)| format!("leaks {rate}/s for {}s", time.as_secs())));
    said.extend(advice.try_again.map(|again| format!("again: {again}")));
    said.join(", ")
}

/// Answers and what they say.
const TABLE: &[(&str, &str)] = &[
    // Nothing is said.
    ("200", ""),
    ("500", ""),
    ("503", ""),
    ("403", ""),
    ("429", "refused (429): backoff"),
    // Retry-After.
    ("429 Retry-After: 7", "refused (429 Retry-After): 7s"),
    ("429 Retry-After:  7 ", "refused (429 Retry-After): 7s"),
    ("429 Retry-After: 2.0", "refused (429 Retry-After): 2s"),
    ("429 Retry-After: 0.5", "refused (429 Retry-After): 0.5s"),
    ("429 Retry-After: 0", "refused (429): backoff"),
    ("429 Retry-After: -5", "refused (429): backoff"),
    (
        "429 Retry-After: 31536000",
        "refused (429 Retry-After): 86400s",
    ),
    (
        "429 Retry-After: 99999999999999999999999999999999999999999999",
        "refused (429 Retry-After): 86400s",
    ),
    ("429 Retry-After: NaN", "refused (429): backoff"),
    ("429 Retry-After: inf", "refused (429): backoff"),
    ("429 Retry-After: 1e9", "refused (429): backoff"),
    ("429 Retry-After: 1.2.3", "refused (429): backoff"),
    ("429 Retry-After: .", "refused (429): backoff"),
    ("429 Retry-After: soon", "refused (429): backoff"),
    ("429 Retry-After: ", "refused (429): backoff"),
    (
        "429 Retry-After: Wed, 01 Jan 2025 12:00:30 GMT",
        "refused (429 Retry-After): 30s",
    ),
    (
        "429 Retry-After: Wednesday, 01-Jan-25 12:00:30 GMT",
        "refused (429 Retry-After): 30s",
    ),
    (
        "429 Retry-After: Wed Jan  1 12:00:30 2025",
        "refused (429 Retry-After): 30s",
    ),
    (
        "429 Retry-After: Wed, 01 Jan 2025 11:59:00 GMT",
        "refused (429): backoff",
    ),
    (
        "429 Retry-After: Fri, 01 Jan 2100 00:00:00 GMT",
        "refused (429 Retry-After): 86400s",
    ),
    (
        "429 Retry-After: 3 | Retry-After: 9",
        "refused (429 Retry-After): 9s",
    ),
    ("503 Retry-After: 120", "refused (503 Retry-After): 120s"),
    ("503 Retry-After: 0", "refused (503): backoff"),
    ("503 Retry-After: soon", ""),
    ("500 Retry-After: 120", ""),
    ("301 Retry-After: 120", ""),
    // The draft, 08 and later.
    (r#"200 RateLimit: "default";r=50;t=30"#, "50 left for 30s"),
    (r#"200 RateLimit: default;r=50;t=30"#, "50 left for 30s"),
    (r#"200 RateLimit: "default"; r=0; t=30"#, "0 left for 30s"),
    (r#"200 RateLimit: "a;b,c\"d";r=5;t=3"#, "5 left for 3s"),
    (
        r#"200 RateLimit: "burst";r=9;t=5, "daily";r=800;t=3600"#,
        "9 left for 5s, 800 left for 3600s",
    ),
    (
        r#"200 RateLimit: "burst";r=9;t=5 | RateLimit: "daily";r=800;t=3600"#,
        "9 left for 5s, 800 left for 3600s",
    ),
    (
        r#"200 RateLimit: "burst";r=9 | RateLimit-Policy: "burst";q=100;w=60"#,
        "9 left for 60s, grants 1.6666666666666667/s",
    ),
    (
        r#"429 RateLimit: "burst";r=0;t=12 | RateLimit-Policy: "burst";q=100;w=50,"daily";q=864;w=86400"#,
        "refused (quota): 12s, 0 left for 12s, grants 0.01/s",
    ),
    (
        r#"200 RateLimit: "bytes";r=0;t=9 | RateLimit-Policy: "bytes";q=65535;qu="content-bytes";w=10"#,
        "",
    ),
    (
        r#"200 RateLimit: "now";r=0 | RateLimit-Policy: "now";q=5;qu="concurrent-requests""#,
        "",
    ),
    (r#"200 RateLimit: "default";r=-1;t=30"#, ""),
    (r#"200 RateLimit: "default";t=30"#, ""),
    (r#"200 RateLimit: "default;r=1;t=1"#, ""),
    (r#"200 RateLimit-Policy: "a";q=0;w=0, "b";w=5, "c";q=5"#, ""),
    (
        r#"429 RateLimit: "a";r=0;t=12 | Retry-After: 3"#,
        "refused (429 Retry-After): 3s, 0 left for 12s",
    ),
    // The draft, 07.
    (
        "200 RateLimit: limit=100, remaining=50, reset=5 | RateLimit-Policy: 100;w=50",
        "50 left for 5s, grants 2/s",
    ),
    ("200 RateLimit: limit=100, reset=5", ""),
    // The draft before, and what was before the draft.
    (
        "200 RateLimit-Limit: 100 | RateLimit-Remaining: 50 | RateLimit-Reset: 30",
        "50 left for 30s",
    ),
    (
        "200 RateLimit-Limit: 100, 100;w=60 | RateLimit-Remaining: 50 | RateLimit-Reset: 30",
        "50 left for 30s",
    ),
    ("200 RateLimit-Remaining: 0", "0 left for ?s"),
    ("200 RateLimit-Limit: 100 | RateLimit-Reset: 30", ""),
    (
        "200 X-RateLimit-Remaining: many | X-RateLimit-Reset: 30",
        "",
    ),
    (
        "200 X-Rate-Limit-Remaining: 3 | X-Rate-Limit-Reset: 1735732860",
        "3 left for 60s",
    ),
    (
        "200 X-RateLimit-Remaining: 3 | X-RateLimit-Reset: 1735732860.5",
        "3 left for 60.5s",
    ),
    (
        "200 X-RateLimit-Remaining: 3 | X-RateLimit-Reset: 1735732860000",
        "3 left for 60s",
    ),
    (
        "200 X-RateLimit-Remaining: 3 | X-RateLimit-Reset: 9999999999",
        "3 left for 86400s",
    ),
    (
        "429 X-RateLimit-Remaining: 0 | X-RateLimit-Reset: 1735732000",
        "refused (429): backoff, 0 left for 0s",
    ),
    // GitHub.
    (
        "200 x-ratelimit-limit: 5000 | x-ratelimit-remaining: 4999 | x-ratelimit-reset: 1735736400 | x-ratelimit-used: 1",
        "4999 left for 3600s",
    ),
    (
        "403 x-ratelimit-remaining: 0 | x-ratelimit-reset: 1735733400",
        "refused (quota): 600s, 0 left for 600s",
    ),
    (
        "403 x-ratelimit-remaining: 4000 | x-ratelimit-reset: 1735733400",
        "4000 left for 600s",
    ),
    (
        "403 Retry-After: 60 | x-ratelimit-remaining: 4000 | x-ratelimit-reset: 1735733400",
        "refused (403 Retry-After): 60s, 4000 left for 600s",
    ),
    (
        "404 x-ratelimit-remaining: 0 | x-ratelimit-reset: 1735733400",
        "0 left for 600s",
    ),
    // Stripe.
    (
        "429 Stripe-Rate-Limited-Reason: global-rate | Stripe-Should-Retry: true",
        "refused (429): backoff, too much rate, again: true",
    ),
    (
        "429 Stripe-Rate-Limited-Reason: endpoint-concurrency",
        "refused (429): backoff, too much concurrency",
    ),
    (
        "429 Stripe-Rate-Limited-Reason: resource-specific",
        "refused (429): backoff",
    ),
    ("409 Stripe-Should-Retry: false", "again: false"),
    ("409 Stripe-Should-Retry: maybe", ""),
    // Shopify.
    ("200 X-Shopify-Shop-Api-Call-Limit: 31/40", ""),
    (
        "200 X-Shopify-Shop-Api-Call-Limit: 32/40",
        "leaks 2/s for 20s",
    ),
    (
        "200 X-Shopify-Shop-Api-Call-Limit: 80/80",
        "leaks 4/s for 20s",
    ),
    (
        "429 X-Shopify-Shop-Api-Call-Limit: 40/40 | Retry-After: 2.0",
        "refused (429 Retry-After): 2s, leaks 2/s for 20s",
    ),
    ("200 X-Shopify-Shop-Api-Call-Limit: 0/0", ""),
    ("200 X-Shopify-Shop-Api-Call-Limit: full", ""),
    // Salesforce.
    ("200 Sforce-Limit-Info: api-usage=5001/5000", ""),
    ("403 Sforce-Limit-Info: api-usage=25/5000", ""),
    (
        "403 Sforce-Limit-Info: api-usage=5000/5000",
        "refused (quota): 900s",
    ),
    (
        "403 Sforce-Limit-Info: api-usage=18/5000; per-app-api-usage=250/250(appName=acme)",
        "",
    ),
    ("403 Sforce-Limit-Info: unknown", ""),
];

#[test]
fn every_answer_says_what_the_table_has() {
    for (answer, expected) in TABLE {
        assert_eq!(said(answer), *expected, "{answer}");
    }
}

#[test]
fn bytes_that_are_no_text_say_nothing() {
    let mut headers = HeaderMap::new();
    for name in ["retry-after", "ratelimit", "x-ratelimit-remaining"] {
        headers.insert(name, http::HeaderValue::from_bytes(b"\xff\xfe7").unwrap());
    }
    let advice = read(StatusCode::SERVICE_UNAVAILABLE, &headers, noon());
    assert_eq!((advice.refused, advice.quotas), (None, vec![]));
}

proptest! {
    #[test]
    fn no_header_makes_a_wait_beyond_belief(
        status in prop::sample::select(vec![200_u16, 403, 429, 503]),
        values in prop::collection::vec("[ -~]{0,40}|[0-9]{1,40}(\\.[0-9]{1,9})?|\"a\";r=[0-9]{1,30};t=[0-9]{1,30}|[0-9]{1,30}/[0-9]{1,30}", 9),
    ) {
        let names = [
            "retry-after", "ratelimit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset",
            "x-ratelimit-remaining", "x-ratelimit-reset", "x-shopify-shop-api-call-limit", "sforce-limit-info",
        ];
        let headers: HeaderMap = names
            .iter()
            .zip(&values)
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let advice = read(StatusCode::from_u16(status).unwrap(), &headers, noon());
        let wait = advice.refused.and_then(|refused| refused.wait);
        prop_assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= BELIEVED));
        prop_assert!(advice.quotas.iter().all(|quota| quota.reset.is_none_or(|reset| reset <= BELIEVED)));
        prop_assert!(advice.granted.is_none_or(|rate| rate.is_finite() && rate > 0.0));
    }
}
