//! Which of an upstream's servers gets a request, and which of them rest.
//!
//! Ejection is passive: what requests meet is all that is known of a server. It fails open, but for transport
//! only: where all servers rest, the one whose rest ends first is tried, rather than none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::UpstreamObserver;
use super::pool::Pool;
use crate::config::{Balance, Ejection};

/// One server of an upstream.
pub(super) struct Server {
    /// Scheme and authority.
    pub(super) address: Arc<str>,
    pub(super) pool: Arc<Pool>,
    pending: AtomicUsize,
    /// Whether `health` says since when; read without its lock by every choice.
    resting: AtomicBool,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    /// Failures in a row.
    failures: u32,
    until: Option<Instant>,
}

/// All servers of an upstream.
pub(super) struct Servers {
    upstream: Arc<str>,
    servers: Vec<Arc<Server>>,
    balance: Balance,
    ejection: Ejection,
    turn: AtomicUsize,
    observer: Arc<dyn UpstreamObserver>,
}

/// A request under way at a server.
pub(super) struct Pending(pub(super) Arc<Server>);

impl Servers {
    pub(super) fn new(
        upstream: Arc<str>,
        servers: impl Iterator<Item = (Arc<str>, Arc<Pool>)>,
        balance: Balance,
        ejection: Ejection,
        observer: Arc<dyn UpstreamObserver>,
    ) -> Servers {
        let servers = servers
            .map(|(address, pool)| {
                Arc::new(Server {
                    address,
                    pool,
                    pending: AtomicUsize::new(0),
                    resting: AtomicBool::new(false),
                    health: Mutex::default(),
                })
            })
            .collect();
        Servers {
            upstream,
            servers,
            balance,
            ejection,
            turn: AtomicUsize::new(0),
            observer,
        }
    }

    /// How many servers there are.
    pub(super) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Chooses a server other than those `tried`; `None` where none is left.
    pub(super) fn choose(&self, tried: &[Arc<Server>]) -> Option<Pending> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let (before, from) = self
            .servers
            .split_at_checked(turn.checked_rem(self.servers.len())?)?;
        let open = || {
            let untried = |s: &&Arc<Server>| !tried.iter().any(|t| Arc::ptr_eq(t, s));
            from.iter().chain(before).filter(untried)
        };
        let healthy = open().filter(|server| !self.rests(server));
        let chosen = match self.balance {
            Balance::RoundRobin => healthy.take(1).next(),
            // the first of several least ones: as the start turns, ties go round
            Balance::LeastPending => healthy.min_by_key(|s| s.pending.load(Relaxed)),
        };
        let chosen = chosen.or_else(|| open().min_by_key(|server| server.health().until))?;
        chosen.pending.fetch_add(1, Relaxed);
        Some(Pending(Arc::clone(chosen)))
    }

    /// A server answered: its row of failures is over.
    pub(super) fn succeeded(&self, server: &Server) {
        let mut health = server.health();
        health.failures = 0;
        if health.until.take().is_some() {
            server.resting.store(false, Relaxed);
            drop(health);
            self.observer
                .ejected(&self.upstream, &server.address, false);
        }
    }

    /// A server failed. The row isn't broken by a rest: who fails right after it rests again.
    pub(super) fn failed(&self, server: &Server) {
        let mut health = server.health();
        health.failures = health.failures.saturating_add(1);
        if self.ejection.failures == 0 || health.failures < self.ejection.failures {
            return;
        }
        let began = health.until.is_none();
        health.until = Some(Instant::now() + self.ejection.rest);
        server.resting.store(true, Relaxed);
        drop(health);
        if began {
            self.observer.ejected(&self.upstream, &server.address, true);
        }
    }

    /// How many servers rest.
    pub(super) fn ejected(&self) -> usize {
        self.servers.iter().filter(|s| self.rests(s)).count()
    }

    /// The pools, in the order of the servers.
    #[cfg(test)]
    pub(super) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.servers.iter().map(|server| &server.pool)
    }

    fn rests(&self, server: &Server) -> bool {
        if !server.resting.load(Relaxed) {
            return false;
        }
        let mut health = server.health();
        if health.until.is_some_and(|until| until > Instant::now()) {
            return true;
        }
        health.until = None;
        server.resting.store(false, Relaxed);
        drop(health);
        self.observer
            .ejected(&self.upstream, &server.address, false);
        false
    }
}

impl Server {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}
