//! The composition root: from a [`Config`] to a proxy that runs, and hands back its addresses.
//!
//! Each worker is a thread with a runtime of its own, and its own sockets. The runtime that [`App::start`] is
//! called on has the rest: the admin listener, key refreshes, reloads, shutdown. Tests and programs that embed
//! Portcullis start the whole through here.

mod observe;
mod view;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::admin::{self, AdminState};
use crate::audit::redact::Redaction;
use crate::audit::{Audit, AuditError, StartEvent};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::policy::PolicySet;
use crate::proxy::accept::{self, bind};
use crate::proxy::identify::Identifier;
use crate::proxy::routes::Routes;
use crate::proxy::worker::{Phase, Shared, Snapshot, Worker};
use crate::reload;
use crate::ship::Shipper;
use crate::sources;
use crate::yaml::Problem;
use observe::Observer;

/// Starts the proxy.
#[derive(Debug)]
pub struct App;

/// A running proxy. Dropped without [`shutdown`](Running::shutdown) it stops at once.
#[derive(Debug)]
pub struct Running {
    /// The listeners' addresses, in the configuration's order.
    pub addresses: Vec<SocketAddr>,
    /// The admin listener's address.
    pub admin: Option<SocketAddr>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<WorkerThread>,
    /// The file that a reload reads again.
    pub(crate) source: Option<PathBuf>,
    /// One reload at a time.
    pub(crate) reloading: tokio::sync::Mutex<()>,
    /// The files of a configuration that was refused: a change of one of them may be what it needs.
    pub(crate) refused: Mutex<Vec<PathBuf>>,
    /// The files as they were when the first of them were read.
    pub(crate) seen: reload::Seen,
    pub(crate) tasks: Mutex<Vec<AbortHandle>>,
    pub(crate) shipper: Mutex<Option<Shipper>>,
}

/// One worker's thread.
#[derive(Debug)]
pub(crate) struct WorkerThread {
    pub(crate) worker: Arc<Worker>,
    pub(crate) thread: Option<JoinHandle<()>>,
    /// Ready when all its connections have ended.
    pub(crate) drained: Option<oneshot::Receiver<()>>,
}

/// Why it doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policies don't load.
    #[error("{} in the policies", problems(.0))]
    Policies(Vec<Problem>),
    /// An address can't be bound.
    #[error("can't listen on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The audit sink doesn't open.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The metrics can't be registered: a bug of ours.
    #[error("can't register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A worker's thread or runtime doesn't start.
    #[error("can't start a worker: {0}")]
    Worker(#[source] io::Error),
    /// The thread that ships records doesn't start.
    #[error("can't start to ship records: {0}")]
    Ship(#[source] io::Error),
}

impl App {
    /// Builds everything, binds the listeners and serves. `source` is the configuration's file, which a reload
    /// reads again; without it, only [`Running::apply`] changes anything.
    ///
    /// # Errors
    /// What keeps it from starting; then nothing is left behind.
    pub async fn start(config: Config, source: Option<PathBuf>) -> Result<Running, StartError> {
        // Before they are read: what changes from here on is seen.
        let seen = reload::look(&config.files);
        let policies = sources::load(&config.policies).map_err(StartError::Policies)?;
        let metrics = Metrics::new()?;
        metrics.policy_set_loaded(policies.digest(), policies.len(), Timestamp::now());
        let sockets = sockets(&config)?;
        let admin = match config.admin {
            Some(address) => Some(bind(address).map_err(|e| StartError::Bind(address, e))?),
            None => None,
        };
        let audit = Audit::open(&config.audit, &metrics, start_event(&policies))?;
        let shipper = Shipper::start(&config.audit, &metrics).map_err(StartError::Ship)?;
        let observer = Arc::new(Observer::new(metrics.clone(), audit.clone()));
        let identifier = Identifier::new(&config.identity, observer.clone());
        identifier.start().await;
        let workers = config.workers.max(1);
        let addresses = sockets.iter().filter_map(|s| s.first()?.local_addr().ok());
        let mut running = Running {
            addresses: addresses.collect(),
            admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()),
            shared: Shared::new(
                Snapshot {
                    generation: 0,
                    routes: Routes::new(&config.routes),
                    redaction: Redaction::new(&config.audit.fields, &policies),
                    policies: Arc::new(policies),
                    identifier,
                    loaded_at: Timestamp::now(),
                    config,
                },
                audit,
                metrics,
                observer,
            ),
            workers: Vec::with_capacity(workers),
            source,
            reloading: tokio::sync::Mutex::default(),
            refused: Mutex::default(),
            seen,
            tasks: Mutex::default(),
            shipper: Mutex::new(shipper),
        };
        let mut sockets: Vec<_> = sockets.into_iter().map(Vec::into_iter).collect();
        for number in 0..workers {
            let own = sockets.iter_mut().filter_map(Iterator::next).collect();
            let worker = worker(number, own, &running.shared).map_err(StartError::Worker)?;
            running.workers.push(worker);
        }
        if let Some(admin) = admin {
            running.serve_admin(admin).map_err(StartError::Worker)?;
        }
        Ok(running)
    }
}

impl Running {
    fn serve_admin(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let view = view::View(self.shared.clone());
        let mut phase = self.shared.phase.subscribe();
        // It outlives the draining, which `/readyz` tells.
        let cut = async move {
            let _sender_gone = phase.wait_for(|phase| *phase == Phase::Cutting).await;
        };
        let state = Arc::new(AdminState::new(view));
        self.keep(tokio::spawn(admin::serve(listener, state, cut)).abort_handle());
        Ok(())
    }

    /// The thread that ships records, where there is one.
    pub(crate) fn take_shipper(&self) -> Option<Shipper> {
        let mut shipper = self.shipper.lock().unwrap_or_else(PoisonError::into_inner);
        shipper.take()
    }

    /// Ships by another configuration from now on.
    pub(crate) async fn ship_anew(&self, audit: &crate::config::Audit) {
        let before = self.take_shipper();
        let (audit, metrics) = (audit.clone(), self.shared.metrics.clone());
        // The one before has to end first: there is one cursor.
        let started = tokio::task::spawn_blocking(move || {
            drop(before);
            Shipper::start(&audit, &metrics)
        });
        match started.await {
            Ok(Ok(started)) => {
                let mut shipper = self.shipper.lock().unwrap_or_else(PoisonError::into_inner);
                *shipper = started;
            }
            Ok(Err(error)) => tracing::error!(%error, "can't start to ship records"),
            Err(error) => tracing::error!(%error, "can't start to ship records"),
        }
    }

    /// Ends a task with this value.
    pub(crate) fn keep(&self, task: AbortHandle) {
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.push(task);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Cutting);
        if let Ok(tasks) = self.tasks.lock() {
            tasks.iter().for_each(AbortHandle::abort);
        }
    }
}

/// For each listener a socket for each worker. Port 0 is picked once.
fn sockets(config: &Config) -> Result<Vec<Vec<TcpListener>>, StartError> {
    let bound = |listener: &crate::config::Listener| {
        let failed = |error| StartError::Bind(listener.address, error);
        let first = bind(listener.address).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        let mut all = vec![first];
        for _ in 1..config.workers.max(1) {
            all.push(bind(address).map_err(failed)?);
        }
        Ok(all)
    };
    config.listeners.iter().map(bound).collect()
}

fn worker(
    number: usize,
    sockets: Vec<TcpListener>,
    shared: &Arc<Shared>,
) -> io::Result<WorkerThread> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let worker = Arc::new(Worker::new(shared.clone()));
    let (tell, drained) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn({
            let worker = worker.clone();
            move || {
                runtime.block_on(serve(sockets, worker));
                // The channel is gone with the thread; who waits needs no more than that.
                let _nobody_waits = tell.send(());
                runtime.shutdown_background();
            }
        })?;
    Ok(WorkerThread {
        worker,
        thread: Some(thread),
        drained: Some(drained),
    })
}

/// A worker's life: accepts until the process drains, then waits for its connections, and at last cuts them.
async fn serve(sockets: Vec<TcpListener>, worker: Arc<Worker>) {
    let (alive, mut done) = mpsc::channel(1);
    for (index, socket) in sockets.into_iter().enumerate() {
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => {
                tokio::spawn(accept::serve(socket, index, worker.clone(), alive.clone()));
            }
            Err(error) => tracing::error!(%error, "a listener doesn't start"),
        }
    }
    drop(alive);
    let mut phase = worker.shared.phase.subscribe();
    tokio::select! {
        _ = done.recv() => return,
        _ = phase.wait_for(|phase| *phase == Phase::Cutting) => {}
    }
    let cut = worker.streams.cut_all();
    tracing::info!(cut, "cutting what is still under way");
    // What was cut has a moment to tell its client, and to write its outcome.
    let _late = tokio::time::timeout(shutdown_grace(), done.recv()).await;
}

fn shutdown_grace() -> std::time::Duration {
    std::time::Duration::from_millis(500)
}

fn start_event(policies: &PolicySet) -> StartEvent {
    StartEvent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy_set: policies.digest().to_owned(),
        policies: policies.len() as u64,
    }
}

/// The problems as text: one to a line, the number first.
fn problems(problems: &[Problem]) -> String {
    let mut text = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    for problem in problems {
        text.push_str(&format!("\n  {problem}"));
    }
    text
}
