//! Verified tokens, so that each is verified once and not at each request.
//!
//! An entry is found by the token's whole text and the certificate that came with it, so that nothing but what was
//! verified is ever found. Only verified tokens enter: a flood of bad ones evicts nothing, and costs its sender
//! more than it costs here (one parse and at most one signature, about 60 µs for ES256). Times and the provider's
//! keys are the caller's to check at each use; what is found may be out of date. Bounded by second chance: a token
//! that was used since the hand last passed stays.
//!
//! Deliberately absent: negative entries, which an outsider could fill at will.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use jiff::Timestamp;

use crate::policy::Principal;

/// How much of a token's end is hashed, in bytes.
const TAIL: usize = 64;

/// The verified tokens of one worker.
pub struct TokenCache {
    slots: Mutex<Slots>,
    hasher: RandomState,
    capacity: usize,
}

/// What is known of a verified token.
#[derive(Clone)]
pub(super) struct Entry {
    /// The index of its provider.
    pub(super) provider: usize,
    /// The generation of the keys that verified it.
    pub(super) generation: u64,
    /// The first moment at which it counts.
    pub(super) valid_from: Timestamp,
    /// The first moment at which it no longer counts.
    pub(super) valid_until: Timestamp,
    /// Who it is.
    pub(super) principal: Arc<Principal>,
}

struct Slots {
    // From the hash of a slot to its place.
    places: HashTable<usize>,
    slots: Vec<Slot>,
    hand: usize,
}

struct Slot {
    hash: u64,
    token: Box<str>,
    peer: Option<[u8; 32]>,
    used: bool,
    entry: Entry,
}

impl TokenCache {
    /// An empty cache for so many tokens; 0 keeps none.
    pub fn new(capacity: usize) -> TokenCache {
        TokenCache {
            slots: Mutex::new(Slots {
                places: HashTable::new(),
                slots: Vec::new(),
                hand: 0,
            }),
            hasher: RandomState::default(),
            capacity,
        }
    }

    /// What is known of the token that came with this certificate (by its thumbprint).
    pub(super) fn find(&self, token: &str, peer: Option<&[u8; 32]>) -> Option<Entry> {
        let hash = self.hash(token, peer);
        self.with(|slots| {
            let place = slots.place(hash, token, peer)?;
            let slot = slots.slots.get_mut(place)?;
            slot.used = true;
            Some(slot.entry.clone())
        })
    }

    /// Keeps a token that was verified.
    pub(super) fn insert(&self, token: &str, peer: Option<&[u8; 32]>, entry: Entry) {
        if self.capacity == 0 {
            return;
        }
        let slot = Slot {
            hash: self.hash(token, peer),
            token: token.into(),
            peer: peer.copied(),
            used: false,
            entry,
        };
        self.with(|slots| slots.insert(slot, self.capacity));
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.with(|slots| slots.slots.len())
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // The end of the signature tells verified tokens apart as well as the whole, at a tenth of the cost; the whole
    // text is compared afterwards. Nobody but an issuer can make verified tokens that end alike.
    fn hash(&self, token: &str, peer: Option<&[u8; 32]>) -> u64 {
        let bytes = token.as_bytes();
        self.hasher
            .hash_one((bytes.last_chunk::<TAIL>().ok_or(bytes), peer))
    }

    // The lock is its worker's own, never contended, and never held across an await.
    fn with<T>(&self, f: impl FnOnce(&mut Slots) -> T) -> T {
        f(&mut self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Slots {
    fn place(&self, hash: u64, token: &str, peer: Option<&[u8; 32]>) -> Option<usize> {
        self.places
            .find(hash, |place| {
                self.slots
                    .get(*place)
                    .is_some_and(|slot| *slot.token == *token && slot.peer.as_ref() == peer)
            })
            .copied()
    }

    fn insert(&mut self, slot: Slot, capacity: usize) {
        if let Some(place) = self.place(slot.hash, &slot.token, slot.peer.as_ref()) {
            if let Some(old) = self.slots.get_mut(place) {
                *old = slot;
            }
            return;
        }
        let hash = slot.hash;
        let place = if self.slots.len() < capacity {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            self.replace(slot)
        };
        let slots = &self.slots;
        self.places.insert_unique(hash, place, |place| {
            slots.get(*place).map_or(0, |slot| slot.hash)
        });
    }

    /// Puts a slot in the place of one that wasn't used of late.
    fn replace(&mut self, new: Slot) -> usize {
        loop {
            let place = self.hand;
            self.hand = if place + 1 < self.slots.len() {
                place + 1
            } else {
                0
            };
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            if std::mem::take(&mut slot.used) {
                continue;
            }
            let old = std::mem::replace(slot, new);
            if let Ok(found) = self.places.find_entry(old.hash, |other| *other == place) {
                found.remove();
            }
            return place;
        }
    }
}
