//! `protocol: postgres`: the worker's side is plain text, the server's is TLS that the gateway speaks, verifies, and shows client
//! certificates in.
//!
//! PostgreSQL begins TLS inside of its own protocol, so that neither `tls` nor `https` knows it. Only its startup is read:
//! `packet` is what a client begins with, `startup` the worker's side of it, `server` the other one, `mechanisms` what is
//! changed in the server's answer. Then bytes are relayed and counted as those of `tcp` are.

mod mechanisms;
mod packet;
mod server;
mod startup;

use crate::client_certificate::ClientCertificate;
use crate::decision::{Allowed, Refusal};
use crate::event::{Ended, Endpoint};
use crate::host::Target;
use crate::http::Sealing;
use crate::lookout::{Lookout, misplaced};
use crate::policy::{Protocol, RuleAt};
use crate::reason::Reason;
use crate::relay::{Count, PolicyInForce, named, reset_on_close, revoked, tune};
use crate::share::BUFFER;
use crate::shared::Shared;
use packet::Packet;
use startup::{NoStartup, Startup};
use std::borrow::Cow;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Carries an allowed connection, from the worker's startup to its last byte.
pub(crate) async fn carry(
    shared: &Shared,
    worker: &mut TcpStream,
    mut policy: PolicyInForce,
    target: &Target,
    port: u16,
    allowed: Allowed,
) {
    let name = named(target);
    // After the subscription, so that a change from here on is noticed.
    let shown = shared.certificate(&name, port);
    let others = shared.shows_another(policy.clone(), &name, port, shown.as_ref());
    let addresses = &allowed.addresses;
    // In this order: a policy that changed lets no further byte through.
    tokio::select! {
        biased;
        () = revoked(shared, &mut policy, target, port, addresses, Protocol::Postgres) => {}
        () = others => {}
        () = shared.ended.cancelled() => {}
        () = open(shared, worker, target, port, &allowed, shown.as_ref()) => {}
    }
}

async fn open(
    shared: &Shared,
    worker: &mut TcpStream,
    target: &Target,
    port: u16,
    allowed: &Allowed,
    shown: Option<&ClientCertificate>,
) {
    let name = named(target);
    let to = |address| {
        let protocol = Cow::Borrowed(Protocol::Postgres.as_str());
        Endpoint::of(target, address, Some(port), protocol)
    };
    let startup = match startup::read(worker, &name).await {
        Ok(startup) => startup,
        Err(NoStartup::Refused(reason, detail)) => {
            let refusal = Refusal {
                nearest: Some(allowed.rule.clone()),
                ..Refusal::flat(reason, detail)
            };
            return shared.reporter.refused(to(None), refusal);
        }
        Err(NoStartup::Gone(error)) => {
            return tracing::trace!(%error, "a worker's connection ended before its startup");
        }
    };
    let mut lookout = shared.sealing.as_ref().map(Sealing::lookout);
    let astray = || {
        let what = "messages of PostgreSQL have";
        let mend = "write reveal: true, or place: client_key for the key of a client certificate";
        misplaced(target, port, what, mend, allowed.rule.clone())
    };
    if let Some(lookout) = &mut lookout
        && lookout.finds(&startup.bytes)
    {
        return shared.reporter.refused(to(None), astray());
    }
    let reached = server::reach(shared, &allowed.addresses, &name, port, shown).await;
    let (mut upstream, address) = match reached {
        Ok(reached) => reached,
        Err(undialled) => {
            let to = to(undialled.address);
            return shared
                .reporter
                .failed(to, undialled.reason, undialled.detail);
        }
    };
    tune(worker, upstream.get_ref().0);
    let sums = &shared.reporter.sums;
    let (up, down) = (
        Count::in_sum(&sums.bytes_up),
        Count::in_sum(&sums.bytes_down),
    );
    let mut open = Open {
        shared,
        to: to(Some(address)),
        rule: &allowed.rule,
        up: &up,
        down: &down,
        begun: Instant::now(),
        ended: Ended::CallEnded,
    };
    shared.reporter.allowed(&open.to, &allowed.rule);
    sums.open.fetch_add(1, Ordering::Relaxed);
    let relayed = relay(
        worker,
        &mut upstream,
        &startup,
        &up,
        &down,
        lookout.as_mut(),
    );
    open.ended = match relayed.await {
        Ok(()) => {
            reset_on_close(worker, false);
            reset_on_close(upstream.get_ref().0, false);
            Ended::Finished
        }
        Err(error) => {
            if lookout.is_some_and(|lookout| lookout.has_found()) {
                shared.reporter.refused(open.to.clone(), astray());
            } else if let Some(why) = of_tls(&error) {
                let detail = format!("TLS with {name}: {why}");
                shared
                    .reporter
                    .failed(open.to.clone(), Reason::TlsFailed, detail);
            }
            Ended::Reset
        }
    };
}

/// What ended TLS, where that is more than the end of a connection: a server says only after the handshake that it does not
/// take a client's certificate.
fn of_tls(error: &io::Error) -> Option<String> {
    let failure = error.get_ref()?.downcast_ref::<rustls::Error>();
    let offered = (error.kind() == io::ErrorKind::Unsupported).then(|| error.to_string());
    failure.map(ToString::to_string).or(offered)
}

/// Relays until both sides have finished sending.
async fn relay(
    worker: &mut TcpStream,
    upstream: &mut TlsStream<TcpStream>,
    startup: &Startup,
    up: &Count<'_>,
    down: &Count<'_>,
    lookout: Option<&mut Lookout>,
) -> io::Result<()> {
    let (mut worker_read, mut worker_write) = worker.split();
    let (mut upstream_read, mut upstream_write) = tokio::io::split(upstream);
    let to_upstream = async {
        upstream_write.write_all(&startup.bytes).await?;
        upstream_write.flush().await?;
        up.add(startup.bytes.len());
        one_way(&mut worker_read, &mut upstream_write, up, lookout).await
    };
    let to_worker = async {
        if startup.packet != Packet::Cancel {
            server::authentication(&mut upstream_read, &mut worker_write, down).await?;
        }
        one_way(&mut upstream_read, &mut worker_write, down, None).await
    };
    tokio::try_join!(to_upstream, to_worker)?;
    Ok(())
}

/// One side's end is passed on as a half-close, so that the other may go on.
async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: &Count<'_>,
    mut lookout: Option<&mut Lookout>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if let Some(lookout) = &mut lookout {
            lookout.admit(&buffer[..length])?;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
        count.add(length);
    }
}

/// Tells the end of a connection, whatever ends it.
struct Open<'a> {
    shared: &'a Shared,
    to: Endpoint,
    rule: &'a RuleAt,
    up: &'a Count<'a>,
    down: &'a Count<'a>,
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
        reporter.closed(
            self.to.clone(),
            self.rule.clone(),
            (self.up.get(), self.down.get()),
            self.begun.elapsed(),
            self.ended,
        );
    }
}
