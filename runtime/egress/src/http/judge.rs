//! One request against the policy in force: whom it is to, what it asks, and what is no request at all.

use super::ask::{Ask, Other, Upgrade, target};
use super::path::{Path, PathError};
use crate::decision::{Refusal, reaches, rules_for};
use crate::host::Target;
use crate::name::Name;
use crate::policy::{Bound, BoundRule, Protocol};
use crate::reason::Reason;
use caisson_without::{Part, without};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Uri, Version, request};
use std::net::IpAddr;

/// Longest method, characters: the longest that is registered has 17.
const LONGEST_METHOD: usize = 32;

/// Where a connection goes: what every request on it must be for.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) target: Target,
    /// The name that the certificate is for.
    pub(crate) name: Name,
    pub(crate) port: u16,
}

impl Place {
    /// As requests name it: with its port where that is not the usual one.
    pub(super) fn authority(&self) -> String {
        match self.port {
            443 => self.name.to_string(),
            port => format!("{}:{port}", self.name),
        }
    }
}

/// Whether a request passes, by which rule, and as what. `address` is where the upstream was dialled, if it was.
pub(super) fn judge<'a>(
    bound: Option<&'a Bound>,
    place: &Place,
    address: Option<IpAddr>,
    parts: &request::Parts,
) -> Result<(&'a BoundRule, Ask), Refusal> {
    well_formed(parts)?;
    addressed(place, parts)?;
    let ask = Ask::of(parts);
    rejudge(bound, place, address, &ask).map(|rule| (rule, ask))
}

/// Whether a request that was let pass passes still.
pub(super) fn rejudge<'a>(
    bound: Option<&'a Bound>,
    place: &Place,
    address: Option<IpAddr>,
    ask: &Ask,
) -> Result<&'a BoundRule, Refusal> {
    let Some(bound) = bound else {
        return Err(Refusal::flat(
            Reason::NoPolicy,
            "no policy file is for this connector version any more",
        ));
    };
    let rules = rules_for(bound, &place.target, place.port)
        .filter(|rule| rule.protocol == Protocol::Https)
        .filter(|rule| address.is_none_or(|address| reaches(rule, address)));
    ruled(rules, place, ask)
}

/// What no server should be asked, whatever the policy says.
fn well_formed(parts: &request::Parts) -> Result<(), Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(malformed(format!(
            "its method is {}, which is never passed",
            parts.method
        )));
    }
    if parts.method.as_str().len() > LONGEST_METHOD {
        return Err(malformed(format!(
            "its method is longer than {LONGEST_METHOD} characters"
        )));
    }
    let asterisk = parts.uri.path() == "*";
    if asterisk && parts.method != Method::OPTIONS {
        return Err(malformed("its target is *, which only OPTIONS asks"));
    }
    if parts.version == Version::HTTP_2 {
        // RFC 9113, 8.2.2: such fields make a request malformed, and smuggle one where it is translated.
        for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
            if parts.headers.contains_key(&name) {
                return Err(malformed(format!(
                    "it has the field {name}, which HTTP/2 does not know"
                )));
            }
        }
        for name in ["keep-alive", "proxy-connection"] {
            if parts.headers.contains_key(name) {
                return Err(malformed(format!(
                    "it has the field {name}, which HTTP/2 does not know"
                )));
            }
        }
        if parts
            .headers
            .get(TE)
            .is_some_and(|value| value != "trailers")
        {
            return Err(malformed("its field TE says something else than trailers"));
        }
        if parts.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
            return Err(malformed("it has more than one Content-Length"));
        }
    }
    Ok(())
}

/// Host, `:authority` and SNI are one name (RFC 9110, 7.2; RFC 9113, 8.3.1).
fn addressed(place: &Place, parts: &request::Parts) -> Result<(), Refusal> {
    let hosts: Vec<&str> = hosts(&parts.headers, &parts.uri)
        .map_err(|()| mismatch(place, "a host that is no text"))?;
    if hosts.is_empty() && parts.version != Version::HTTP_10 {
        return Err(malformed("it names no host"));
    }
    for host in hosts {
        if !is_same(host, place) {
            return Err(mismatch(
                place,
                &format!("{:?}", host.chars().take(300).collect::<String>()),
            ));
        }
    }
    Ok(())
}

fn hosts<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Result<Vec<&'a str>, ()> {
    let mut hosts: Vec<&str> = uri
        .authority()
        .map(|authority| authority.as_str())
        .into_iter()
        .collect();
    for value in headers.get_all(HOST) {
        hosts.push(value.to_str().map_err(|_| ())?);
    }
    Ok(hosts)
}

fn is_same(written: &str, place: &Place) -> bool {
    let (host, port) = match written.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (written, None),
    };
    let same_port = match port {
        None => true,
        Some(port) => {
            !port.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse() == Ok(place.port)
        }
    };
    let is_name = || Name::parse(host).is_ok_and(|name| name == place.name);
    same_port && (host == place.name.as_str() || is_name())
}

fn ruled<'a>(
    rules: impl Iterator<Item = &'a BoundRule>,
    place: &Place,
    ask: &Ask,
) -> Result<&'a BoundRule, Refusal> {
    let mut nearest: Option<(Refusal, u8)> = None;
    let path = path_of(&ask.uri);
    for rule in rules {
        match pass(rule, place, ask, &path) {
            Ok(()) => return Ok(rule),
            Err((refusal, nearness)) => {
                if nearest.as_ref().is_none_or(|(_, best)| nearness > *best) {
                    nearest = Some((refusal, nearness));
                }
            }
        }
    }
    let none = || {
        Refusal::flat(
            Reason::PolicyChanged,
            "no rule of the policy in force inspects this connection",
        )
    };
    Err(nearest.map_or_else(none, |(refusal, _)| refusal))
}

fn path_of(uri: &Uri) -> Result<Option<Path>, PathError> {
    if uri.path() == "*" {
        Ok(None)
    } else {
        Path::parse(uri.path()).map(Some)
    }
}

/// The refusal comes with how near the rule came: the nearest one is told.
fn pass(
    rule: &BoundRule,
    place: &Place,
    ask: &Ask,
    path: &Result<Option<Path>, PathError>,
) -> Result<(), (Refusal, u8)> {
    let Some(http) = &rule.http else {
        return Ok(());
    };
    if without(Part::HttpRules) {
        return Ok(());
    }
    let method = ask.method.as_str();
    let refuse = |reason, detail: String| Refusal {
        nearest: Some(rule.at.clone()),
        rule_to_add: offer(place, method, path),
        ..Refusal::flat(reason, detail)
    };
    let flat = |reason, detail: String| Refusal {
        rule_to_add: None,
        ..refuse(reason, detail)
    };
    if let Some(patterns) = &http.paths {
        let path = match path {
            Ok(path) => path.as_ref(),
            Err(error) => {
                let detail = format!(
                    "{method} {}: the path cannot be judged, since {error}",
                    place.name
                );
                return Err((flat(Reason::PathAmbiguous, detail), 0));
            }
        };
        let fits = |path: &Path| patterns.iter().any(|pattern| pattern.matches(path));
        if !path.is_some_and(fits) {
            let shown = path.map_or("*", Path::as_str);
            let detail = format!("{method} {}{shown}: the path is in no rule", place.name);
            return Err((refuse(Reason::PathNotAllowed, detail), 1));
        }
        for other in &ask.others {
            if let Other::Target(name, value) = other
                && !target(value).is_some_and(|path| fits(&path))
            {
                let detail = format!(
                    "{method} {}: its field {name} names another path, which is in no rule",
                    place.name
                );
                return Err((flat(Reason::PathNotAllowed, detail), 1));
            }
        }
    }
    if let Some(methods) = &http.methods {
        let allowed = |method: &[u8]| methods.iter().any(|own| own.as_bytes() == method);
        if !allowed(method.as_bytes()) {
            let detail = format!(
                "{method} {}: the rule allows {} only",
                place.name,
                methods.join(", ")
            );
            return Err((refuse(Reason::MethodNotAllowed, detail), 2));
        }
        for other in &ask.others {
            if let Other::Method(name, value) = other
                && !allowed(value.as_bytes().to_ascii_uppercase().trim_ascii())
            {
                let detail = format!(
                    "{method} {}: its field {name} names another method, and the rule allows {} only",
                    place.name,
                    methods.join(", ")
                );
                return Err((flat(Reason::MethodNotAllowed, detail), 2));
            }
        }
    }
    match ask.upgrade {
        Some(Upgrade::WebSocket) if !http.websocket => {
            let detail = format!("{}: the connection would become a WebSocket", place.name);
            let refusal = Refusal {
                rule_to_add: Some("  http: { websocket: true }\n".to_owned()),
                ..refuse(Reason::UpgradeNotAllowed, detail)
            };
            Err((refusal, 3))
        }
        Some(Upgrade::Other) => {
            let detail = format!(
                "{}: the connection would become another protocol",
                place.name
            );
            Err((flat(Reason::UpgradeNotAllowed, detail), 3))
        }
        _ => Ok(()),
    }
}

/// The rule that would allow the request.
fn offer(place: &Place, method: &str, path: &Result<Option<Path>, PathError>) -> Option<String> {
    let path = path.as_ref().ok()?.as_ref()?.as_str();
    // A star of the path would be one of the rule.
    if path.contains('*') {
        return None;
    }
    // Some words of YAML are no text, and a method may be spelt as any of them.
    let plain = method
        .bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = if plain && !method.starts_with('-') {
        method.to_owned()
    } else {
        format!("\"{method}\"")
    };
    Some(format!(
        "- host: {}\n  ports: [{}]\n  protocol: https\n  http: {{ methods: [{method}], paths: [\"{path}\"] }}\n",
        place.name, place.port
    ))
}

pub(super) fn malformed(why: impl std::fmt::Display) -> Refusal {
    Refusal::flat(
        Reason::RequestMalformed,
        format!("the request is refused: {why}"),
    )
}

fn mismatch(place: &Place, written: &str) -> Refusal {
    let detail = format!(
        "the request is for {written}, and the connection is to {} port {}",
        place.name, place.port
    );
    Refusal::flat(Reason::HostMismatch, detail)
}

/// Whether a request passes, for tests of what writes rules.
#[cfg(test)]
pub(crate) fn allows(
    bound: &Bound,
    name: &Name,
    port: u16,
    method: &str,
    path: &str,
    upgraded: bool,
) -> bool {
    let place = Place {
        target: Target::Name(name.clone()),
        name: name.clone(),
        port,
    };
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, place.authority());
    if upgraded {
        request = request
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket");
    }
    request
        .body(())
        .is_ok_and(|request| judge(Some(bound), &place, None, &request.into_parts().0).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ask::{METHODS, TARGETS};
    use crate::policy::Policy;
    use http::Request;
    use serde_json::Value;
    use std::sync::Arc;

    fn bound(rules: &str) -> Bound {
        let text = format!("format: 1\nconnector: shop\negress:\n{rules}");
        Arc::new(Policy::parse("shop.yaml", &text).unwrap()).bind(&Value::Null)
    }

    fn place() -> Place {
        let name = Name::parse("api.example").unwrap();
        Place {
            target: Target::Name(name.clone()),
            name,
            port: 443,
        }
    }

    fn parts(
        version: Version,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> request::Parts {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn reason(bound: &Bound, parts: &request::Parts) -> Result<usize, Reason> {
        judge(Some(bound), &place(), None, parts)
            .map(|(rule, _)| rule.at.index)
            .map_err(|refusal| refusal.reason)
    }

    const RULES: &str = "  - { host: api.example, ports: [443], protocol: https, http: { methods: [GET], paths: [\"/v1/**\"] } }\n\
                         \x20 - { host: '*.example', ports: [443], protocol: https, http: { methods: [POST], paths: [/v1/search] } }\n\
                         \x20 - { host: api.example, ports: [8443], protocol: https }\n";

    #[test]
    fn the_first_rule_that_allows_the_method_on_the_path_wins() {
        let bound = bound(RULES);
        let ask = |method: &str, uri: &str| {
            reason(
                &bound,
                &parts(Version::HTTP_11, method, uri, &[("host", "api.example")]),
            )
        };
        assert_eq!(ask("GET", "/v1/orders?since=/admin"), Ok(0));
        assert_eq!(ask("POST", "/v1/search"), Ok(1));
        assert_eq!(ask("POST", "/v1/orders"), Err(Reason::MethodNotAllowed));
        assert_eq!(ask("GET", "/admin"), Err(Reason::PathNotAllowed));
        assert_eq!(ask("GET", "/v1/%2e%2e/admin"), Err(Reason::PathAmbiguous));
        assert_eq!(ask("get", "/v1/orders"), Err(Reason::MethodNotAllowed));
        assert_eq!(ask("TRACE", "/v1/orders"), Err(Reason::RequestMalformed));
        assert_eq!(ask("OPTIONS", "*"), Err(Reason::PathNotAllowed));
        assert_eq!(ask("GET", "*"), Err(Reason::RequestMalformed));
    }

    #[test]
    fn a_refused_request_comes_with_the_rule_that_would_allow_it() {
        let bound = bound(RULES);
        let parts = parts(
            Version::HTTP_11,
            "DELETE",
            "/v1/orders/7?force=1",
            &[("host", "api.example")],
        );
        let refusal = judge(Some(&bound), &place(), None, &parts).unwrap_err();
        let rule = refusal.rule_to_add.unwrap();
        assert!(!rule.contains("force"), "{rule}");
        let widened = self::bound(
            &rule
                .lines()
                .map(|line| format!("  {line}\n"))
                .collect::<String>(),
        );
        assert_eq!(reason(&widened, &parts), Ok(0));
    }

    #[test]
    fn host_authority_and_name_are_one() {
        let bound = bound("  - { host: api.example, ports: [443], protocol: https }\n");
        let one =
            |hosts: &[(&str, &str)]| reason(&bound, &parts(Version::HTTP_11, "GET", "/", hosts));
        for host in [
            "api.example",
            "API.Example",
            "api.example:443",
            "api.example.",
        ] {
            assert_eq!(one(&[("host", host)]), Ok(0), "{host}");
        }
        for host in [
            "other.example",
            "api.example:8443",
            "api.example:",
            "api.example:+443",
            "a@api.example",
            "api.example/",
            "",
            "[::1]",
            "api.example, other.example",
        ] {
            assert_eq!(one(&[("host", host)]), Err(Reason::HostMismatch), "{host}");
        }
        assert_eq!(one(&[]), Err(Reason::RequestMalformed));
        assert_eq!(
            one(&[("host", "api.example"), ("host", "other.example")]),
            Err(Reason::HostMismatch)
        );
        let two = |uri: &str, hosts: &[(&str, &str)]| {
            reason(&bound, &parts(Version::HTTP_2, "GET", uri, hosts))
        };
        assert_eq!(two("https://api.example/", &[]), Ok(0));
        assert_eq!(
            two("https://api.example:443/", &[("host", "api.example")]),
            Ok(0)
        );
        assert_eq!(
            two("https://other.example/", &[("host", "api.example")]),
            Err(Reason::HostMismatch)
        );
        assert_eq!(
            two("https://api.example/", &[("host", "other.example")]),
            Err(Reason::HostMismatch)
        );
        assert_eq!(
            two("https://x@api.example/", &[]),
            Err(Reason::HostMismatch)
        );
    }

    #[test]
    fn fields_of_one_hop_make_a_request_of_http_2_malformed() {
        let bound = bound("  - { host: api.example, ports: [443], protocol: https }\n");
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
        ] {
            let parts = parts(
                Version::HTTP_2,
                "GET",
                "https://api.example/",
                &[(name, value)],
            );
            assert_eq!(
                reason(&bound, &parts),
                Err(Reason::RequestMalformed),
                "{name}"
            );
        }
        let parts = parts(
            Version::HTTP_2,
            "POST",
            "https://api.example/",
            &[("te", "trailers")],
        );
        assert_eq!(reason(&bound, &parts), Ok(0));
    }

    #[test]
    fn fields_that_some_upstreams_take_for_method_or_target_are_judged_too() {
        let bound = bound(RULES);
        let ask = |name: &str, value: &str| {
            let headers = [("host", "api.example"), (name, value)];
            reason(&bound, &parts(Version::HTTP_11, "GET", "/v1/a", &headers))
        };
        for name in METHODS {
            assert_eq!(ask(name, "DELETE"), Err(Reason::MethodNotAllowed), "{name}");
            assert_eq!(ask(name, "get"), Ok(0), "{name}");
        }
        for name in TARGETS {
            for value in ["/admin", "https://api.example/admin", "/v1/../admin", "?"] {
                assert_eq!(
                    ask(name, value),
                    Err(Reason::PathNotAllowed),
                    "{name}: {value}"
                );
            }
            assert_eq!(ask(name, "/v1/b?x"), Ok(0), "{name}");
        }
    }

    #[test]
    fn a_rule_counts_only_for_addresses_that_it_reaches() {
        let bound = bound(
            "  - { host: api.example, ports: [443], networks: [10.0.0.0/8], protocol: https, http: { methods: [GET] } }\n\
             \x20 - { host: '*.example', ports: [443], protocol: https }\n",
        );
        let parts = parts(Version::HTTP_11, "DELETE", "/", &[("host", "api.example")]);
        let at = |address: &str| {
            let address = address.parse().unwrap();
            judge(Some(&bound), &place(), Some(address), &parts).map(|(rule, _)| rule.at.index)
        };
        assert_eq!(at("10.1.2.3").unwrap_err().reason, Reason::MethodNotAllowed);
        assert_eq!(at("93.184.216.34").unwrap(), 1);
    }

    #[test]
    fn a_method_beyond_all_measure_is_none() {
        let bound = bound("  - { host: api.example, ports: [443], protocol: https }\n");
        let ask = |method: &str| {
            reason(
                &bound,
                &parts(Version::HTTP_11, method, "/", &[("host", "api.example")]),
            )
        };
        assert_eq!(ask(&"A".repeat(33)), Err(Reason::RequestMalformed));
        assert_eq!(ask("VERSION-CONTROL"), Ok(0));
    }

    #[test]
    fn an_upgrade_needs_a_rule_that_names_it() {
        let asks = [
            ("host", "api.example"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
        ];
        let parts = |headers: &[(&str, &str)]| self::parts(Version::HTTP_11, "GET", "/", headers);
        let closed = bound("  - { host: api.example, ports: [443], protocol: https }\n");
        assert_eq!(
            reason(&closed, &parts(&asks)),
            Err(Reason::UpgradeNotAllowed)
        );
        let open = bound(
            "  - { host: api.example, ports: [443], protocol: https, http: { websocket: true } }\n",
        );
        assert_eq!(reason(&open, &parts(&asks)), Ok(0));
        let other = [asks[0], asks[1], ("upgrade", "h2c")];
        assert_eq!(
            reason(&open, &parts(&other)),
            Err(Reason::UpgradeNotAllowed)
        );
        // Without the option of Connection it is an ordinary field, and goes no further.
        assert_eq!(reason(&closed, &parts(&[asks[0], asks[2]])), Ok(0));
    }
}
