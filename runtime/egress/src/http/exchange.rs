//! One request from its head to the last byte of its answer.

use super::ask::{Ask, asked};
use super::body::{AnyBody, BodyError, Meter, Metered, text};
use super::judge::{Place, judge};
use super::seal::{Unsealed, Used};
use super::sending::Sending;
use super::sent::{Report, Switched};
use super::tls::Version;
use super::under_way::{Listed, UnderWay};
use super::upstream::{Far, SendError};
use super::{fields, head};
use crate::client_certificate;
use crate::decision::Refusal;
use crate::event::Endpoint;
use crate::policy::{HttpRule, OnThrottle, RuleAt, Seal};
use crate::reason::Reason;
use crate::shared::Shared;
use crate::throttle::{Budget, Exhausted, Rate, Waiter};
use caisson_secrets::ProviderError;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, EXPECT, HOST, IF_RANGE, RANGE, RETRY_AFTER,
    SEC_WEBSOCKET_EXTENSIONS, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, request};
use http_body_util::BodyExt;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Tells a client that it was the gateway which refused, and why: the CDK's raises `EgressDenied` on it.
const REFUSED: HeaderName = HeaderName::from_static("caisson-refused");

/// Times that a request is sent because the upstream said that it came too soon.
const TRIES: u32 = 20;

/// One inspected connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Place,
    /// As requests name the place.
    pub(super) authority: HeaderValue,
    pub(super) far: Far,
    pub(super) up: Meter,
    pub(super) down: Meter,
    /// The budget of the last request, and the rate that it is under.
    pub(super) budget: Mutex<Option<(Option<Rate>, Arc<Budget>)>>,
    pub(super) under_way: Arc<UnderWay>,
}

/// A request that a rule lets pass.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) rule: RuleAt,
    http: Arc<HttpRule>,
    rate: Option<Rate>,
    on_429: OnThrottle,
    pub(super) upgrades: bool,
    pub(super) begun: Instant,
    pub(super) ask: Arc<Ask>,
    pub(super) up: Meter,
    /// Judged again where the policy changes, until the answer is over.
    _listed: Listed,
}

impl Admitted {
    /// A refusal that is this request's.
    pub(super) fn refused(&self, refusal: Refusal) -> Refusal {
        refusal.of(&self.ask.method, asked(&self.ask.uri))
    }
}

/// There is no answer, and the worker must see that: its connection or stream is reset.
#[derive(Debug, thiserror::Error)]
#[error("the upstream gave no answer")]
pub(super) struct NoAnswer;

impl Connection {
    /// Judges a request by the policy in force at this moment.
    pub(super) fn admit(&self, parts: &request::Parts) -> Result<Admitted, Refusal> {
        let policy = self.shared.policy.borrow().clone();
        let address = self.far.address();
        let (rule, ask) = judge(policy.as_deref(), &self.place, address, parts)
            .map_err(|refusal| refusal.of(&parts.method, asked(&parts.uri)))?;
        let ask = Arc::new(ask);
        self.up.add(size(parts));
        Ok(Admitted {
            _listed: self.under_way.list(Arc::clone(&ask)),
            rule: rule.at.clone(),
            http: rule.http.clone().unwrap_or_default(),
            rate: rule.rate,
            on_429: rule.on_429,
            upgrades: self.far.version() == Version::One
                && parts.headers.contains_key(UPGRADE)
                && head::has_token(&parts.headers, "upgrade"),
            begun: Instant::now(),
            ask,
            up: self.up.part(),
        })
    }

    /// Whether the worker has so many connections that each gets little memory.
    pub(super) fn is_small(&self) -> bool {
        super::is_small(&self.shared)
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
        let method = request.method().clone();
        let waits = admitted.on_429 == OnThrottle::Retry && method.is_idempotent();
        let mut sending = Sending::of(request, waits || self.has_tokens());
        let mut used: Option<Used> = None;
        let mut report = Report::of(self, admitted);
        let mut waiter = self.waiter();
        let (mut tries, mut renewed) = (0, false);
        let mut response = loop {
            let told = |wait| self.shared.reporter.throttled(self.endpoint(), wait);
            let turn = match self
                .budget(report.admitted.rate)
                .turn(&mut waiter, told)
                .await
            {
                Ok(turn) => turn,
                Err(exhausted) => return Ok(self.exhausted(exhausted)),
            };
            report.throttled = waiter.waited();
            let turn = report.turn.insert(turn);
            // Only now, and each time, so that a policy that changed meanwhile counts.
            let asked = sending.next(&self.shared).await.map_err(|_| NoAnswer)?;
            let (asked, put_in) = match self.sealed(asked).await {
                Ok(sealed) => sealed,
                Err(Unsealed::Misplaced(refusal)) => {
                    return Ok(self.refuse(report.admitted.refused(refusal)));
                }
                Err(Unsealed::Unavailable(error)) => return Ok(self.without_secret(&error)),
            };
            let before = used.as_ref().map_or(&put_in.seals, |used| &used.seals);
            if *before != put_in.seals || put_in.seals != self.seals() {
                let changed = "the policy no longer has the same secrets put into requests";
                let refusal = Refusal::flat(Reason::PolicyChanged, changed);
                return Ok(self.refuse(report.admitted.refused(refusal)));
            }
            let put_in = used.insert(put_in);
            report.sent = true;
            let asked = self.readdressed(asked, &report.admitted);
            let response = match self.ask(asked).await {
                Ok(response) => response,
                Err(error) => return Err(self.unanswered(&mut report, error)),
            };
            let status = response.status();
            report.status = Some(status);
            let answered = turn.answered(status, response.headers(), SystemTime::now());
            tries += 1;
            let mut again = waits && answered.may_retry(&method);
            if status != StatusCode::UNAUTHORIZED {
                put_in.taken();
            } else if !renewed {
                renewed = match put_in.renew().await {
                    Ok(renewed) => renewed,
                    Err(error) => return Ok(self.without_secret(&error)),
                };
                again |= renewed;
            }
            if !again || !sending.is_repeatable() || tries == TRIES {
                break response;
            }
            // Its place is another's while this one waits.
            report.turn = None;
        };
        let sealed_here = used.is_some_and(|used| used.seals.is_some());
        if let Some(sealing) = self.shared.sealing.as_ref().filter(|_| sealed_here) {
            response = sealing.scrubbed(&method, response);
        }
        // Only the gateway says that it was the gateway.
        response.headers_mut().remove(REFUSED);
        if is_event_stream(&response) && !report.admitted.http.event_stream {
            let detail = format!(
                "{}: the answer is a stream of events, and the rule has event_stream: false",
                self.place.name
            );
            let refusal = Refusal {
                nearest: Some(report.admitted.rule.clone()),
                ..Refusal::flat(Reason::EventStreamNotAllowed, detail)
            };
            return Ok(self.refuse(report.admitted.refused(refusal)));
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            response.extensions_mut().insert(Switched(Arc::new(report)));
            return Ok(response);
        }
        let down = report.down.clone();
        Ok(response.map(|body| {
            let over = move |whole| report.over(whole);
            Metered::new(body, down, over).boxed_unsync()
        }))
    }

    /// The request with the values of the call's sealed secrets in it.
    async fn sealed(
        &self,
        mut request: Request<AnyBody>,
    ) -> Result<(Request<AnyBody>, Used), Unsealed> {
        let Some(sealing) = &self.shared.sealing else {
            return Ok((request, Used::default()));
        };
        // Of messages that are coded nobody could tell what is in them.
        request.headers_mut().remove(SEC_WEBSOCKET_EXTENSIONS);
        let Some(bound) = self.shared.policy.borrow().clone() else {
            return Ok((request, Used::default()));
        };
        let misplaced = {
            let (shared, to) = (Arc::clone(&self.shared), self.endpoint());
            let (method, target) = (request.method().clone(), asked(request.uri()).to_owned());
            move |refusal: Refusal| shared.reporter.refused(to, refusal.of(&method, &target))
        };
        let put_in = sealing.put_in(&bound, &self.place, &self.shared, request, misplaced);
        let (mut request, used) = put_in.await?;
        if used.seals.is_some() {
            let headers = request.headers_mut();
            headers
                .entry(ACCEPT_ENCODING)
                .or_insert(HeaderValue::from_static("identity"));
            crate::cassette::accept_encoding(headers);
            // In slices, a value could be read that no slice holds whole.
            let of_bytes = |value: &HeaderValue| value.as_bytes().starts_with(b"bytes");
            if headers.get(RANGE).is_some_and(of_bytes) {
                headers.remove(RANGE);
                headers.remove(IF_RANGE);
            }
        }
        Ok((request, used))
    }

    /// Whether an access token may be put into requests here, so that they may have to be sent twice.
    fn has_tokens(&self) -> bool {
        let policy = self.shared.policy.borrow().clone();
        let (Some(sealing), Some(bound)) = (&self.shared.sealing, policy) else {
            return false;
        };
        sealing.has_tokens(&bound, &self.place)
    }

    /// The answer to a request for which there is no access token; the call is ended beside it. Why is for its caller.
    fn without_secret(&self, error: &ProviderError) -> Response<AnyBody> {
        let told = "SECRET_UNAVAILABLE: there is no access token\n".to_owned();
        let mut response = Response::new(text(told));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        self.shared
            .reporter
            .secret_unavailable(self.endpoint(), error);
        response
    }

    /// The seals of this place that are in force.
    fn seals(&self) -> Option<Vec<Seal>> {
        let policy = self.shared.policy.borrow().clone();
        self.shared
            .sealing
            .as_ref()?
            .of_place(&*policy?, &self.place)
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
        let policy = self.shared.policy.borrow().clone();
        let seals = policy.as_ref().map_or(&[][..], |bound| &bound.policy.seals);
        let (context, place) = (&self.shared.context, &self.place);
        let payer = &context.payer;
        let credential = payer.at(&place.name, place.port, &context.sealed, seals);
        let budget = Arc::new(budgets.budget(&credential, &place.name, rate));
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

    fn unanswered(&self, report: &mut Report, error: SendError) -> NoAnswer {
        let (address, reason, detail) = match error {
            SendError::Unreached(undialled) => {
                // One that was answered before, and was to be sent anew, has its line all the same.
                report.sent = report.status.is_some();
                (undialled.address, undialled.reason, undialled.detail)
            }
            SendError::OnPurpose => (
                None,
                Reason::UpstreamBroken,
                "the fault script resets the connection".to_owned(),
            ),
            SendError::NotRecorded(detail) => {
                report.sent = false;
                self.shared.reporter.not_recorded(self.endpoint(), detail);
                return NoAnswer;
            }
            // As below: the worker's own doing.
            SendError::Body(_) => return NoAnswer,
            // The worker's own doing, and told as that where it is to be told.
            SendError::Broken(error) if is_of_body(&error) => return NoAnswer,
            SendError::Broken(error) => {
                let method = &report.admitted.ask.method;
                let detail = format!("{method} {}: {}", self.place.name, chain(&error));
                match self.far.wants_certificate().filter(|_| hung_up(&error)) {
                    Some(wanted) => {
                        let detail = format!("{detail}; {wanted}");
                        let reason = Reason::ClientCertificateWanted;
                        (self.far.address(), reason, detail)
                    }
                    None if is_alert(&error) => (self.far.address(), Reason::TlsFailed, detail),
                    None => (self.far.address(), Reason::UpstreamBroken, detail),
                }
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
        let chunked = parts.headers.contains_key(TRANSFER_ENCODING);
        fields::strip_hop_by_hop(&mut parts.headers);
        parts.headers.remove(EXPECT);
        match self.far.version() {
            Version::One => {
                parts.headers.insert(HOST, self.authority.clone());
                parts.version = http::Version::HTTP_11;
                if chunked {
                    // Said in so many words, since a GET is otherwise taken for one without a body.
                    let chunked = HeaderValue::from_static("chunked");
                    parts.headers.insert(TRANSFER_ENCODING, chunked);
                }
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
                let target = parts.uri.path_and_query().cloned();
                let target = target
                    .filter(|target| target.as_str() != "*")
                    .unwrap_or_else(|| PathAndQuery::from_static("/"));
                let uri = Uri::builder()
                    .scheme("https")
                    .authority(self.authority.as_bytes())
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

/// Bytes of a head, as HTTP/1.1 writes it.
fn size(parts: &request::Parts) -> usize {
    let line = parts.method.as_str().len()
        + parts
            .uri
            .path_and_query()
            .map_or(1, |all| all.as_str().len());
    let fields = parts.headers.iter();
    line + fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
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

/// Whether the upstream ended TLS with an alert, as it does where it does not take a client's certificate.
fn is_alert(error: &hyper::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let mut failures = causes.filter_map(|error| error.downcast_ref::<std::io::Error>());
    failures.any(client_certificate::is_alert)
}

/// Whether the connection ended, rather than bring what is no HTTP, or nothing, or the end of this request alone.
fn hung_up(error: &hyper::Error) -> bool {
    let mut causes =
        std::iter::successors(std::error::Error::source(error), |error| error.source());
    let is_reset = causes.any(|error| {
        error
            .downcast_ref::<h2::Error>()
            .is_some_and(h2::Error::is_reset)
    });
    !is_reset && !error.is_parse() && !error.is_timeout() && !error.is_user()
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
