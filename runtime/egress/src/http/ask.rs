//! What a request asks for: its own method and target, and what it names beside them.

use super::head::has_token;
use super::path::Path;
use http::header::UPGRADE;
use http::{HeaderValue, Method, Uri, Version, request};

/// What of a request rules look at, kept as long as it is under way.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// The protocol that the connection would become.
    pub(super) upgrade: Option<Upgrade>,
    /// Other methods and targets that fields of it name, by which some upstreams go (`X-HTTP-Method-Override`).
    pub(super) others: Vec<Other>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    WebSocket,
    Other,
}

#[derive(Debug, Clone)]
pub(super) enum Other {
    Method(&'static str, HeaderValue),
    Target(&'static str, HeaderValue),
}

/// Fields whose value is taken for the method: OData, Google's APIs, and middleware of many frameworks.
pub(super) const METHODS: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];
/// Fields whose value is taken for the target: IIS, and frameworks that stood behind it.
pub(super) const TARGETS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

impl Ask {
    pub(super) fn of(parts: &request::Parts) -> Self {
        // One look at the names that there are is cheaper than one for each of these.
        let others = parts.headers.iter().filter_map(|(name, value)| {
            let name = name.as_str();
            if !name.starts_with("x-") {
                return None;
            }
            let of = |names: &[&'static str]| names.iter().copied().find(|own| *own == name);
            of(&METHODS)
                .map(|name| Other::Method(name, value.clone()))
                .or_else(|| of(&TARGETS).map(|name| Other::Target(name, value.clone())))
        });
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            upgrade: upgrade(parts),
            others: others.collect(),
        }
    }
}

/// Whether every method and every path that a request names passes: its own, and those of fields that some upstreams go by.
pub(super) fn names_only(
    parts: &request::Parts,
    method: impl Fn(&str) -> bool,
    path: impl Fn(Option<&Path>) -> bool,
) -> bool {
    let ask = Ask::of(parts);
    let others = ask.others.iter().all(|other| match other {
        Other::Method(_, value) => {
            let named = value.as_bytes().to_ascii_uppercase();
            std::str::from_utf8(named.trim_ascii()).is_ok_and(&method)
        }
        Other::Target(_, value) => path(target(value).as_ref()),
    });
    let own = Path::parse(ask.uri.path()).ok();
    others && method(ask.method.as_str()) && path(own.as_ref())
}

fn upgrade(parts: &request::Parts) -> Option<Upgrade> {
    let to = parts.headers.get(UPGRADE)?;
    let asks = parts.version != Version::HTTP_2 && has_token(&parts.headers, "upgrade");
    let websocket = to.as_bytes().eq_ignore_ascii_case(b"websocket")
        && parts.headers.get_all(UPGRADE).iter().count() == 1;
    asks.then_some(if websocket {
        Upgrade::WebSocket
    } else {
        Upgrade::Other
    })
}

/// A target as it was asked, with its query: what is told of it is cut once no secret is in it.
pub(super) fn asked(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// The path of a field that names a target, or a whole address.
pub(super) fn target(value: &HeaderValue) -> Option<Path> {
    let uri: Uri = value.to_str().ok()?.trim().parse().ok()?;
    Path::parse(uri.path()).ok()
}
