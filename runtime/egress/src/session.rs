//! One worker's network, from attach to the end of its call.

use crate::dns::{serve_tcp, serve_udp};
use crate::event::{EgressEvent, Totals};
use crate::policy::Bound;
use crate::relay::serve_port;
use crate::shared::Shared;
use crate::watch::serve_watch;
use caisson_without::{Part, without};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// After a call's end, bytes that the worker had sent may still be on their way for this long.
const GRACE: Duration = Duration::from_millis(500);

/// The sockets that the launcher opened inside the worker's network.
#[derive(Debug, Default)]
pub struct WorkerSockets {
    /// One listener for each allowed port and family.
    pub tcp: Vec<(u16, TcpListener)>,
    /// DNS over UDP, PKTINFO set.
    pub dns_udp: Vec<UdpSocket>,
    /// DNS over TCP.
    pub dns_tcp: Vec<TcpListener>,
    /// The packet socket that sees what no listener takes.
    pub watch: Option<OwnedFd>,
}

/// The gateway's end of one worker. Dropping it ends every connection.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    events: Option<mpsc::Receiver<EgressEvent>>,
}

impl Session {
    pub(crate) fn begin(
        shared: Arc<Shared>,
        events: mpsc::Receiver<EgressEvent>,
        sockets: WorkerSockets,
    ) -> Self {
        let session = Self {
            shared,
            events: Some(events),
        };
        session.add_listeners(sockets.tcp);
        for socket in sockets.dns_udp {
            session.spawn(
                "DNS over UDP",
                serve_udp(Arc::clone(&session.shared), socket),
            );
        }
        for listener in sockets.dns_tcp {
            session.spawn(
                "DNS over TCP",
                serve_tcp(Arc::clone(&session.shared), listener),
            );
        }
        if let Some(socket) = sockets.watch
            && !without(Part::Watch)
        {
            session.spawn(
                "the watch on refused packets",
                serve_watch(Arc::clone(&session.shared), socket),
            );
        }
        session.spawn(
            "the count of what is not told",
            tell_untold(Arc::clone(&session.shared)),
        );
        session
    }

    /// What the tasks see, for tests.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn spawn(
        &self,
        what: &'static str,
        task: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            if let Err(error) = task.await {
                // What is not served is not reachable: the worker loses, nobody else.
                tracing::error!(%error, call = %shared.context.call_id, "{what} of a worker stopped");
            }
        });
    }

    /// Begins to let through what the policy allows.
    pub fn open(&self) {
        self.shared.start();
    }

    /// Takes listeners for ports that came later: see [`Session::missing_ports`].
    pub fn add_listeners(&self, listeners: Vec<(u16, TcpListener)>) {
        self.shared.listen(listeners.iter().map(|(port, _)| *port));
        for (_, listener) in listeners {
            self.spawn("a port", serve_port(Arc::clone(&self.shared), listener));
        }
    }

    /// Ports that the policy in force allows and that have no listener yet. Whoever runs workers opens them and calls
    /// [`Session::add_listeners`].
    #[must_use]
    pub fn missing_ports(&self) -> watch::Receiver<BTreeSet<u16>> {
        self.shared.missing_ports.subscribe()
    }

    /// The events; `None` the second time. What nobody takes is dropped and counted.
    pub fn events(&mut self) -> Option<mpsc::Receiver<EgressEvent>> {
        self.events.take()
    }

    /// The policy in force for this call, with the connection's config in place; changes with reloads.
    #[must_use]
    pub fn policy(&self) -> watch::Receiver<Option<Arc<Bound>>> {
        self.shared.policy.subscribe()
    }

    /// The sums so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.reporter.sums.totals()
    }

    /// Resets every connection and ends all service, at once: what a worker that is about to be killed has sent is no
    /// whole message to anybody.
    pub fn sever(&self) {
        self.shared.ended.cancel();
    }

    /// Ends the session: no new connection, half a second for bytes under way, then every connection is reset. Returns the
    /// final sums.
    pub async fn close(self) -> Totals {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(GRACE, self.shared.tasks.wait())
            .await
            .is_err()
        {
            self.shared.ended.cancel();
            self.shared.tasks.wait().await;
        }
        self.shared.reporter.end();
        self.totals()
    }
}

/// Once a second, as long as the session lives.
async fn tell_untold(shared: Arc<Shared>) -> io::Result<()> {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => shared.reporter.tell_untold(),
            () = shared.closing.cancelled() => return Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.tasks.close();
        self.shared.ended.cancel();
    }
}
