//! One request from its head to the last byte of its answer.

use super::body::{AnyBody, BodyError, Meter, Metered, text};
use super::judge::{Place, judge};
use super::sending::Sending;
use super::tls::Version;
use super::upstream::{Far, SendError};
use super::{fields, head};
use crate::decision::Refusal;
use crate::event::Endpoint;
use crate::policy::{HttpRule, OnThrottle, RuleAt};
use crate::reason::Reason;
use crate::report::RequestReport;
use crate::shared::Shared;
use crate::throttle::{Budget, Exhausted, Rate, Turn, Waiter};
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, RETRY_AFTER, TE, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request};
use http_body_util::BodyExt;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Tells a client that it was the gateway which refused, and why: the CDK's raises `EgressDenied` on it.
const REFUSED: HeaderName = HeaderName::from_static("caisson-refused");

/// One inspected connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
    pub(super) far: Far,
    pub(super) up: Meter,
    pub(super) down: Meter,
    /// The budget of the last request, and the rate that it is under.
    pub(super) budget: Mutex<Option<(Option<Rate>, Arc<Budget>)>>,
}

/// A request that a rule lets pass.
#[derive(Debug)]
pub(super) struct Admitted {
    rule: RuleAt,
    http: Arc<HttpRule>,
    rate: Option<Rate>,
    on_429: OnThrottle,
    pub(super) upgrades: bool,
    begun: Instant,
    method: Method,
    path: String,
    pub(super) up: Meter,
}

/// There is no answer, and the worker must see that: its connection or stream is reset.
#[derive(Debug, thiserror::Error)]
#[error("the upstream gave no answer")]
pub(super) struct NoAnswer;

impl Connection {
    /// Judges a request by the policy in force at this moment.
    pub(super) fn admit(&self, parts: &request::Parts) -> Result<Admitted, Refusal> {
        let policy = self.shared.policy.borrow().clone();
        let rule = judge(policy.as_deref(), &self.place, parts)?;
        Ok(Admitted {
            rule: rule.at.clone(),
            http: rule.http.clone().unwrap_or_default(),
            rate: rule.rate,
            on_429: rule.on_429,
            upgrades: self.far.version() == Version::One
                && parts.headers.contains_key(UPGRADE)
                && head::tokens(&parts.headers)
                    .iter()
                    .any(|token| token == "upgrade"),
            begun: Instant::now(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            up: self.up.part(),
        })
    }

    /// Reports a refusal, and gives the answer that says so.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response<AnyBody> {
        let status = match refusal.reason {
            Reason::RequestMalformed => StatusCode::BAD_REQUEST,
            Reason::HostMismatch => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::FORBIDDEN,
        };
        let mut told = format!("EGRESS_DENIED: {}: {}\n", refusal.reason, refusal.detail);
        if let Some(rule) = &refusal.rule_to_add {
            told.push_str(&format!(
                "A rule of the policy that would allow it:\n{rule}"
            ));
        }
        let mut response = Response::new(text(told));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(REFUSED, HeaderValue::from_static(refusal.reason.as_str()));
        self.shared.reporter.refused(self.endpoint(), refusal);
        response
    }

    /// Sends an admitted request on, and gives its answer as it comes.
    pub(super) async fn forward(
        &self,
        admitted: Admitted,
        request: Request<AnyBody>,
    ) -> Result<Response<AnyBody>, NoAnswer> {
        let request = self.readdressed(request, &admitted);
        let mut sending = Sending::of(request, admitted.on_429)
            .await
            .map_err(|_| NoAnswer)?;
        let mut waiter = self.waiter();
        let (response, turn) = loop {
            let told = |wait| self.shared.reporter.throttled(self.endpoint(), wait);
            let turn = match self.budget(admitted.rate).turn(&mut waiter, told).await {
                Ok(turn) => turn,
                Err(exhausted) => return Ok(self.exhausted(exhausted)),
            };
            let response = match self.ask(sending.next()).await {
                Ok(response) => response,
                Err(error) => return Err(self.unanswered(&admitted, error)),
            };
            let answered = turn.answered(response.status(), response.headers(), SystemTime::now());
            if !(sending.is_repeatable() && answered.may_retry(&admitted.method)) {
                break (response, turn);
            }
        };
        let status = response.status();
        if is_event_stream(&response) && !admitted.http.event_stream {
            let detail = format!(
                "{}: the answer is a stream of events, and the rule has event_stream: false",
                self.place.name
            );
            let refusal = Refusal {
                nearest: Some(admitted.rule.clone()),
                ..Refusal::flat(Reason::EventStreamNotAllowed, detail)
            };
            return Ok(self.refuse(refusal));
        }
        let report = Report {
            shared: Arc::clone(&self.shared),
            to: self.endpoint(),
            admitted,
            status,
            down: self.down.part(),
            throttled: waiter.waited(),
            _turn: turn,
        };
        let down = report.down.clone();
        Ok(response
            .map(|body| Metered::new(body, down, move |whole| report.tell(whole)).boxed_unsync()))
    }

    fn waiter(&self) -> Waiter {
        let context = &self.shared.context;
        let bounds = &context.bounds;
        Waiter::new(
            Arc::clone(&context.party),
            bounds.deadline,
            bounds.longest_wait,
        )
    }

    /// What this call has of the budget of its credential and the host.
    fn budget(&self, rate: Option<Rate>) -> Arc<Budget> {
        let mut held = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((under, budget)) = &*held
            && *under == rate
        {
            return Arc::clone(budget);
        }
        let budgets = &self.shared.upstream.budgets;
        let budget = Arc::new(budgets.budget(&self.shared.context.payer, &self.place.name, rate));
        *held = Some((rate, Arc::clone(&budget)));
        budget
    }

    /// The answer to a request whose turn does not come in time; the call is ended beside it.
    fn exhausted(&self, exhausted: Exhausted) -> Response<AnyBody> {
        let wait = exhausted
            .until
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let mut response = Response::new(text(format!("QUOTA_EXHAUSTED: {exhausted}\n")));
        *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        response
            .headers_mut()
            .insert(RETRY_AFTER, (wait.as_secs() + 1).into());
        self.shared.reporter.exhausted(self.endpoint(), exhausted);
        response
    }

    fn unanswered(&self, admitted: &Admitted, error: SendError) -> NoAnswer {
        let (address, reason, detail) = match error {
            SendError::Unreached(undialled) => {
                (undialled.address, undialled.reason, undialled.detail)
            }
            SendError::OnPurpose => (
                None,
                Reason::UpstreamBroken,
                "the fault script resets the connection".to_owned(),
            ),
            SendError::NotRecorded(detail) => {
                self.shared.reporter.not_recorded(self.endpoint(), detail);
                return NoAnswer;
            }
            // As below: the worker's own doing.
            SendError::Body(_) => return NoAnswer,
            // The worker's own doing, and told as that where it is to be told.
            SendError::Broken(error) if is_of_body(&error) => return NoAnswer,
            SendError::Broken(error) => {
                let detail = format!("{} {}: {}", admitted.method, self.place.name, chain(&error));
                (self.far.address(), Reason::UpstreamBroken, detail)
            }
        };
        let to = Endpoint {
            address,
            ..self.endpoint()
        };
        self.shared.reporter.failed(to, reason, detail);
        NoAnswer
    }

    /// The request as the upstream gets it: to the one name that this connection is for, without fields of one hop.
    fn readdressed(&self, request: Request<AnyBody>, admitted: &Admitted) -> Request<AnyBody> {
        let (mut parts, body) = request.into_parts();
        let trailers = parts.headers.contains_key(TE);
        fields::strip_hop_by_hop(&mut parts.headers);
        parts.headers.remove(EXPECT);
        let authority = self.place.authority();
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |all| all.as_str())
            .to_owned();
        match self.far.version() {
            Version::One => {
                if let Ok(host) = HeaderValue::from_str(&authority) {
                    parts.headers.insert(HOST, host);
                }
                parts.uri = target.parse().unwrap_or_default();
                parts.version = http::Version::HTTP_11;
                if admitted.upgrades {
                    parts
                        .headers
                        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                    parts
                        .headers
                        .insert(UPGRADE, HeaderValue::from_static("websocket"));
                }
            }
            Version::Two => {
                parts.headers.remove(HOST);
                // The one field of one hop that HTTP/2 has (RFC 9113, 8.2.2); gRPC's servers ask for it.
                if trailers {
                    parts
                        .headers
                        .insert(TE, HeaderValue::from_static("trailers"));
                }
                let target = if target == "*" {
                    "/".to_owned()
                } else {
                    target
                };
                let uri = Uri::builder()
                    .scheme("https")
                    .authority(authority)
                    .path_and_query(target)
                    .build();
                parts.uri = uri.unwrap_or_default();
                parts.version = http::Version::HTTP_2;
            }
        }
        Request::from_parts(parts, body)
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::of(
            &self.place.target,
            self.far.address(),
            Some(self.place.port),
            Cow::Borrowed("https"),
        )
    }
}

/// What the audit log says of a request once its answer is over.
struct Report {
    shared: Arc<Shared>,
    to: Endpoint,
    admitted: Admitted,
    status: StatusCode,
    down: Meter,
    throttled: Duration,
    /// Given back once the answer is over.
    _turn: Turn,
}

impl Report {
    fn tell(self, whole: bool) {
        self.shared.reporter.request(RequestReport {
            to: self.to,
            rule: self.admitted.rule,
            method: self.admitted.method.to_string(),
            path: self.admitted.path,
            status: self.status.as_u16(),
            bytes_up: self.admitted.up.get(),
            bytes_down: self.down.get(),
            open: self.admitted.begun.elapsed(),
            throttled: self.throttled,
            whole,
        });
    }
}

fn is_event_stream<B>(response: &Response<B>) -> bool {
    let kind = response
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let essence = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"text/event-stream")
}

/// Whether it was the request's body that broke off.
fn is_of_body(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<BodyError>())
}

/// An error with its causes: hyper's own words are short.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    told
}
