//! One worker connection from accept to its last byte.

use super::copy::{Count, both};
use super::dial::dial;
use super::hello::{HelloError, read_hello};
use crate::decision::{Allowed, Attempt, Refusal, Transport, Verdict};
use crate::event::{Ended, Endpoint};
use crate::host::Target;
use crate::name::Name;
use crate::policy::Protocol;
use crate::reason::Reason;
use crate::shared::{MAX_CONNECTIONS, Shared};
use nix::sys::socket::{setsockopt, sockopt};
use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// Serves one listener of the worker until the session ends.
///
/// # Errors
/// The listener cannot be registered.
pub(crate) async fn serve_port(shared: Arc<Shared>, listener: std::net::TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let stream = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = shared.closing.cancelled() => return Ok(()),
        };
        let connection = serve(Arc::clone(&shared), stream);
        shared.tasks.spawn(connection);
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

async fn serve(shared: Arc<Shared>, mut worker: TcpStream) {
    let Ok(local) = worker.local_addr() else { return };
    let (dialled, port) = (local.ip().to_canonical(), local.port());
    let permit = shared.connections.try_acquire();
    let judged = match &permit {
        Ok(_) => judge(&shared, dialled, port),
        Err(_) => {
            let detail = format!("the worker holds {MAX_CONNECTIONS} connections, the most it may");
            Err((Target::Address(dialled), Refusal::flat(Reason::TooManyConnections, detail)))
        }
    };
    let ended = shared.ended.clone();
    match judged {
        Ok((target, allowed)) => tokio::select! {
            () = carry(&shared, &mut worker, &target, port, allowed) => {}
            () = ended.cancelled() => reset(&worker),
        },
        Err((target, refusal)) => {
            reset(&worker);
            let to = Endpoint::of(&target, None, Some(port), Cow::Borrowed("tcp"));
            shared.reporter.refused(to, refusal);
        }
    }
}

fn judge(shared: &Shared, dialled: IpAddr, port: u16) -> Result<(Target, Allowed), (Target, Refusal)> {
    let (target, addresses) = shared.meant(dialled).map_err(|refusal| (Target::Address(dialled), refusal))?;
    if let Some(refusal) = shared.not_started() {
        return Err((target, refusal));
    }
    let attempt = Attempt { target: &target, port: Some(port), transport: Transport::Tcp, addresses: addresses.as_deref() };
    match shared.decide(&attempt) {
        Verdict::Allow(allowed) => Ok((target, allowed)),
        Verdict::Refuse(refusal) => Err((target, refusal)),
    }
}

/// An allowed connection: the ClientHello where one is due, the dial, the bytes. Every way out that is no clean end of both
/// sides resets the worker's side, so that the worker never takes a broken stream for a whole one.
async fn carry(shared: &Shared, worker: &mut TcpStream, target: &Target, port: u16, allowed: Allowed) {
    let protocol = Cow::Borrowed(allowed.protocol.as_str());
    // Marked as seen before the ClientHello and the dial, so that a change during either is noticed at once.
    let mut policy = shared.policy.subscribe();
    policy.borrow_and_update();
    let mut first = Vec::new();
    if allowed.protocol == Protocol::Tls {
        match read_hello(worker, &named(target)).await {
            Ok(bytes) => first = bytes,
            Err(HelloError::Refused(reason, detail)) => {
                reset(worker);
                let refusal = Refusal { nearest: Some(allowed.rule), ..Refusal::flat(reason, detail) };
                return shared.reporter.refused(Endpoint::of(target, None, Some(port), protocol), refusal);
            }
            Err(HelloError::Gone(error)) => {
                reset(worker);
                return tracing::trace!(%error, "a worker's connection ended before its ClientHello");
            }
        }
    }
    let (mut upstream, address) = match dial(&allowed.addresses, port, shared.upstream.dial_timeout).await {
        Ok(dialled) => dialled,
        Err(undialled) => {
            reset(worker);
            let to = Endpoint::of(target, undialled.address, Some(port), protocol);
            return shared.reporter.failed(to, undialled.reason, undialled.detail);
        }
    };
    tune(worker, &upstream);
    let to = Endpoint::of(target, Some(address), Some(port), protocol);
    shared.reporter.allowed(&to, &allowed.rule);
    let sums = &shared.reporter.sums;
    sums.open.fetch_add(1, Ordering::Relaxed);
    let (up, down) = (Count::in_sum(&sums.bytes_up), Count::in_sum(&sums.bytes_down));
    let begun = Instant::now();
    let relay = async {
        upstream.write_all(&first).await?;
        up.add(first.len());
        both(worker, &mut upstream, &up, &down).await
    };
    let ended = tokio::select! {
        relayed = relay => if relayed.is_ok() { Ended::Finished } else { Ended::Reset },
        () = revoked(shared, &mut policy, target, port, address, allowed.protocol) => Ended::PolicyChanged,
        () = shared.ended.cancelled() => Ended::CallEnded,
    };
    if ended != Ended::Finished {
        reset(worker);
        reset(&upstream);
    }
    sums.open.fetch_sub(1, Ordering::Relaxed);
    shared.reporter.closed(to, allowed.rule, (up.get(), down.get()), begun.elapsed(), ended);
}

/// Returns when the policy in force no longer allows what this connection is.
async fn revoked(
    shared: &Shared,
    policy: &mut tokio::sync::watch::Receiver<Option<Arc<crate::policy::Bound>>>,
    target: &Target,
    port: u16,
    address: IpAddr,
    protocol: Protocol,
) {
    let addresses = [address];
    let attempt = Attempt { target, port: Some(port), transport: Transport::Tcp, addresses: Some(&addresses) };
    while policy.changed().await.is_ok() {
        match shared.decide(&attempt) {
            // A rule that now asks for a ClientHello never saw this one's.
            Verdict::Allow(allowed) if allowed.protocol == protocol || allowed.protocol == Protocol::Tcp => {}
            _ => return,
        }
    }
    std::future::pending().await
}

/// The name that a ClientHello must hold. Only loopback is reached by address under a rule for a name.
fn named(target: &Target) -> Name {
    match target {
        Target::Name(name) => name.clone(),
        Target::Address(_) => Name::parse("localhost").expect("localhost is a name"),
    }
}

fn tune(worker: &TcpStream, upstream: &TcpStream) {
    // Failing here costs speed, never correctness.
    let _ = worker.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    let _ = setsockopt(upstream, sockopt::KeepAlive, &true);
}

/// Makes the coming close a reset (SO_LINGER 0).
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection could not be made to reset");
    }
}
