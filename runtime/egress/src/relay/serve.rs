//! One worker connection from accept to its last byte.

use super::copy::{Count, both};
use super::dial::dial;
use super::hello::{HelloError, read_hello};
use crate::decision::{Allowed, Attempt, Refusal, Transport, Verdict};
use crate::event::{Ended, Endpoint};
use crate::fault::ConnectionFault;
use crate::host::Target;
use crate::http::{Place, Sealing};
use crate::lookout::misplaced;
use crate::name::Name;
use crate::policy::{Bound, Protocol};
use crate::reason::Reason;
use crate::share::Held;
use crate::shared::{Meant, Shared};
use caisson_without::{Part, without};
use nix::sys::socket::{setsockopt, sockopt};
use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

pub(crate) type PolicyInForce = tokio::sync::watch::Receiver<Option<Arc<Bound>>>;

/// Serves one listener of the worker until the session ends.
///
/// # Errors
/// The listener cannot be registered.
pub(crate) async fn serve_port(
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let stream = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = shared.closing.cancelled() => return Ok(()),
        };
        let connection = serve(Arc::clone(&shared), stream);
        shared.tasks.spawn(connection);
        tokio::select! {
            () = shared.share.accepts.turn() => {}
            () = shared.closing.cancelled() => return Ok(()),
        }
    }
}

/// The next connection. Trouble of one connection, or a shortage of descriptors, ends no listener.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "a worker's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, worker: TcpStream) {
    // Whatever ends this task, a panic or the end of the daemon included, the worker sees a reset; only a connection that
    // both sides finished is let end cleanly.
    reset_on_close(&worker, true);
    let Ok(local) = worker.local_addr() else {
        return;
    };
    let (dialled, port) = (local.ip().to_canonical(), local.port());
    let held = shared.share.connection();
    // Before the decision, so that a change right after it is noticed.
    let policy = shared.policy.subscribe();
    if let Err(full) = &held {
        let refusal = Refusal::flat(Reason::TooManyConnections, full.as_str());
        return refuse(&shared, &Target::Address(dialled), port, refusal);
    }
    let (target, verdict) = judge(&shared, dialled, port);
    match verdict {
        Verdict::Refuse(refusal) => refuse(&shared, &target, port, refusal),
        Verdict::Allow(allowed) => allow(shared, worker, held, policy, target, port, allowed).await,
    }
}

/// An allowed connection: what stands between it and the upstream, and who carries it.
async fn allow(
    shared: Arc<Shared>,
    mut worker: TcpStream,
    held: Result<Held, String>,
    policy: PolicyInForce,
    target: Target,
    port: u16,
    allowed: Allowed,
) {
    let to = || {
        let protocol = Cow::Borrowed(allowed.protocol.as_str());
        Endpoint::of(&target, None, Some(port), protocol)
    };
    let script = shared.upstream.faults.as_ref();
    let certificate = match script.and_then(|script| script.of_connection_to(&target)) {
        Some(ConnectionFault::Refuse) => {
            let detail = "the fault script refuses the connection".to_owned();
            return shared.reporter.failed(to(), Reason::DialRefused, detail);
        }
        Some(ConnectionFault::Certificate(fault)) => Some(fault),
        None => None,
    };
    if allowed.protocol != Protocol::Https {
        if shared.upstream.played().is_some() {
            let detail = format!(
                "{target} port {port}: a cassette stands for the network, and protocol: {} cannot be played; write protocol: https",
                allowed.protocol.as_str()
            );
            return shared.reporter.not_recorded(to(), detail);
        }
        if shared.upstream.recorder().is_some() {
            let detail = format!(
                "{target} port {port}: protocol: {} cannot be recorded; write protocol: https",
                allowed.protocol.as_str()
            );
            return shared.reporter.not_recorded(to(), detail);
        }
        return match allowed.protocol {
            Protocol::Postgres => {
                crate::postgres::carry(&shared, &mut worker, policy, &target, port, allowed).await;
            }
            _ => carry(&shared, &mut worker, policy, &target, port, allowed).await,
        };
    }
    let Ok(worker) = worker.into_std() else {
        return;
    };
    let (upstream, tracked) = (Arc::clone(&shared.upstream), shared.tasks.token());
    upstream.carriers.spawn(async move {
        let _until_the_end = (tracked, held);
        if let Ok(worker) = TcpStream::from_std(worker) {
            let place = Place {
                name: named(&target),
                target,
                port,
            };
            crate::http::carry(&shared, worker, policy, place, allowed, certificate).await;
        }
    });
}

/// What comes of a connection to `dialled`, an address of the worker's network: whom it is to, and the decision.
pub(crate) fn judge(shared: &Shared, dialled: IpAddr, port: u16) -> (Target, Verdict) {
    let Meant { target, addresses } = shared.meant(dialled);
    if let Some(refusal) = shared.not_started() {
        return (target, Verdict::Refuse(refusal));
    }
    let attempt = Attempt {
        target: &target,
        port: Some(port),
        transport: Transport::Tcp,
        addresses: addresses.as_deref(),
    };
    let verdict = shared.decide(&attempt);
    (target, verdict)
}

fn refuse(shared: &Shared, target: &Target, port: u16, refusal: Refusal) {
    let to = Endpoint::of(target, None, Some(port), Cow::Borrowed("tcp"));
    shared.reporter.refused(to, refusal);
}

/// An allowed connection: the ClientHello where one is due, the dial, the bytes.
async fn carry(
    shared: &Shared,
    worker: &mut TcpStream,
    mut policy: PolicyInForce,
    target: &Target,
    port: u16,
    allowed: Allowed,
) {
    let protocol = Cow::Borrowed(allowed.protocol.as_str());
    let mut first = Vec::new();
    if allowed.protocol == Protocol::Tls {
        let name = named(target);
        let hello = tokio::select! {
            hello = read_hello(worker, &name) => hello,
            () = shared.ended.cancelled() => return,
        };
        match hello {
            Ok(bytes) => first = bytes,
            Err(HelloError::Refused(reason, detail)) => {
                let refusal = Refusal {
                    nearest: Some(allowed.rule),
                    ..Refusal::flat(reason, detail)
                };
                return shared
                    .reporter
                    .refused(Endpoint::of(target, None, Some(port), protocol), refusal);
            }
            Err(HelloError::Gone(error)) => {
                return tracing::trace!(%error, "a worker's connection ended before its ClientHello");
            }
        }
    }
    let dialled = tokio::select! {
        dialled = dial(&allowed.addresses, port, shared.upstream.dial_timeout) => dialled,
        () = shared.ended.cancelled() => return,
    };
    let (mut upstream, address) = match dialled {
        Ok(dialled) => dialled,
        Err(undialled) => {
            let to = Endpoint::of(target, undialled.address, Some(port), protocol);
            return shared
                .reporter
                .failed(to, undialled.reason, undialled.detail);
        }
    };
    tune(worker, &upstream);
    let to = Endpoint::of(target, Some(address), Some(port), protocol);
    shared.reporter.allowed(&to, &allowed.rule);
    let sums = &shared.reporter.sums;
    sums.open.fetch_add(1, Ordering::Relaxed);
    let (up, down) = (
        Count::in_sum(&sums.bytes_up),
        Count::in_sum(&sums.bytes_down),
    );
    let begun = Instant::now();
    // Inside of a worker's own TLS there is nothing to find.
    let sealing = shared.sealing.as_ref();
    let sealing = sealing.filter(|_| allowed.protocol == Protocol::Tcp);
    let mut lookout = sealing.map(Sealing::lookout);
    let relay = async {
        upstream.write_all(&first).await?;
        up.add(first.len());
        let share = &shared.share;
        both(worker, &mut upstream, share, &up, &down, lookout.as_mut()).await
    };
    let dialled = [address];
    // In this order: a policy that changed during the ClientHello or the dial lets no byte through.
    let ended = tokio::select! {
        biased;
        () = revoked(shared, &mut policy, target, port, &dialled, allowed.protocol) => Ended::PolicyChanged,
        () = shared.ended.cancelled() => Ended::CallEnded,
        relayed = relay => if relayed.is_ok() { Ended::Finished } else { Ended::Reset },
    };
    if ended == Ended::Finished {
        reset_on_close(worker, false);
        reset_on_close(&upstream, false);
    }
    if lookout.is_some_and(|lookout| lookout.has_found()) {
        let what = "bytes under protocol: tcp have";
        let mend = "write protocol: https for requests, or reveal: true for what is none";
        let refusal = misplaced(target, port, what, mend, allowed.rule.clone());
        shared.reporter.refused(to.clone(), refusal);
    }
    sums.open.fetch_sub(1, Ordering::Relaxed);
    shared.reporter.closed(
        to,
        allowed.rule,
        (up.get(), down.get()),
        begun.elapsed(),
        ended,
    );
}

/// Returns when the policy in force no longer allows what this connection is.
pub(crate) async fn revoked(
    shared: &Shared,
    policy: &mut PolicyInForce,
    target: &Target,
    port: u16,
    addresses: &[IpAddr],
    protocol: Protocol,
) {
    while policy.changed().await.is_ok() {
        if !still_allowed(shared, target, port, addresses, protocol) {
            return;
        }
    }
    std::future::pending().await
}

/// Whether the policy in force allows a connection that is open, to the address that it was dialled at.
pub(crate) fn still_allowed(
    shared: &Shared,
    target: &Target,
    port: u16,
    addresses: &[IpAddr],
    protocol: Protocol,
) -> bool {
    let attempt = Attempt {
        target,
        port: Some(port),
        transport: Transport::Tcp,
        addresses: Some(addresses),
    };
    if without(Part::Revocation) {
        return true;
    }
    match shared.decide(&attempt) {
        // A rule that now asks for a ClientHello never saw this one's.
        Verdict::Allow(allowed) => {
            // Each of them: one of those that are refused may be the one that is open, or dialled next.
            let kept = allowed.addresses.len() == addresses.len();
            // Bytes that nobody inspected go on under a rule that asks for less; requests need one that judges them.
            let relaxed = protocol == Protocol::Tls && allowed.protocol == Protocol::Tcp;
            kept && (allowed.protocol == protocol || relaxed)
        }
        Verdict::Refuse(_) => false,
    }
}

/// The name that a ClientHello must hold. Only loopback is reached by address under a rule for a name.
pub(crate) fn named(target: &Target) -> Name {
    match target {
        Target::Name(name) => name.clone(),
        Target::Address(_) => Name::parse("localhost").expect("localhost is a name"),
    }
}

pub(crate) fn tune(worker: &TcpStream, upstream: &TcpStream) {
    // Failing here costs speed, never correctness.
    let _ = worker.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    let _ = setsockopt(upstream, sockopt::KeepAlive, &true);
}

/// Makes the coming close a reset (SO_LINGER 0), or an ordinary one.
pub(crate) fn reset_on_close(stream: &TcpStream, reset: bool) {
    let linger = nix::libc::linger {
        l_onoff: i32::from(reset),
        l_linger: 0,
    };
    if let Err(error) = setsockopt(stream, sockopt::Linger, &linger) {
        tracing::debug!(%error, "a connection's way of closing could not be set");
    }
}
