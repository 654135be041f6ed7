//! One provider's keys over time: fetched, kept fresh, and given up when they are too old.
//!
//! Readers take a snapshot without waiting. A token with an unknown key causes one fetch that all who wait share,
//! at most every ten seconds; it runs on a task of its own, so that a caller who leaves ends nobody else's wait.
//! Ages are told by the wall clock, as all of a token's times are, and by a monotonic one as well: a clock that is set
//! back makes no key younger. The pace of fetches is monotonic.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::watch;

use super::KeyObserver;
use super::fetch::{Endpoint, FetchError};
use super::jwks::KeySet;

/// The least time between two fetches that tokens with unknown keys cause.
const PACE: Duration = Duration::from_secs(10);

/// The longest wait after a failed fetch.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The keys of one provider.
pub(super) struct KeyStore {
    provider: Arc<str>,
    remote: Option<Remote>,
    held: ArcSwapOption<Held>,
    // Both say what `held` says, for those who only need to know whether it is still the same.
    generation: AtomicU64,
    good_until: AtomicI64,
    // The same in seconds since `created`.
    good_for: AtomicU64,
    created: Instant,
    flights: Mutex<Flights>,
    failures: AtomicU32,
    observer: Arc<dyn KeyObserver>,
}

/// Keys that are fetched.
pub(super) struct Remote {
    pub(super) endpoint: Endpoint,
    pub(super) refresh: Duration,
    pub(super) max_stale: Duration,
}

/// A snapshot of the keys.
pub(super) struct Held {
    /// The keys.
    pub(super) keys: KeySet,
    /// Which set this is: another number, other keys.
    pub(super) generation: u64,
}

/// Why keys are fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The clock says so.
    Schedule,
    /// A token names a key that isn't here.
    UnknownKey,
}

#[derive(Default)]
struct Flights {
    // Closes when the fetch under way has ended.
    under_way: Option<watch::Receiver<()>>,
    started: Option<Instant>,
    // The last one that started didn't succeed, or hasn't yet.
    failed: bool,
}

impl KeyStore {
    /// Keys that are there from the start and never change.
    pub(super) fn fixed(
        provider: Arc<str>,
        keys: KeySet,
        observer: Arc<dyn KeyObserver>,
    ) -> Arc<KeyStore> {
        let store = KeyStore::empty(provider, None, observer);
        if !keys.is_empty() {
            store.hold(keys, 1);
            store.good(i64::MAX, u64::MAX);
        }
        Arc::new(store)
    }

    /// Keys that are fetched; there are none until the first fetch.
    pub(super) fn remote(
        provider: Arc<str>,
        remote: Remote,
        observer: Arc<dyn KeyObserver>,
    ) -> Arc<KeyStore> {
        Arc::new(KeyStore::empty(provider, Some(remote), observer))
    }

    fn empty(
        provider: Arc<str>,
        remote: Option<Remote>,
        observer: Arc<dyn KeyObserver>,
    ) -> KeyStore {
        KeyStore {
            provider,
            remote,
            held: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            good_until: AtomicI64::new(i64::MIN),
            good_for: AtomicU64::new(0),
            created: Instant::now(),
            flights: Mutex::default(),
            failures: AtomicU32::new(0),
            observer,
        }
    }

    /// Whether keys came, however old they are by now.
    pub(super) fn ready(&self) -> bool {
        self.generation.load(Ordering::Acquire) != 0
    }

    /// Whether the keys are fetched.
    pub(super) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The generation of the keys; `None` where there are none, or they are too old.
    pub(super) fn generation(&self, now: Timestamp) -> Option<u64> {
        let good = now.as_second() < self.good_until.load(Ordering::Acquire)
            && self.created.elapsed().as_secs() < self.good_for.load(Ordering::Acquire);
        good.then(|| self.generation.load(Ordering::Acquire))
    }

    /// The keys; `None` where there are none, or they are too old.
    pub(super) fn held(&self, now: Timestamp) -> Option<Arc<Held>> {
        self.generation(now)?;
        self.held.load_full()
    }

    /// Fetches the keys, or waits for the fetch that is under way. Does nothing where the keys are fixed, or where
    /// an unknown key asks sooner than the pace allows. Says whether the latest fetch succeeded.
    pub(super) async fn refetch(self: &Arc<Self>, cause: Cause) -> bool {
        if let Some(mut landing) = self.take_off(cause, Instant::now()) {
            // Nothing is ever sent: this is the error that the sender is gone.
            let _gone = landing.changed().await;
        }
        !self.flights().failed
    }

    /// Fetches again and again, each time before the keys are due. Never ends by itself.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        let Some(remote) = &self.remote else {
            return;
        };
        loop {
            let failures = self.failures.load(Ordering::Relaxed);
            let mut left = pause(remote.refresh, failures, jitter());
            // In steps: where the clock is set, or the machine slept, keys are stale before the timer is due.
            let stale = || self.ready() && self.generation(Timestamp::now()).is_none();
            while !left.is_zero() && (failures > 0 || !stale()) {
                let step = left.min(PACE);
                tokio::time::sleep(step).await;
                left -= step;
            }
            self.refetch(Cause::Schedule).await;
        }
    }

    fn take_off(self: &Arc<Self>, cause: Cause, now: Instant) -> Option<watch::Receiver<()>> {
        self.remote.as_ref()?;
        let mut flights = self.flights();
        // A closed channel is a fetch whose task died with its runtime.
        if let Some(landing) = &flights.under_way
            && landing.has_changed().is_ok()
        {
            return Some(landing.clone());
        }
        let soon = flights
            .started
            .is_some_and(|started| now.saturating_duration_since(started) < PACE);
        if cause == Cause::UnknownKey && soon {
            return None;
        }
        let (landed, landing) = watch::channel(());
        *flights = Flights {
            under_way: Some(landing.clone()),
            started: Some(now),
            failed: true,
        };
        drop(flights);
        let store = Arc::clone(self);
        tokio::spawn(async move {
            store.fetch().await;
            drop(landed);
        });
        Some(landing)
    }

    async fn fetch(&self) {
        let Some(remote) = &self.remote else {
            return;
        };
        let fetched = remote.endpoint.fetch().await;
        let ok = fetched.is_ok();
        self.land(fetched, remote.max_stale, Timestamp::now());
        self.observer.key_refresh(&self.provider, ok);
        let mut flights = self.flights();
        flights.failed = !ok;
        flights.under_way = None;
    }

    fn land(&self, fetched: Result<KeySet, FetchError>, max_stale: Duration, now: Timestamp) {
        let keys = match fetched {
            Ok(keys) => keys,
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(provider = %self.provider, %error, "keys not fetched");
                return;
            }
        };
        self.failures.store(0, Ordering::Relaxed);
        let stale = i64::try_from(max_stale.as_secs()).unwrap_or(i64::MAX);
        let good_until = now.as_second().saturating_add(stale);
        let age = self.created.elapsed().as_secs();
        let good_for = age.saturating_add(max_stale.as_secs());
        match self.held.load_full() {
            Some(held) if held.keys.same(&keys) => {}
            Some(held) => {
                let count = keys.len();
                self.hold(keys, held.generation + 1);
                self.observer.key_change(&self.provider, count);
            }
            None => self.hold(keys, 1),
        }
        self.good(good_until, good_for);
    }

    fn good(&self, until: i64, age: u64) {
        self.good_for.store(age, Ordering::Release);
        self.good_until.store(until, Ordering::Release);
    }

    fn hold(&self, keys: KeySet, generation: u64) {
        // The keys first: whoever sees the new number must find the new keys.
        self.held.store(Some(Arc::new(Held { keys, generation })));
        self.generation.store(generation, Ordering::Release);
    }

    /// As if no fetch had been started for long.
    #[cfg(test)]
    pub(super) fn forget_pace(&self) {
        self.flights().started = None;
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait until the next fetch: most of `refresh`, or after failures a second, doubled each time up to a minute.
/// `jitter` below 256 spreads proxies that were started together.
fn pause(refresh: Duration, failures: u32, jitter: u32) -> Duration {
    let refresh = refresh.max(PACE);
    if failures == 0 {
        // A tenth of it at most, in steps of one in 2,560.
        return refresh.saturating_sub((refresh / 2560).saturating_mul(jitter % 256));
    }
    let doubled = Duration::from_secs(1 << (failures - 1).min(6));
    doubled.min(LONGEST_RETRY).min(refresh)
}

fn jitter() -> u32 {
    // Seeded at random for each process, and different for each call by the clock.
    let hash = foldhash::fast::RandomState::default().hash_one(Instant::now());
    (hash % 256) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_failures_and_never_pass_the_refresh() {
        let hour = Duration::from_secs(3600);
        let cases = [
            (hour, 0, 0, 3600),
            (hour, 0, 255, 3600 - 358),
            (hour, 1, 9, 1),
            (hour, 2, 9, 2),
            (hour, 6, 9, 32),
            (hour, 7, 9, 60),
            (hour, u32::MAX, 9, 60),
            (Duration::from_secs(20), 9, 0, 20),
            (Duration::ZERO, 0, 0, 10),
            (Duration::MAX, 0, 0, u64::MAX),
            (Duration::MAX, 7, 255, 60),
        ];
        for (refresh, failures, jitter, expected) in cases {
            let got = pause(refresh, failures, jitter).as_secs();
            assert!(got.abs_diff(expected) <= 1, "{refresh:?} {failures}: {got}");
        }
    }
}
