//! The end of the process: no request that was taken on is lost without its record.
//!
//! 1. `/readyz` says 503, and no connection is accepted any more.
//! 2. Idle connections close; the others end with the response that they are at.
//! 3. After `timeouts.shutdown` the rest is cut: each response breaks off, each outcome is recorded.
//! 4. The audit log is closed with its `stop` event, and what of it isn't shipped is tried once more.

use tokio::signal::unix::{SignalKind, signal};

use crate::app::Running;
use crate::proxy::worker::Phase;

/// Waits for SIGTERM or SIGINT. From this call on, not from the first poll, they no longer end the process by
/// themselves.
///
/// # Errors
/// The system takes no handler.
pub fn asked() -> std::io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM"),
            _ = int.recv() => tracing::info!("SIGINT"),
        }
    })
}

impl Running {
    /// Ends in order. Returns when everything is closed and recorded.
    pub async fn shutdown(mut self) {
        let patience = self.shared.snapshot().config.timeouts.shutdown;
        tracing::info!("draining for at most {patience:?}");
        self.shared.phase.send_replace(Phase::Draining);
        let drained: Vec<_> = self
            .workers
            .iter_mut()
            .filter_map(|w| w.drained.take())
            .collect();
        let all = async {
            for worker in drained {
                // An error is a thread that is gone, and with it all that it had open.
                let _gone = worker.await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        self.shared.phase.send_replace(Phase::Cutting);
        let threads: Vec<_> = self
            .workers
            .iter_mut()
            .filter_map(|w| w.thread.take())
            .collect();
        let audit = self.shared.audit.clone();
        let shipper = self.take_shipper();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker had panicked");
                }
            }
            audit.close();
            if let Some(shipper) = shipper {
                shipper.finish();
            }
        });
        if joined.await.is_err() {
            tracing::error!("the end was not in order");
        }
    }
}
