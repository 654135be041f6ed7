//! Connections to one server, kept for reuse.
//!
//! HTTP/1.1: an idle connection is the one used last (the likeliest to be alive), at most `keep_idle` wait, none
//! longer than [`IDLE_LIMIT`] or what the server announced with `Keep-Alive: timeout`. HTTP/2: a connection
//! carries as many requests as the server admits; further ones are opened up to [`MOST_SHARED`].
//!
//! A connection goes back only once hyper is ready for another request on it: the response was read to its
//! end and the request written to its end. Otherwise it is cut off, by ending its task: hyper itself keeps
//! an HTTP/1.1 connection open whose response ended before its request (hyperium/hyper#4176).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::Context;
use super::body::RequestBody;
use super::connect::{Http1, Http2, Target};
use super::error::UpstreamError;

/// The connections to one server.
pub(super) struct Pool {
    target: Target,
    keep_idle: usize,
    idle: Mutex<Idle>,
    shared: Mutex<Vec<Shared>>,
    /// Held while an HTTP/2 connection is opened, so that a burst of requests opens one.
    opening: tokio::sync::Mutex<()>,
}

/// An HTTP/1.1 connection while a request has it.
pub(super) struct Lease {
    connection: Option<Http1>,
    /// Whether it has served a request before.
    pub(super) reused: bool,
    idle_limit: Duration,
    pool: Arc<Pool>,
}

/// A place on an HTTP/2 connection.
pub(super) struct Stream {
    pub(super) sender: http2::SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Idle {
    /// The oldest first.
    connections: VecDeque<(Http1, Instant)>,
    /// Whether a task is there that closes what has waited for too long.
    swept: bool,
}

struct Shared {
    connection: Http2,
    streams: Arc<AtomicUsize>,
}

impl Pool {
    pub(super) fn new(target: Target, keep_idle: usize) -> Arc<Pool> {
        Arc::new(Pool {
            target,
            keep_idle,
            idle: Mutex::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// An HTTP/1.1 connection: an idle one unless a `fresh` one is wanted.
    pub(super) async fn http1(
        self: &Arc<Self>,
        fresh: bool,
        context: &Context,
    ) -> Result<Lease, UpstreamError> {
        let idle = if fresh { None } else { self.take_idle() };
        let (reused, connection) = match idle {
            Some(connection) => (true, connection),
            None => (false, self.target.http1(context).await?),
        };
        Ok(Lease {
            connection: Some(connection),
            reused,
            idle_limit: IDLE_LIMIT,
            pool: Arc::clone(self),
        })
    }

    /// A place on an HTTP/2 connection.
    pub(super) async fn http2(
        self: &Arc<Self>,
        context: &Context,
    ) -> Result<Stream, UpstreamError> {
        if let Some(stream) = self.take_shared() {
            return Ok(stream);
        }
        let open = async {
            let _opening = self.opening.lock().await;
            // another request may have opened one meanwhile
            if let Some(stream) = self.take_shared() {
                return Ok(stream);
            }
            let connection = self.target.http2(context).await?;
            let shared = Shared {
                connection,
                streams: Arc::default(),
            };
            let stream = shared.stream();
            lock(&self.shared).push(shared);
            Ok(stream)
        };
        // who waits for another's attempt waits no longer than for its own
        timeout(context.connect_timeout, open)
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout))
    }

    fn take_idle(&self) -> Option<Http1> {
        let mut idle = lock(&self.idle);
        if idle.connections.is_empty() {
            return None;
        }
        let now = Instant::now();
        while let Some((connection, expires)) = idle.connections.pop_back() {
            if expires > now && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn take_shared(&self) -> Option<Stream> {
        let mut shared = lock(&self.shared);
        shared.retain(|s| !s.connection.sender.is_closed());
        let roomy = shared
            .iter()
            .find(|s| s.streams.load(Relaxed) < s.connection.room.load(Relaxed));
        match roomy {
            Some(shared) => Some(shared.stream()),
            None if shared.len() < MOST_SHARED => None,
            // the request waits in hyper's queue until a stream is free
            None => shared
                .iter()
                .min_by_key(|s| s.streams.load(Relaxed))
                .map(Shared::stream),
        }
    }

    fn keep(self: &Arc<Self>, connection: Http1, limit: Duration) {
        if self.keep_idle == 0 || limit.is_zero() {
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.connections.len() >= self.keep_idle {
            idle.connections.pop_front();
        }
        idle.connections
            .push_back((connection, Instant::now() + limit));
        // a request that is dropped with its runtime finds none to spawn on, and no time to sweep
        if !idle.swept
            && let Ok(runtime) = Handle::try_current()
        {
            idle.swept = true;
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Ends the tasks of idle connections, as if their servers had closed them this moment.
    #[cfg(test)]
    pub(super) fn close_idle(&self) {
        let idle = lock(&self.idle);
        idle.connections.iter().for_each(|(c, _)| c.driver.abort());
    }

    /// How many connections are idle.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        lock(&self.idle).connections.len()
    }
}

impl Lease {
    /// The connection; `None` never while the lease lives.
    pub(super) fn connection(&mut self) -> Option<&mut Http1> {
        self.connection.as_mut()
    }

    /// The server said how long it keeps an idle connection; ours ends a second before, so that no request
    /// crosses its FIN.
    pub(super) fn server_keeps(&mut self, seconds: u64) {
        let limit = Duration::from_secs(seconds.saturating_sub(1));
        self.idle_limit = self.idle_limit.min(limit);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if connection.sender.is_ready() && !self.idle_limit.is_zero() {
            self.pool.keep(connection, self.idle_limit);
        } else {
            connection.driver.abort();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Relaxed);
    }
}

impl Shared {
    fn stream(&self) -> Stream {
        self.streams.fetch_add(1, Relaxed);
        Stream {
            sender: self.connection.sender.clone(),
            streams: Arc::clone(&self.streams),
        }
    }
}

/// Closes connections that nobody took for too long; ends when none is left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let mut idle = lock(&pool.idle);
        let now = Instant::now();
        idle.connections
            .retain(|(connection, expires)| *expires > now && !connection.sender.is_closed());
        if idle.connections.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a connection waits for its next request. Below the 60 s after which many servers and load
/// balancers close theirs, so that the race between their FIN and a request is rare.
const IDLE_LIMIT: Duration = Duration::from_secs(55);
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// HTTP/2 connections to a server, for each worker.
const MOST_SHARED: usize = 8;
