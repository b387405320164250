//! The gateway's own end of HTTPS: TLS ends here, and every request is judged before the upstream sees it.
//!
//! `tls` has both sides' configurations, `upstream` reaches the far one. Towards the worker, `one` serves HTTP/1.1 with a
//! strict reader of its own (`head`, `chunks`, `inbound`), `two` serves HTTP/2. `judge` decides on a request, on its
//! `path` in one spelling; `exchange` carries it. Bodies of any size stream through; none is held.

mod body;
mod chunks;
mod exchange;
mod fields;
mod head;
mod inbound;
mod judge;
mod one;
mod outbound;
pub(crate) mod path;
mod tls;
mod two;
mod upstream;

pub(crate) use tls::{Tls, TlsError};

use crate::decision::{Allowed, Refusal};
use crate::event::{Ended, Endpoint};
use crate::host::Target;
use crate::name::Name;
use crate::policy::Protocol;
use crate::reason::Reason;
use crate::relay::{HelloError, PolicyInForce, check_name, named, reset_on_close, revoked, tune};
use crate::shared::Shared;
use body::Meter;
use exchange::Connection;
use judge::Place;
use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use rustls::{AlertDescription, Error as TlsFailure};
use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tls::{Offer, Version};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use two::Tasks;
use upstream::{Upstream, Way};

/// Longest that each step of the worker's handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries a connection that a rule inspects, from its ClientHello to its end.
pub(crate) async fn carry(
    shared: &Arc<Shared>,
    worker: TcpStream,
    mut policy: PolicyInForce,
    target: &Target,
    port: u16,
    allowed: Allowed,
) {
    let place = Place {
        target: target.clone(),
        name: named(target),
        port,
    };
    let over = shared.ended.child_token();
    let _guard = over.clone().drop_guard();
    let tasks = Tasks {
        over,
        tracker: shared.tasks.clone(),
    };
    let address = allowed.addresses.first().copied();
    let inspected = async {
        let Some((connection, stream)) = open(shared, worker, place, &allowed, &tasks).await else { return };
        serve(shared, connection, stream, &allowed, tasks.clone()).await;
    };
    // In this order: a policy that changed lets no further byte through.
    tokio::select! {
        biased;
        () = revoked(shared, &mut policy, target, port, address, Protocol::Https) => {}
        () = shared.ended.cancelled() => {}
        () = inspected => {}
    }
}

/// Both handshakes; the upstream's first, so that the worker is offered what the upstream speaks.
async fn open(
    shared: &Arc<Shared>,
    worker: TcpStream,
    place: Place,
    allowed: &Allowed,
    tasks: &Tasks,
) -> Option<(Connection, TlsStream<TcpStream>)> {
    let (target, port) = (place.target.clone(), place.port);
    let to = |address| Endpoint::of(&target, address, Some(port), Cow::Borrowed(Protocol::Https.as_str()));
    let refuse = |reason, detail: String| {
        let refusal = Refusal {
            nearest: Some(allowed.rule.clone()),
            ..Refusal::flat(reason, detail)
        };
        shared.reporter.refused(to(None), refusal);
    };
    let tcp = worker.as_raw();
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
    let name = ServerName::try_from(place.name.as_str().to_owned()).ok()?;
    let way = Way {
        addresses: allowed.addresses.clone(),
        port: place.port,
        name,
        config: shared.upstream.tls.client(offer),
        timeout: shared.upstream.dial_timeout,
        tasks: tasks.clone(),
    };
    let upstream = match Upstream::connect(way).await {
        Ok(upstream) => upstream,
        Err(undialled) => {
            shared.reporter.failed(to(undialled.address), undialled.reason, undialled.detail);
            return None;
        }
    };
    let agreed = match upstream.version {
        Version::One => offer.one,
        Version::Two => offer.two,
    };
    if !agreed {
        let detail = format!("{} speaks HTTP/1.1 only, and the connector HTTP/2 only", place.name);
        shared.reporter.failed(to(Some(upstream.address)), Reason::TlsFailed, detail);
        return None;
    }
    let config = shared.upstream.tls.server(upstream.version, named);
    let stream = match tokio::time::timeout(PATIENCE, start.into_stream(config)).await {
        Ok(Ok(stream)) => stream,
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
            refuse(Reason::NotTls, format!("no whole handshake for {} within {} s", place.name, PATIENCE.as_secs()));
            return None;
        }
    };
    let _ = tcp;
    let connection = Connection {
        shared: Arc::clone(shared),
        place,
        upstream,
        up: Meter::default(),
        down: Meter::default(),
    };
    Some((connection, stream))
}

async fn serve(shared: &Arc<Shared>, connection: Connection, stream: TlsStream<TcpStream>, allowed: &Allowed, tasks: Tasks) {
    let to = connection.endpoint();
    let (up, down) = (connection.up.clone(), connection.down.clone());
    shared.reporter.allowed(&to, &allowed.rule);
    shared.reporter.sums.open.fetch_add(1, Ordering::Relaxed);
    let begun = Instant::now();
    let served = match connection.upstream.version {
        Version::One => one::serve(&connection, stream).await,
        Version::Two => two::serve(Arc::new(connection), stream, tasks).await,
    };
    shared.reporter.sums.open.fetch_sub(1, Ordering::Relaxed);
    let ended = if served.is_ok() { Ended::Finished } else { Ended::Reset };
    shared.reporter.closed(to, allowed.rule.clone(), (up.get(), down.get()), begun.elapsed(), ended);
}
