//! A file's first line, held against the records around it.

use super::*;

/// A header whose file's first record is still to come.
pub(super) struct Pending {
    spot: Spot,
    header: Segment,
    tree_fits: bool,
    /// What the record before it calls the node, as JSON.
    called: Option<Vec<u8>>,
}

impl Scan {
    pub(super) fn header(&mut self, spot: Spot, header: Segment) {
        let node = serde_json::to_vec(&header.node).unwrap_or_default();
        if let Some(text) = nonsense(&header) {
            self.tell(Kind::Header, spot, None, text.to_owned());
            if self.last.is_none() {
                // the first record says where the log begins
                self.names.begin(node);
                if header.seq <= LARGEST && header.tree.size() <= header.seq {
                    self.trees.header(&header);
                }
            }
            return;
        }
        if self.last.is_none() {
            self.seen.anchor = Some((header.seq, header.prev));
            self.last = Some(Last {
                spot,
                seq: header.seq,
                leaf: header.prev,
            });
            self.names.begin(node);
            // a file before it can be empty
            self.base = Some((spot, header.clone()));
        }
        let tree_fits = self.trees.header(&header);
        self.header = Some(Pending {
            spot,
            header,
            tree_fits,
            called: self.names.last().map(<[u8]>::to_vec),
        });
    }

    /// A first line that isn't a header.
    pub(super) fn no_header(&mut self, spot: Spot, bytes: &[u8]) {
        let text = match envelope::read(bytes, self.names.node()) {
            Ok(_) => "the file begins with a record, not with a header",
            Err(_) => "not a header as it is written",
        };
        self.tell(Kind::Header, spot, None, text.to_owned());
    }

    /// Holds the header against the first record of its file and the last before it. Whether it vouches for what that
    /// record says of the one before.
    pub(super) fn header_before(&mut self, seq: u64, prev: &Hash, line: &[u8]) -> bool {
        let Some(Pending {
            spot,
            header,
            tree_fits,
            called,
        }) = self.header.take()
        else {
            return false;
        };
        self.node_before(spot, &header, called.as_deref(), seq, line);
        let next = header.seq + 1 == seq && header.prev == *prev;
        let last = self
            .last
            .is_some_and(|last| last.seq == header.seq && last.leaf == header.prev);
        if spot.file == 0 && header.prev == *prev && !next {
            // either of the two has another number than it had
            self.trees.header(&Segment {
                seq: seq - 1,
                ..header
            });
        }
        if !next && !last {
            self.seen.misfits.push((spot, header.seq, header.prev));
        } else if next && last && !tree_fits && !self.broken {
            let text = "its tree is not the one of the records before it";
            self.tell(Kind::Header, spot, None, text.to_owned());
        }
        self.broken &= tree_fits;
        next
    }

    /// Holds the node of the header against that of the file's first record: one process writes both. Unless it ended
    /// between the two, and another went on. `called`: the node by the record before the header.
    fn node_before(
        &mut self,
        spot: Spot,
        header: &Segment,
        called: Option<&[u8]>,
        seq: u64,
        line: &[u8],
    ) {
        let node = serde_json::to_vec(&header.node).unwrap_or_default();
        if node == self.names.node() {
            return;
        }
        match called {
            // it ended with the name that it had, and the next one has another
            Some(called) if called == node => {}
            // nobody here knows what it was called; the first that another process writes is no decision
            None if header.seq > 0 && !line.starts_with(DECISION) => {
                let named = names::shown(&node);
                self.note(format!(
                    "the header of file {} calls the node {named}, and the record after it otherwise",
                    spot.file + 1
                ));
            }
            Some(_) | None if self.misnamed.len() < MANY => self.misnamed.push((spot, seq)),
            Some(_) | None => {}
        }
    }

    /// A header that no record follows.
    pub(super) fn header_alone(&mut self, newest: bool) {
        let Some(Pending {
            spot,
            header,
            tree_fits,
            called,
        }) = self.header.take()
        else {
            return;
        };
        let node = serde_json::to_vec(&header.node).unwrap_or_default();
        if called.is_some_and(|called| called != node) {
            let named = names::shown(&node);
            let file = spot.file + 1;
            self.note(format!(
                "the header of file {file} calls the node {named}: no record in the file does, for it has none"
            ));
        }
        let last = self
            .last
            .is_some_and(|last| last.seq == header.seq && last.leaf == header.prev);
        if last && (tree_fits || self.broken) {
            return;
        }
        if newest && !tree_fits && !last {
            self.seen.claim = Some((spot, header.seq, header.prev));
        } else if !last {
            self.seen.misfits.push((spot, header.seq, header.prev));
        } else {
            let text = "it doesn't fit the records before it";
            self.tell(Kind::Header, spot, None, text.to_owned());
        }
    }
}

/// What in a header can't be, whatever the records are.
fn nonsense(header: &Segment) -> Option<&'static str> {
    let (seq, size) = (header.seq, header.tree.size());
    // a tree of an odd size has the last record alone at its end
    let odd = header.tree.roots().last().filter(|_| size % 2 == 1);
    if seq > LARGEST || size > seq {
        Some("its numbers are beyond any log's")
    } else if (seq == 0 && header.prev != ZERO) || (size > 0 && header.prev == ZERO) {
        // after records that were never chained there is a number, and neither hash nor tree
        Some("it begins a log and has a record before it, or neither")
    } else if size == seq && odd.is_some_and(|last| *last != header.prev) {
        Some("the last record of its tree is not the one that it says comes before")
    } else {
        None
    }
}

/// How a decision's line begins.
const DECISION: &[u8] = b"{\"v\":1,\"kind\":\"decision\"";
