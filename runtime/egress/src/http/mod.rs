//! The gateway's own end of HTTPS: TLS ends here, and every request is judged before the upstream sees it.
//!
//! `tls` has both sides' configurations, `upstream` reaches the far one. Towards the worker, `one` serves HTTP/1.1 with a
//! strict reader of its own (`head`, `chunks`, `inbound`), `two` serves HTTP/2. `judge` decides on a request
//! (`ask` is what it asks for), on its `path` in one spelling; `exchange` carries it, and `seal` puts in secrets that the worker does not hold. Bodies of any size
//! stream through; only what a secret is put into, or what may have to be sent again, is held, and that has bounds.

mod ask;
mod asking;
mod body;
mod chunks;
mod ending;
mod exchange;
mod fields;
mod head;
mod inbound;
mod intake;
mod judge;
mod messages;
mod one;
mod outbound;
pub(crate) mod path;
mod seal;
mod sending;
mod sent;
mod tasks;
mod tls;
mod two;
mod under_way;
mod upstream;

pub(crate) use judge::Place;
#[cfg(test)]
pub(crate) use judge::allows;
pub(crate) use seal::Sealing;
pub(crate) use tls::Tls;
pub use tls::TlsError;

use crate::client_certificate::ClientCertificate;
use crate::decision::{Allowed, Refusal};
use crate::event::{Ended, Endpoint};
use crate::fault::CertificateFault;
use crate::name::Name;
use crate::policy::{Protocol, RuleAt};
use crate::reason::Reason;
use crate::relay::{HelloError, PolicyInForce, check_name, revoked};
use crate::shared::Shared;
use body::Meter;
use ending::{Clean, Ending};
use exchange::Connection;
use http::HeaderValue;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{AlertDescription, Error as TlsFailure};
use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tasks::{Tasks, first};
use tls::{Offer, Version};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use upstream::{Far, Upstream, Way};

/// Connections of one worker at once beyond which each new one gets little memory.
const MANY: u64 = 16;

/// Longest that each step of the worker's handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries a connection that a rule inspects, from its ClientHello to its end; under a certificate that is wrong on purpose,
/// where there is one.
pub(crate) async fn carry(
    shared: &Arc<Shared>,
    worker: TcpStream,
    mut policy: PolicyInForce,
    place: Place,
    allowed: Allowed,
    certificate: Option<CertificateFault>,
) {
    let (target, name, port) = (place.target.clone(), place.name.clone(), place.port);
    let tasks = Tasks::default();
    let requests = policy.clone();
    // After the subscription, so that a change from here on is noticed.
    let shown = shared.certificate(&name, port);
    let others = shared.shows_another(policy.clone(), &name, port, shown.as_ref());
    let own = shown.as_ref();
    let inspected = async {
        let opened = open(shared, worker, place, &allowed, &tasks, own, certificate).await;
        let Some(opened) = opened else { return };
        serve(shared, opened, &allowed, tasks.clone(), requests).await;
    };
    let addresses = &allowed.addresses;
    let revoked = revoked(
        shared,
        &mut policy,
        &target,
        port,
        addresses,
        Protocol::Https,
    );
    // In this order: a policy that changed lets no further byte through.
    tokio::select! {
        biased;
        () = first([Box::pin(revoked), Box::pin(others), Box::pin(shared.ended.cancelled())]) => {}
        () = inspected => {}
        never = tasks.run() => match never {},
    }
}

/// A connection whose two handshakes are done.
struct Opened {
    connection: Connection,
    stream: TlsStream<Ending>,
    clean: Clean,
}

/// Both handshakes; the upstream's first, so that the worker is offered what the upstream speaks.
async fn open(
    shared: &Arc<Shared>,
    worker: TcpStream,
    place: Place,
    allowed: &Allowed,
    tasks: &Tasks,
    shown: Option<&ClientCertificate>,
    certificate: Option<CertificateFault>,
) -> Option<Opened> {
    let (target, port) = (place.target.clone(), place.port);
    let to = |address| {
        Endpoint::of(
            &target,
            address,
            Some(port),
            Cow::Borrowed(Protocol::Https.as_str()),
        )
    };
    let refuse = |reason, detail: String| {
        let refusal = Refusal {
            nearest: Some(allowed.rule.clone()),
            ..Refusal::flat(reason, detail)
        };
        shared.reporter.refused(to(None), refusal);
    };
    let _ = worker.set_nodelay(true);
    let (worker, clean) = Ending::new(worker);
    let start = match hello(worker, &place.name).await {
        Ok(start) => start,
        Err(HelloError::Refused(reason, detail)) => {
            refuse(reason, detail);
            return None;
        }
        Err(HelloError::Gone(error)) => {
            tracing::trace!(%error, "a worker's connection ended before its ClientHello");
            return None;
        }
    };
    let (offer, named) = Offer::of(&start.client_hello());
    let far = match shared.upstream.played() {
        Some(_) => Far::Cassette(if offer.one {
            Version::One
        } else {
            Version::Two
        }),
        None => {
            let way = Way {
                addresses: allowed.addresses.clone(),
                port: place.port,
                name: ServerName::try_from(place.name.as_str().to_owned()).ok()?,
                config: shared.upstream.tls.client(offer, shown),
                shows: shown.is_some(),
                asked: Arc::default(),
                timeout: shared.upstream.dial_timeout,
                tasks: tasks.clone(),
                small: is_small(shared),
            };
            match Upstream::connect(way).await {
                Ok(upstream) => Far::Live(Box::new(upstream)),
                Err(undialled) => {
                    shared.reporter.failed(
                        to(undialled.address),
                        undialled.reason,
                        undialled.detail,
                    );
                    return None;
                }
            }
        }
    };
    let agreed = match far.version() {
        Version::One => offer.one,
        Version::Two => offer.two,
    };
    if !agreed {
        let detail = format!(
            "{} speaks HTTP/1.1 only, and the connector HTTP/2 only",
            place.name
        );
        shared
            .reporter
            .failed(to(far.address()), Reason::TlsFailed, detail);
        return None;
    }
    let tls = &shared.upstream.tls;
    let config = match certificate {
        None => tls.server(far.version(), named),
        Some(fault) => tls.wrong_server(far.version(), named, &place.name, fault)?,
    };
    let stream = match tokio::time::timeout(PATIENCE, start.into_stream(config)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if certificate.is_some() => {
            let detail = format!(
                "the fault script shows a wrong certificate for {}: {error}",
                place.name
            );
            shared.reporter.failed(to(None), Reason::TlsFailed, detail);
            return None;
        }
        Ok(Err(error)) if is_pinned(&error) => {
            let detail = format!(
                "the connector does not trust the gateway's certificate for {}: it pins another one; write protocol: tls, which relays bytes",
                place.name
            );
            refuse(Reason::CertificatePinned, detail);
            return None;
        }
        Ok(Err(error)) => {
            tracing::trace!(%error, "a worker's handshake broke off");
            return None;
        }
        Err(_) => {
            refuse(
                Reason::NotTls,
                format!(
                    "no whole handshake for {} within {} s",
                    place.name,
                    PATIENCE.as_secs()
                ),
            );
            return None;
        }
    };
    let connection = Connection {
        shared: Arc::clone(shared),
        authority: HeaderValue::from_str(&place.authority()).ok()?,
        place,
        far,
        up: Meter::new(&shared.reporter.sums.bytes_up),
        down: Meter::new(&shared.reporter.sums.bytes_down),
        budget: Mutex::default(),
        under_way: Arc::default(),
    };
    Some(Opened {
        connection,
        stream,
        clean,
    })
}

fn is_small(shared: &Shared) -> bool {
    shared.reporter.sums.open.load(Ordering::Relaxed) > MANY
}

/// The ClientHello, once it names the host.
async fn hello(worker: Ending, expected: &Name) -> Result<StartHandshake<Ending>, HelloError> {
    let not_tls = |why: &dyn std::fmt::Display| {
        let detail =
            format!("the connection to {expected} does not begin with a ClientHello: {why}");
        HelloError::Refused(Reason::NotTls, detail)
    };
    let accepted = tokio::time::timeout(
        PATIENCE,
        LazyConfigAcceptor::new(Acceptor::default(), worker),
    );
    let start = match accepted.await {
        Ok(Ok(start)) => start,
        Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => return Err(not_tls(&error)),
        Ok(Err(error)) => return Err(HelloError::Gone(error)),
        Err(_) => {
            return Err(not_tls(&format_args!(
                "none came within {} s",
                PATIENCE.as_secs()
            )));
        }
    };
    check_name(start.client_hello().server_name(), expected)?;
    Ok(start)
}

/// Whether a worker broke off its handshake because it trusts another authority (RFC 8446, 6.2).
fn is_pinned(error: &io::Error) -> bool {
    let alert = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<TlsFailure>());
    matches!(
        alert,
        Some(TlsFailure::AlertReceived(
            AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
        ))
    )
}

async fn serve(
    shared: &Arc<Shared>,
    opened: Opened,
    allowed: &Allowed,
    tasks: Tasks,
    mut policy: PolicyInForce,
) {
    let Opened {
        connection,
        stream,
        clean,
    } = opened;
    let mut open = Open {
        shared,
        to: connection.endpoint(),
        rule: &allowed.rule,
        up: connection.up.clone(),
        down: connection.down.clone(),
        begun: Instant::now(),
        ended: Ended::CallEnded,
    };
    shared.reporter.allowed(&open.to, &allowed.rule);
    shared.reporter.sums.open.fetch_add(1, Ordering::Relaxed);
    let connection = Arc::new(connection);
    let served = async {
        match connection.far.version() {
            Version::One => one::serve(&connection, stream, &clean).await,
            Version::Two => two::serve(Arc::clone(&connection), stream, &clean, tasks).await,
        }
    };
    // In this order: a policy that changed lets no further byte through.
    open.ended = tokio::select! {
        biased;
        refusal = first([Box::pin(under_way::revoked(&connection, &mut policy))]) => {
            shared.reporter.refused(connection.endpoint(), refusal);
            Ended::PolicyChanged
        }
        served = served => if served.is_ok() { Ended::Finished } else { Ended::Reset },
    };
}

/// Tells the end of a connection, whatever ends it.
struct Open<'a> {
    shared: &'a Shared,
    to: Endpoint,
    rule: &'a RuleAt,
    up: Meter,
    down: Meter,
    begun: Instant,
    ended: Ended,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // Cut while the call goes on: only a policy does that.
        if self.ended == Ended::CallEnded && !self.shared.ended.is_cancelled() {
            self.ended = Ended::PolicyChanged;
        }
        let reporter = &self.shared.reporter;
        reporter.sums.open.fetch_sub(1, Ordering::Relaxed);
        let bytes = (self.up.get(), self.down.get());
        reporter.closed(
            self.to.clone(),
            self.rule.clone(),
            bytes,
            self.begun.elapsed(),
            self.ended,
        );
    }
}
