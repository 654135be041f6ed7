//! One pass over a JSON body: it follows the trie where the body does, and skips the rest.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::trie::{Lists, Node, step};
use super::{Place, Slot};
use crate::policy::fault::Fault;
use crate::policy::json::Json;
use crate::policy::json::scan::Scanner;
use crate::policy::json::tree::any_twice;

/// The state of a pass.
pub(super) struct Walk<'w, 'b> {
    scanner: Scanner<'b>,
    slots: &'w mut [Slot<'b>],
    /// Where each list was strayed from first.
    places: &'w mut Vec<Place>,
    strayed: Lists,
    /// The number of the trie's first list.
    first_list: usize,
    /// The keys so far of all objects that are open and followed, the outermost object's first.
    keys: SmallVec<[Cow<'b, str>; 16]>,
}

impl<'w, 'b> Walk<'w, 'b> {
    /// Reads the whole document along this trie.
    pub(super) fn run(
        scanner: Scanner<'b>,
        trie: &Node,
        first_list: usize,
        slots: &'w mut [Slot<'b>],
        places: &'w mut Vec<Place>,
    ) -> Result<(), Fault> {
        let mut walk = Walk {
            scanner,
            slots,
            places,
            strayed: 0,
            first_list,
            keys: SmallVec::new(),
        };
        let first = walk.scanner.next();
        walk.value(trie, first)?;
        walk.scanner.end()
    }

    /// Reads the value of a node. It recurses as deep as the trie, which is never deeper than `MAX_DEPTH`.
    fn value(&mut self, node: &Node, first: u8) -> Result<(), Fault> {
        let container = matches!(first, b'{' | b'[');
        if let Some(slot) = node.slot {
            if !container {
                let scalar = self.scanner.scalar(first)?;
                self.fill(slot, Slot::Scalar(scalar));
                self.stray(node.way, || node.pointer.to_string());
                return Ok(());
            }
            // Where fields lie inside a judged container, it is read a second time for them.
            let again = node.is_inner().then(|| self.scanner.clone());
            let tree = self.scanner.tree(first)?;
            if let Json::Object(members) = &tree {
                let mut keys = members.iter().map(|(key, _)| key);
                keys.try_for_each(|key| check_override(node, key))?;
            }
            self.fill(slot, Slot::Tree(tree));
            match again {
                Some(scanner) => self.scanner = scanner,
                None => return Ok(()),
            }
        }
        match first {
            b'{' if node.is_inner() => self.object(node),
            b'[' if node.is_inner() => self.array(node),
            _ => {
                self.scanner.skip(first)?;
                self.stray(node.way, || node.pointer.to_string());
                Ok(())
            }
        }
    }

    /// Reads an object that leads to something, its brace taken. All of its keys are looked at.
    fn object(&mut self, node: &Node) -> Result<(), Fault> {
        self.scanner.enter()?;
        let outer_keys = self.keys.len();
        let mut byte = self.scanner.next();
        while byte != b'}' {
            if byte != b'"' {
                return Err(Fault::JsonSyntax);
            }
            let key = self.scanner.key()?;
            check_override(node, &key)?;
            // Only an escape makes a NUL, at which readers written in C end a key.
            if let Cow::Owned(unescaped) = &key
                && unescaped.contains('\0')
            {
                return Err(Fault::JsonKeyCase);
            }
            let first = self.scanner.next();
            match node.child(&key)? {
                Some(child) => {
                    self.stray(node.way & !(child.way | child.inside), || {
                        child.pointer.to_string()
                    });
                    self.keys.push(key);
                    self.value(child, first)?;
                }
                None => {
                    self.stray(node.way, || step(&node.pointer, &key));
                    self.keys.push(key);
                    self.scanner.skip(first)?;
                }
            }
            byte = match self.scanner.next() {
                b'}' => b'}',
                // A brace after a comma would end the loop as if nothing were wrong.
                b',' => match self.scanner.next() {
                    b'}' => return Err(Fault::JsonSyntax),
                    byte => byte,
                },
                _ => return Err(Fault::JsonSyntax),
            };
        }
        let keys = self.keys.get(outer_keys..).unwrap_or_default();
        if any_twice(keys, |key| key) {
            return Err(Fault::JsonDuplicateKey);
        }
        self.keys.truncate(outer_keys);
        self.scanner.leave();
        Ok(())
    }

    /// Reads an array that leads to something, its bracket taken.
    fn array(&mut self, node: &Node) -> Result<(), Fault> {
        self.scanner.enter()?;
        let mut listed = node.elements().peekable();
        let mut byte = self.scanner.next();
        if byte == b']' {
            let by_index = node
                .elements()
                .fold(0, |all, (_, child)| all | child.way | child.inside);
            self.stray(node.way & !by_index, || node.pointer.to_string());
            self.scanner.leave();
            return Ok(());
        }
        for index in 0_usize.. {
            match listed.next_if(|(next, _)| *next == index) {
                Some((_, child)) => {
                    self.stray(node.way & !(child.way | child.inside), || {
                        child.pointer.to_string()
                    });
                    self.value(child, byte)?;
                }
                None => {
                    self.stray(node.way, || step(&node.pointer, &index.to_string()));
                    self.scanner.skip(byte)?;
                }
            }
            match self.scanner.next() {
                b',' => byte = self.scanner.next(),
                b']' => break,
                _ => return Err(Fault::JsonSyntax),
            }
        }
        self.scanner.leave();
        Ok(())
    }

    fn fill(&mut self, slot: usize, value: Slot<'b>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = value;
        }
    }

    /// Notes that these lists don't admit what stands here.
    #[inline]
    fn stray(&mut self, lists: Lists, pointer: impl Fn() -> String) {
        let mut first = lists & !self.strayed;
        if first == 0 {
            return;
        }
        self.strayed |= first;
        while first != 0 {
            let bit = first.trailing_zeros() as usize;
            self.places.push(Place {
                list: self.first_list.saturating_add(bit),
                pointer: pointer().into(),
            });
            first &= first.wrapping_sub(1);
        }
    }
}

/// Refuses a key of the whole document by which Laravel and Parse let a request say that it has another method.
#[inline]
fn check_override(node: &Node, key: &str) -> Result<(), Fault> {
    if node.pointer.is_empty() && key.eq_ignore_ascii_case("_method") {
        return Err(Fault::MethodOverride);
    }
    Ok(())
}
