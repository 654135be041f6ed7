//! `application/x-www-form-urlencoded` bodies, strictly.
//!
//! Readers of forms differ more than those of JSON: some ignore case, PHP reads `a.b` and `a b` as `a_b`, many read
//! `a[]` and `a[x]` into `a`, and those of Java and .NET `a.x` as well. So a name that is a variant of a judged one
//! is refused even where it stands alone, and so are pairs without `=`, pairs without a name, more pairs than some
//! read, and what isn't printable ASCII as it came.
//! Brackets that aren't a name's whole tail are repaired differently everywhere (PHP reads `a[b` as `a_b` and
//! `a[b]c` as `a[b]`, Rack `[a]` and `a]` as `a`), so they are refused in every name. So is a field that
//! overrides the method.

use std::borrow::Cow;

use super::trie::{LISTS, Node, step};
use super::{Place, Plan, Slot};
use crate::policy::fault::Fault;
use crate::policy::json::fold::fold;
use crate::policy::normalise::query::overrides_method;

/// The names that a projection asks for, ready to be compared.
#[derive(Debug)]
pub(super) struct Names {
    /// Each with its variant key, by which they are sorted.
    watched: Vec<(Key<'static>, Box<str>)>,
    /// The same by their flat form.
    flat: Vec<(Cow<'static, str>, Box<str>)>,
    /// The same by what stands before their brackets, and whether they are open.
    bare: Vec<(Cow<'static, str>, bool, Box<str>)>,
    /// Whether there is a closed list, which makes every name one that is judged.
    closed: bool,
}

impl Names {
    pub(super) fn of(tries: &[Node], closed: bool) -> Names {
        let names = tries.iter().flat_map(Node::members);
        let mut watched: Vec<(Key<'static>, Box<str>)> = names
            .map(|(name, _)| (Key::of(name).into_owned(), name.into()))
            .collect();
        watched.sort_unstable();
        watched.dedup();
        let flat = watched.iter();
        let mut flat: Vec<_> = flat
            .map(|(key, name)| (key.flat.clone(), name.clone()))
            .collect();
        flat.sort_unstable();
        let bare = watched.iter();
        let mut bare: Vec<_> = bare
            .map(|(key, name)| (key.bare.clone(), key.open, name.clone()))
            .collect();
        bare.sort_unstable();
        Names {
            watched,
            flat,
            bare,
            closed,
        }
    }

    /// Refuses a variant of a watched name; says whether the name is watched.
    fn admit(&self, name: &str, key: &Key<'_>) -> Result<bool, Fault> {
        let start = self
            .watched
            .partition_point(|(other, _)| *other.base < *key.base);
        let alike = self.watched.iter().skip(start);
        let mut found = false;
        for (other, watched) in alike.take_while(|(other, _)| other.base == key.base) {
            if **watched == *name {
                found = true;
            } else if other.is_part(key) {
                return Err(Fault::FormDuplicate);
            }
        }
        let start = self.flat.partition_point(|(flat, _)| **flat < *key.flat);
        let alike = self.flat.iter().skip(start);
        let mut alike = alike.take_while(|(flat, _)| *flat == key.flat);
        if alike.any(|(_, watched)| **watched != *name) {
            return Err(Fault::FormDuplicate);
        }
        let start = self.bare.partition_point(|(bare, ..)| **bare < *key.bare);
        let alike = self.bare.iter().skip(start);
        let mut alike = alike.take_while(|(bare, ..)| *bare == key.bare);
        if alike.any(|(_, open, watched)| **watched != *name && (*open || key.open)) {
            return Err(Fault::FormDuplicate);
        }
        Ok(found)
    }
}

/// Reads a form.
pub(super) fn read<'b>(
    bytes: &'b [u8],
    plan: &Plan,
    slots: &mut [Slot<'b>],
    places: &mut Vec<Place>,
) -> Result<(), Fault> {
    // "" asks for the whole document, and a form is none.
    if let Some(slot) = plan.tries.first().and_then(|root| root.slot)
        && let Some(slot) = slots.get_mut(slot)
    {
        *slot = Slot::Unreadable;
    }
    let mut judged = Vec::new();
    for (at, pair) in bytes.split(|byte| *byte == b'&').enumerate() {
        if at >= MOST_NAMES {
            return Err(Fault::FormTooComplex);
        }
        let equals = memchr::memchr(b'=', pair).ok_or(Fault::FormSyntax)?;
        let (name, value) = pair.split_at_checked(equals).ok_or(Fault::FormSyntax)?;
        let name = decode(name)?;
        let value = decode(value.get(1..).unwrap_or_default())?;
        if name.is_empty() || name.chars().any(char::is_control) || !brackets_close(&name) {
            return Err(Fault::FormSyntax);
        }
        if overrides_method(&name) {
            return Err(Fault::MethodOverride);
        }
        let key = Key::of(&name);
        if plan.form.admit(&name, &key)? || plan.form.closed {
            judged.push(key.into_owned());
        }
        place(plan, &name, value, slots, places)?;
    }
    // Sorted, what is a part of a name stands right after it, and then what is flat the same.
    judged.sort_unstable();
    let mut pairs = judged.windows(2);
    let mut twice = pairs.any(|pair| matches!(pair, [a, b] if a.base == b.base && a.is_part(b)));
    judged.sort_unstable_by(|a, b| a.flat.cmp(&b.flat));
    let mut pairs = judged.windows(2);
    twice |= pairs.any(|pair| matches!(pair, [a, b] if a.flat == b.flat));
    // Of those with the same name before their brackets the open ones come first.
    judged.sort_unstable_by(|a, b| (&a.bare, !a.open).cmp(&(&b.bare, !b.open)));
    let mut pairs = judged.windows(2);
    twice |= pairs.any(|pair| matches!(pair, [a, b] if a.bare == b.bare && a.open));
    if twice {
        return Err(Fault::FormDuplicate);
    }
    Ok(())
}

/// PHP and Node's querystring silently read no further, so that a name behind these would be judged and not be there.
const MOST_NAMES: usize = 1000;

/// Puts a value into its slot, and notes each list that doesn't admit it.
fn place<'b>(
    plan: &Plan,
    name: &str,
    value: Cow<'b, str>,
    slots: &mut [Slot<'b>],
    places: &mut Vec<Place>,
) -> Result<(), Fault> {
    let mut value = Some(value);
    for (root, first_list) in plan.tries.iter().zip((0_usize..).step_by(LISTS)) {
        let child = root.child(name).map_err(|_| Fault::FormDuplicate)?;
        // A value is a scalar: what admits only something inside it doesn't admit it.
        let mut strayed = root.way & !child.map_or(0, |node| node.inside);
        while strayed != 0 {
            let list = first_list.saturating_add(strayed.trailing_zeros() as usize);
            strayed &= strayed.wrapping_sub(1);
            if !places.iter().any(|place| place.list == list) {
                let pointer = step("", name).into();
                places.push(Place { list, pointer });
            }
        }
        if let Some(slot) = child.and_then(|node| node.slot)
            && let Some(slot) = slots.get_mut(slot)
            && let Some(value) = value.take()
        {
            *slot = Slot::Wire(value);
        }
    }
    Ok(())
}

/// A name as the most lenient readers take it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'n> {
    /// What stands before the first bracket or point.
    base: Cow<'n, str>,
    /// The steps from there on, `a[b]` and `a.b` alike. Empty also where one of them is, which some readers take
    /// for the bare name and others for any step.
    steps: String,
    /// All of it as one name, as PHP takes `a.b` and `a b` for `a_b`.
    flat: Cow<'n, str>,
    /// What stands before the first bracket, as one name: PHP takes `a.b[]` for `a_b`.
    bare: Cow<'n, str>,
    /// Whether it is all of that, or whichever element of it comes next (`a`, `a[]`).
    open: bool,
}

impl<'n> Key<'n> {
    fn of(name: &'n str) -> Key<'n> {
        // PHP drops leading spaces, and `new URLSearchParams(body)` the question mark at its beginning.
        let name = name.trim_start_matches([' ', '?']);
        let mut inner = name.char_indices().skip(1);
        let end = inner.find(|(_, c)| matches!(c, '[' | '.'));
        let end = end.map_or(name.len(), |(at, _)| at);
        let (base, tail) = name.split_at_checked(end).unwrap_or((name, ""));
        let mut steps = String::new();
        for step in tail.split(['[', '.']).skip(1) {
            let step = step.trim_end_matches(']');
            if step.is_empty() {
                steps.clear();
                break;
            }
            steps.push('[');
            steps.push_str(&lenient(step));
            steps.push(']');
        }
        Key {
            base: lenient(base),
            steps,
            flat: lenient(name),
            bare: lenient(name.split('[').next().unwrap_or(name)),
            open: name.find('[').is_none_or(|at| {
                let subscripts = name.get(at..).unwrap_or_default();
                subscripts.starts_with("[]")
            }),
        }
    }

    fn into_owned(self) -> Key<'static> {
        Key {
            base: Cow::Owned(self.base.into_owned()),
            steps: self.steps,
            flat: Cow::Owned(self.flat.into_owned()),
            bare: Cow::Owned(self.bare.into_owned()),
            open: self.open,
        }
    }

    /// Whether a lenient reader may take the two, which have one base, for one, or the one for a part of the other.
    fn is_part(&self, other: &Key<'_>) -> bool {
        self.steps.starts_with(&other.steps) || other.steps.starts_with(&self.steps)
    }
}

/// Whether all brackets of a name are a tail of whole subscripts: `a[b][]`.
fn brackets_close(name: &str) -> bool {
    let Some((base, tail)) = name.split_once('[') else {
        return !name.contains(']');
    };
    let subscripts = tail.strip_suffix(']');
    !base.is_empty()
        && !base.contains(']')
        && subscripts.is_some_and(|all| {
            let mut each = all.split("][");
            each.all(|key| !key.contains(['[', ']']) && key.trim() == key)
        })
}

/// In lower case, with what PHP takes for an underscore as one.
fn lenient(text: &str) -> Cow<'_, str> {
    let same = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    if text.bytes().all(same) {
        return Cow::Borrowed(text);
    }
    let characters = text.chars().filter(|c| *c != ']');
    let character = |c| match c {
        '.' | ' ' | '[' => '_',
        c => fold(c),
    };
    Cow::Owned(characters.map(character).collect())
}

/// Decodes a name or a value.
fn decode(raw: &[u8]) -> Result<Cow<'_, str>, Fault> {
    // What a browser would have escaped and what another reader may split on doesn't come plain.
    if !raw
        .iter()
        .all(|byte| matches!(byte, b'!'..=b'~') && *byte != b';')
    {
        return Err(Fault::FormSyntax);
    }
    if memchr::memchr2(b'%', b'+', raw).is_none() {
        return std::str::from_utf8(raw)
            .map(Cow::Borrowed)
            .map_err(|_| Fault::FormSyntax);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        decoded.push(match (byte, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, tail @ ..]) => {
                rest = tail;
                hex(*high)? << 4 | hex(*low)?
            }
            (b'%', _) => return Err(Fault::FormSyntax),
            _ => *byte,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| Fault::FormSyntax)
}

fn hex(digit: u8) -> Result<u8, Fault> {
    match digit {
        b'0'..=b'9' => Ok(digit & 0x0F),
        b'a'..=b'f' | b'A'..=b'F' => Ok((digit & 0x0F) + 9),
        _ => Err(Fault::FormSyntax),
    }
}
