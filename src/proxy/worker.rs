//! What the requests of one worker share, and what all workers share.
//!
//! A [`Snapshot`] is one configuration with its policies, and never changes. All workers see the newest
//! through one pointer; each keeps a [`Live`] of its own, made from it at the first request after a change:
//! upstream connections, verified tokens and room for bodies belong to one worker. So a request takes one
//! atomic load, and shares nothing that is written on its way.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderName;
use tokio::sync::watch;

use super::identify::{Identifier, TokenCache};
use super::inspect::Room;
use super::routes::Routes;
use super::streams::Streams;
use super::upstream::{Upstream, UpstreamObserver};
use crate::audit::Audit;
use crate::audit::redact::Redaction;
use crate::config::{self, Config};
use crate::metrics::{Metrics, RouteMetrics};
use crate::policy::PolicySet;

/// A configuration in force.
pub struct Snapshot {
    /// Grows by one with every change.
    pub generation: u64,
    /// The configuration.
    pub config: Config,
    /// The policies.
    pub policies: Arc<PolicySet>,
    /// Host and path to route.
    pub routes: Routes,
    /// Who may be who.
    pub identifier: Arc<Identifier>,
    /// What records tell of the fields that the policies judge.
    pub redaction: Redaction,
    /// When it was put in force.
    pub loaded_at: jiff::Timestamp,
}

/// What all workers share.
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
    /// The record of decisions.
    pub audit: Audit,
    /// Counters.
    pub metrics: Metrics,
    /// Connections open now.
    pub connections: AtomicUsize,
    /// Hears of upstreams.
    pub observer: Arc<dyn UpstreamObserver>,
    /// Serving, or on the way out.
    pub phase: watch::Sender<Phase>,
}

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// No more; what is under way goes on.
    Draining,
    /// What is still under way is cut.
    Cutting,
}

impl Shared {
    /// The first snapshot in force.
    pub fn new(
        snapshot: Snapshot,
        audit: Audit,
        metrics: Metrics,
        observer: Arc<dyn UpstreamObserver>,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            generation: AtomicU64::new(snapshot.generation),
            snapshot: ArcSwap::from_pointee(snapshot),
            audit,
            metrics,
            observer,
            connections: AtomicUsize::new(0),
            phase: watch::Sender::new(Phase::Serving),
        })
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The newest snapshot's generation.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts a snapshot in force: requests that begin after this are judged by it.
    pub fn replace(&self, snapshot: Snapshot) {
        let generation = snapshot.generation;
        self.snapshot.store(Arc::new(snapshot));
        // After the snapshot: who sees the new number also finds what belongs to it.
        self.generation.store(generation, Ordering::Release);
    }
}

/// A worker: one thread's share.
pub struct Worker {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// The responses and tunnels that are still open.
    pub streams: Streams,
    live: Mutex<Arc<Live>>,
}

/// A snapshot as one worker has it.
pub struct Live {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Its upstreams, in the configuration's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Tokens verified under it.
    pub tokens: Arc<TokenCache>,
    /// Room for judged bodies.
    pub room: Room,
    /// For each route, the counters and the names of the headers that it or any permit sets.
    routes: Vec<(RouteMetrics, Vec<HeaderName>)>,
    unrouted: RouteMetrics,
}

impl Worker {
    /// A worker of this process.
    pub fn new(shared: Arc<Shared>) -> Worker {
        let live = Live::new(&shared, None);
        Worker {
            shared,
            streams: Streams::new(),
            live: Mutex::new(Arc::new(live)),
        }
    }

    /// What the next request is judged by.
    pub fn live(&self) -> Arc<Live> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.snapshot.generation != self.shared.generation() {
            *live = Arc::new(Live::new(&self.shared, Some(&live)));
        }
        live.clone()
    }
}

impl Live {
    /// The counters of a route, or of those requests that have none.
    pub fn metrics(&self, route: Option<usize>) -> &RouteMetrics {
        let found = route.and_then(|index| self.routes.get(index));
        found.map_or(&self.unrouted, |(metrics, _)| metrics)
    }

    /// The names of the headers that a route or any permit sets: an upstream that trusts one must get it from here, also
    /// where another permit holds.
    pub fn injected(&self, route: usize) -> &[HeaderName] {
        self.routes.get(route).map_or(&[], |(_, names)| names)
    }

    fn new(shared: &Shared, before: Option<&Live>) -> Live {
        let snapshot = shared.snapshot();
        let known = |wanted: &config::Upstream| {
            let before = before?;
            let configs = &before.snapshot.config.upstreams;
            let at = configs.iter().position(|known| same(known, wanted))?;
            before.upstreams.get(at).cloned()
        };
        let upstreams = snapshot.config.upstreams.iter();
        // Connections outlive a reload that leaves their upstream as it was.
        let upstreams = upstreams.map(|wanted| {
            known(wanted).unwrap_or_else(|| Upstream::observed(wanted, shared.observer.clone()))
        });
        let mut by_permits: Vec<HeaderName> = snapshot.policies.headers_set().cloned().collect();
        by_permits.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        by_permits.dedup();
        let routes = snapshot.config.routes.iter().map(|route| {
            let names = route.set_headers.iter().map(|(name, _)| name);
            let names = names.chain(&by_permits).cloned();
            (shared.metrics.route(&route.name), names.collect())
        });
        // So do verified tokens a reload that leaves identity as it was. (An identifier is the same one only then.)
        let size = snapshot.config.identity.token_cache;
        let tokens = before
            .filter(|before| Arc::ptr_eq(&before.snapshot.identifier, &snapshot.identifier))
            .filter(|before| before.snapshot.config.identity.token_cache == size)
            .map_or_else(|| Arc::new(TokenCache::new(size)), |b| b.tokens.clone());
        Live {
            routes: routes.collect(),
            unrouted: shared.metrics.route(""),
            upstreams: upstreams.collect(),
            tokens,
            room: Room::new(snapshot.config.limits.judged_bodies),
            snapshot,
        }
    }
}

/// Whether two configurations of an upstream are the same. With TLS they never are: the files behind it may differ.
fn same(a: &config::Upstream, b: &config::Upstream) -> bool {
    a.tls.is_none()
        && b.tls.is_none()
        && a.name == b.name
        && a.addresses == b.addresses
        && a.balance == b.balance
        && a.protocol == b.protocol
        && a.ejection == b.ejection
        && a.keep_idle == b.keep_idle
        && a.connect_timeout == b.connect_timeout
        && a.response_timeout == b.response_timeout
        && a.idle_timeout == b.idle_timeout
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.snapshot).finish()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}
