//! The streams that a worker has open, so that they can be judged again and cut.
//!
//! A response or tunnel lives on after its decision. Each one registers how it would be judged now; when
//! policies change, or a right is revoked, all are asked again, and those that no longer hold are cut: the next
//! poll of their [`Ticket`] tells it, and no byte passes after that.
//!
//! Register before the decision is made, or take care that it was made under the set in force after the
//! registration: what registers between a change and its [`Streams::rejudge`] is asked, what registers after it
//! under the old set isn't.
//!
//! They are asked outside of the lock: to verify a thousand tokens again takes long enough to delay a worker, whose
//! every request comes by here.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;

use crate::audit::End;
use crate::policy::PolicySet;

/// Whether a stream would still be permitted by this set at this moment.
pub type Holds = Arc<dyn Fn(&PolicySet, Timestamp) -> bool + Send + Sync>;

/// The registry; clones share it.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<Slab>>);

/// One stream's entry; dropped, it is removed.
pub struct Ticket {
    streams: Streams,
    index: usize,
}

impl Streams {
    /// An empty registry.
    pub fn new() -> Streams {
        Streams::default()
    }

    /// Enters a stream.
    pub fn register(&self, holds: Holds) -> Ticket {
        let entry = Entry {
            holds,
            cut: None,
            waker: None,
        };
        let mut slab = self.lock();
        let index = match slab.free.pop() {
            Some(index) => index,
            None => {
                slab.entries.push(None);
                slab.entries.len() - 1
            }
        };
        if let Some(slot) = slab.entries.get_mut(index) {
            *slot = Some(entry);
        }
        Ticket {
            streams: self.clone(),
            index,
        }
    }

    /// Asks every stream whether it still holds, cuts those that don't, and tells how many those are.
    pub fn rejudge(&self, set: &PolicySet, now: Timestamp) -> usize {
        let open = |(index, entry): (usize, &Option<Entry>)| {
            let entry = entry.as_ref().filter(|entry| entry.cut.is_none())?;
            Some((index, entry.holds.clone()))
        };
        // Taken in a statement of its own: the lock ends with it.
        let mut gone: Vec<_> = self
            .lock()
            .entries
            .iter()
            .enumerate()
            .filter_map(open)
            .collect();
        gone.retain(|(_, holds)| !holds(set, now));
        // In order, as they were listed. A place may have been left to another stream since.
        let mut gone = gone.iter().peekable();
        self.cut(End::Cut, |place, entry| {
            while gone.next_if(|(index, _)| *index < place).is_some() {}
            let same = |(index, holds): &&(usize, Holds)| {
                *index == place && std::ptr::addr_eq(Arc::as_ptr(holds), Arc::as_ptr(&entry.holds))
            };
            gone.next_if(same).is_some()
        })
    }

    /// Cuts all: the proxy stops.
    pub fn cut_all(&self) -> usize {
        self.cut(End::Aborted, |_, _| true)
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        let slab = self.lock();
        slab.entries.len() - slab.free.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cut(&self, end: End, mut which: impl FnMut(usize, &Entry) -> bool) -> usize {
        let mut wakers = Vec::new();
        let mut cut = 0;
        let mut slab = self.lock();
        for (place, entry) in slab.entries.iter_mut().enumerate() {
            if let Some(entry) = entry
                && entry.cut.is_none()
                && which(place, entry)
            {
                entry.cut = Some(end);
                cut += 1;
                wakers.extend(entry.waker.take());
            }
        }
        // who is woken may drop its ticket at once, which takes the lock
        drop(slab);
        wakers.into_iter().for_each(Waker::wake);
        cut
    }

    fn lock(&self) -> MutexGuard<'_, Slab> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Ready once the stream is cut, with how it ends: [`End::Cut`], or [`End::Aborted`] where the proxy stops.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut slab = self.streams.lock();
        let Some(Some(entry)) = slab.entries.get_mut(self.index) else {
            return Poll::Ready(End::Cut);
        };
        if let Some(end) = entry.cut {
            return Poll::Ready(end);
        }
        if !entry
            .waker
            .as_ref()
            .is_some_and(|w| w.will_wake(cx.waker()))
        {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the stream is cut: for the time before there is a response to relay.
    pub async fn cut(&mut self) -> End {
        poll_fn(|cx| self.poll_cut(cx)).await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut slab = self.streams.lock();
        let entry = slab.entries.get_mut(self.index).and_then(Option::take);
        slab.free.push(self.index);
        // what the closure holds may be big
        drop(slab);
        drop(entry);
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("open", &self.len())
            .finish()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.index).finish()
    }
}

/// Entries at fixed places, so that a ticket finds its own without searching.
#[derive(Default)]
struct Slab {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

struct Entry {
    holds: Holds,
    cut: Option<End>,
    waker: Option<Waker>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejudging_cuts_what_no_longer_holds_and_nothing_else() {
        let streams = Streams::new();
        let set = PolicySet::load(&[]).unwrap();
        let mut stays = streams.register(Arc::new(|_, _| true));
        let mut goes = streams.register(Arc::new(|_, _| false));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(goes.poll_cut(cx).is_pending());
        assert_eq!(streams.rejudge(&set, Timestamp::UNIX_EPOCH), 1);
        assert_eq!(streams.rejudge(&set, Timestamp::UNIX_EPOCH), 0, "once");
        assert_eq!(goes.poll_cut(cx), Poll::Ready(End::Cut));
        assert!(stays.poll_cut(cx).is_pending());
        assert_eq!(streams.cut_all(), 1);
        assert_eq!(stays.poll_cut(cx), Poll::Ready(End::Aborted));
        assert_eq!(
            goes.poll_cut(cx),
            Poll::Ready(End::Cut),
            "the first cause stays"
        );
    }

    #[test]
    fn a_dropped_ticket_leaves_its_place_to_the_next() {
        let streams = Streams::new();
        let first = streams.register(Arc::new(|_, _| true));
        let second = streams.register(Arc::new(|_, _| false));
        assert_eq!(streams.len(), 2);
        let place = first.index;
        drop(first);
        assert_eq!(streams.len(), 1);
        let third = streams.register(Arc::new(|_, _| true));
        assert_eq!((third.index, streams.len()), (place, 2));
        drop((second, third));
        assert!(streams.is_empty());
        assert_eq!(streams.cut_all(), 0);
    }

    #[test]
    fn a_place_that_changes_hands_while_streams_are_asked_isnt_cut_for_the_one_before() {
        let streams = Streams::new();
        let set = PolicySet::load(&[]).unwrap();
        let kept = Arc::new(Mutex::new(None));
        let first = streams.register({
            let (streams, kept) = (streams.clone(), kept.clone());
            Arc::new(move |_: &PolicySet, _| {
                // The stream ends, and the next takes its place.
                let mut kept = kept.lock().unwrap();
                let ended: Option<Ticket> = kept.take();
                drop(ended);
                *kept = Some(streams.register(Arc::new(|_, _| true)));
                false
            })
        });
        let place = first.index;
        *kept.lock().unwrap() = Some(first);
        let mut other = streams.register(Arc::new(|_, _| false));
        assert_eq!(streams.rejudge(&set, Timestamp::UNIX_EPOCH), 1, "the other");
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(other.poll_cut(cx), Poll::Ready(End::Cut));
        let mut second = kept.lock().unwrap().take().unwrap();
        assert_eq!(second.index, place);
        assert!(second.poll_cut(cx).is_pending());
    }

    #[tokio::test]
    async fn a_cut_wakes_who_waits() {
        let streams = Streams::new();
        let mut ticket = streams.register(Arc::new(|_, _| true));
        let waits = tokio::spawn(async move { ticket.cut().await });
        tokio::task::yield_now().await;
        assert_eq!(streams.cut_all(), 1);
        assert_eq!(waits.await.unwrap(), End::Aborted);
    }
}
