//! Ctrl-C and SIGTERM: the first asks the command to end well, the second
//! ends the process (an embedded daemon's workers die with it).

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Exit;

/// Tells whether somebody asked the command to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Exit>>);

impl Interrupt {
    /// Starts to listen. Needs a tokio runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let mut ctrl_c = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let (raise, raised) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let exit = tokio::select! {
                    _ = ctrl_c.recv() => Exit::Cancelled,
                    _ = term.recv() => Exit::Terminated,
                };
                if raise.borrow().is_some() {
                    std::process::exit(exit as i32);
                }
                raise.send_replace(Some(exit));
            }
        });
        Ok(Self(raised))
    }

    /// Completes when the first signal came, with the exit code it stands for.
    pub(crate) async fn raised(&self) -> Exit {
        let mut receiver = self.0.clone();
        let raised = receiver.wait_for(Option::is_some).await.map(|exit| *exit);
        match raised {
            Ok(Some(exit)) => exit,
            // The listener lives as long as the runtime.
            _ => std::future::pending().await,
        }
    }
}
