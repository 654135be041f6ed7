//! The children of a node by their text.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// The literal children of a node. Most nodes have one, for which a map would be a waste.
#[derive(Debug, Default)]
pub(super) enum Literals {
    #[default]
    None,
    One(Box<str>, u32),
    Many(Box<HashMap<Box<str>, u32, FixedState>>),
}

impl Literals {
    pub(super) fn get(&self, text: &str) -> Option<u32> {
        match self {
            Literals::None => None,
            Literals::One(known, child) => (**known == *text).then_some(*child),
            Literals::Many(children) => children.get(text).copied(),
        }
    }

    /// The child of this text, which is `next` where there was none.
    pub(super) fn get_or_insert(&mut self, text: Box<str>, next: u32) -> u32 {
        match self {
            Literals::None => {
                *self = Literals::One(text, next);
                next
            }
            Literals::One(known, child) if *known == text => *child,
            Literals::One(known, child) => {
                let one = (std::mem::take(known), *child);
                let mut children: HashMap<_, _, FixedState> = [one].into_iter().collect();
                children.insert(text, next);
                *self = Literals::Many(Box::new(children));
                next
            }
            Literals::Many(children) => *children.entry(text).or_insert(next),
        }
    }
}
