//! What the node is called, from record to record.
//!
//! The name stands within what is hashed, and is no mark of who wrote a record: a container is given a new one each time
//! it is made anew. So another name is told, and is no finding: if somebody else put it there, the chain or a checkpoint
//! tells.

use super::envelope::Odd;

/// The node's name as JSON, with its quotes: that of the last record, and the one that a reader was told last.
#[derive(Debug, Default)]
pub(super) struct Names {
    node: Vec<u8>,
    /// Since this record.
    since: u64,
    told: Vec<u8>,
    /// The two differ.
    untold: bool,
    /// A record had a name.
    records: bool,
    changes: usize,
}

impl Names {
    /// There is a header, or a record.
    pub(super) fn known(&self) -> bool {
        !self.node.is_empty()
    }

    /// The first name.
    pub(super) fn begin(&mut self, node: Vec<u8>) {
        self.told.clone_from(&node);
        self.node = node;
    }

    /// That of the last record, or of the header before the first.
    pub(super) fn node(&self) -> &[u8] {
        &self.node
    }

    /// That of the last record; `None` before there is one.
    pub(super) fn last(&self) -> Option<&[u8]> {
        self.records.then_some(&self.node)
    }

    /// A record; `follows`: it vouches for the one before, and so for its name.
    pub(super) fn record(
        &mut self,
        seq: u64,
        odd: Option<Odd>,
        line: &[u8],
        follows: bool,
        notes: &mut Vec<String>,
    ) {
        if self.untold && follows {
            self.tell(notes);
        }
        self.records = true;
        if odd == Some(Odd::Node)
            && let Some(named) = node_of(line)
        {
            self.untold = named != self.told;
            self.node = named;
            self.since = seq;
        }
    }

    /// The log ends: nothing follows its last record.
    pub(super) fn end(&mut self, notes: &mut Vec<String>) {
        if self.untold {
            self.tell(notes);
        }
        if let Some(more @ 1..) = self.changes.checked_sub(MANY) {
            notes.push(format!("and {more} more changes of the node's name"));
        }
    }

    fn tell(&mut self, notes: &mut Vec<String>) {
        self.told.clone_from(&self.node);
        self.untold = false;
        self.changes += 1;
        if self.changes <= MANY {
            notes.push(format!(
                "from record {} on the node is called {}",
                self.since,
                shown(&self.node)
            ));
        }
    }
}

/// The node's name as JSON, as a line says it.
pub(super) fn node_of(line: &[u8]) -> Option<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Named {
        node: String,
    }
    let Named { node } = serde_json::from_slice(line).ok()?;
    serde_json::to_vec(&node).ok()
}

/// A name for a terminal: in quotes, without what a terminal obeys, and not too long.
pub(super) fn shown(node: &[u8]) -> String {
    let name: String = serde_json::from_slice(node).unwrap_or_default();
    match name.char_indices().nth(LONG) {
        Some((at, _)) => format!("{:?} and so on", name.get(..at).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

/// So many changes are told one by one.
const MANY: usize = 20;
/// So many characters of a name are shown.
const LONG: usize = 100;
