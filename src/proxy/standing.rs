//! What an open stream stands on: the client's certificate, its credential, and the policies.
//!
//! All three are looked at again when a configuration comes into force. The certificate and the credential cost a
//! signature each, so they are verified again only where what verified them is no longer the same: a reload that leaves
//! identity alone costs a comparison.
//!
//! Deliberately absent: the new identity. A credential that by now says something else, another agent or one group
//! more, is not what the stream's record says of it, so the stream ends; the client may ask again. And a new end: where the
//! right now ends sooner, the stream ends at once; where later, when it would have.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;

use super::accept::Connection;
use super::identify::Identifier;
use super::judged::{Content, Judged};
use super::worker::Snapshot;
use crate::policy::PolicySet;

/// One stream's facts, kept for as long as it is open.
pub struct Standing {
    connection: Arc<Connection>,
    judged: Arc<Judged>,
    content: Content,
    depth: usize,
    /// When its right ends, which is the stream's deadline.
    until: Option<Timestamp>,
    /// What last found the credential good. Weak: an identifier keeps its keys fresh for as long as it is there, and
    /// must not outlive its configuration for a stream's sake. What a `Weak` points to is never used for another one.
    identifier: Mutex<Weak<Identifier>>,
}

impl Standing {
    /// What a request stands on that was permitted under this snapshot.
    pub fn new(
        connection: Arc<Connection>,
        judged: Arc<Judged>,
        content: Content,
        until: Option<Timestamp>,
        began: &Snapshot,
    ) -> Standing {
        Standing {
            connection,
            judged,
            content,
            depth: began.config.limits.json_depth,
            until,
            identifier: Mutex::new(Arc::downgrade(&began.identifier)),
        }
    }

    /// Whether these policies permit it for at least as long, and the configuration in force takes its client for the
    /// same one.
    pub fn holds(&self, policies: &PolicySet, now: Timestamp) -> bool {
        let newest = self.connection.newest();
        self.connection.vouched(&newest)
            && self.identified(&newest.identifier, now)
            && self.permitted(policies, now)
    }

    /// A stream keeps the deadline that it began with, so it ends where the new one were sooner.
    fn permitted(&self, policies: &PolicySet, now: Timestamp) -> bool {
        let permit = self.judged.permit(policies, &self.content, self.depth, now);
        permit.is_some_and(|permit| match (permit.until(), self.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(new), Some(old)) => new >= old,
        })
    }

    fn identified(&self, newest: &Arc<Identifier>, now: Timestamp) -> bool {
        let mut known = self
            .identifier
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(known.as_ptr(), Arc::as_ptr(newest)) {
            return true;
        }
        let certificate = self.connection.certificate.as_ref();
        let found = newest.identify_held(&self.judged.headers, certificate, now);
        let same = found.is_ok_and(|found| found.as_deref() == self.judged.principal.as_deref());
        if same {
            *known = Arc::downgrade(newest);
        }
        same
    }
}
