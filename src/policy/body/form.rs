//! `application/x-www-form-urlencoded` bodies, strictly.
//!
//! Readers of forms differ more than those of JSON: some ignore case, PHP reads `a.b` and `a b` as `a_b`, and
//! many read `a[]` and `a[x]` into `a`. So a name that is a variant of a judged one is refused even where it
//! stands alone, and so are pairs without `=`, pairs without a name, brackets that aren't a subscript's (PHP reads
//! `a[b` as `a_b`, Rack `a]` as `a`) and what isn't printable ASCII as it came.

use std::borrow::Cow;

use super::trie::{LISTS, Node, step};
use super::{Place, Plan, Slot};
use crate::policy::fault::Fault;
use crate::policy::json::fold::fold;

/// The names that a projection asks for, ready to be compared.
#[derive(Debug)]
pub(super) struct Names {
    /// Each with its variant key, by which they are sorted.
    watched: Vec<(Key<'static>, Box<str>)>,
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
        Names { watched, closed }
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
            } else if other.is_variant(key) {
                return Err(Fault::FormDuplicate);
            }
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
        if !is_name(&name) {
            return Err(Fault::FormSyntax);
        }
        let key = Key::of(&name);
        if plan.form.admit(&name, &key)? || plan.form.closed {
            judged.push(key.into_owned());
        }
        place(plan, &name, value, slots, places)?;
    }
    // Sorted, the names of one base stand together, the barest first.
    judged.sort_unstable();
    let mut pairs = judged.windows(2);
    if pairs.any(|pair| matches!(pair, [a, b] if a.base == b.base && a.is_variant(b))) {
        return Err(Fault::FormDuplicate);
    }
    Ok(())
}

/// PHP and Node's querystring silently read no further, so that a name behind these would be judged and not be there.
const MOST_NAMES: usize = 1000;

/// Whether this is a name and, at most, whole subscripts behind it: `a`, `a[]`, `a[b][c]`.
fn is_name(name: &str) -> bool {
    let (base, subscripts) = name.split_at_checked(bracket(name)).unwrap_or((name, ""));
    let is_key = |key: &str| !key.contains(['[', ']']) && key.trim() == key;
    let mut keys = subscripts.split_inclusive(']');
    !base.is_empty()
        && !base.contains(']')
        && !name.chars().any(char::is_control)
        && keys.all(|key| {
            let key = key.strip_prefix('[').and_then(|key| key.strip_suffix(']'));
            key.is_some_and(is_key)
        })
}

/// Where the subscripts begin, or the end.
fn bracket(name: &str) -> usize {
    name.find('[').unwrap_or(name.len())
}

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

/// A name as the most lenient reader takes it: what stands before a bracket, and from it on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'n> {
    base: Cow<'n, str>,
    /// Empty also for `[]`, which some readers take for the bare name and others for any subscript.
    subscript: Cow<'n, str>,
}

impl<'n> Key<'n> {
    fn of(name: &'n str) -> Key<'n> {
        let (base, subscript) = name.split_at_checked(bracket(name)).unwrap_or((name, ""));
        let subscript = if subscript == "[]" { "" } else { subscript };
        Key {
            // PHP drops leading spaces, and `new URLSearchParams(body)` the question mark at its beginning.
            base: lenient(base.trim_start_matches([' ', '?'])),
            subscript: lenient(subscript),
        }
    }

    fn into_owned(self) -> Key<'static> {
        Key {
            base: Cow::Owned(self.base.into_owned()),
            subscript: Cow::Owned(self.subscript.into_owned()),
        }
    }

    /// Whether a lenient reader may take the two, which have one base, for one.
    fn is_variant(&self, other: &Key<'_>) -> bool {
        self.subscript.is_empty() || other.subscript.is_empty() || self.subscript == other.subscript
    }
}

fn lenient(text: &str) -> Cow<'_, str> {
    let same = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'_' | b'-' | b'[' | b']')
    };
    if text.bytes().all(same) {
        return Cow::Borrowed(text);
    }
    let character = |c| if matches!(c, '.' | ' ') { '_' } else { fold(c) };
    Cow::Owned(text.chars().map(character).collect())
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
