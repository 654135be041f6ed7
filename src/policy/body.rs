//! The judged fields of a body, read in one pass over its bytes.
//!
//! A [`Projection`] says what is to be read: judged fields, and closed lists (`only`). [`BodyFields`] is what
//! came of it. Only a judged array or object becomes a tree; a judged scalar is a slice of the body where it
//! can be, and what nobody judges is checked for being JSON and passed over.
//!
//! A body that two readers could read differently is refused where that matters: a key twice in a judged value
//! or in an object above one, or a key there that equals a judged one but for case. An object that a closed
//! list looks into counts as above one. Inside what is not judged, duplicates are deliberately not looked for.

mod form;
mod trie;
mod walk;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::fault::Fault;
use super::json::scan::{Scalar, Scanner};
use super::json::{Json, Pointer, fold};
use super::value::Value;
use trie::{LISTS, Node};
use walk::Walk;

/// What is to be read from a body: pointers, each under the id that the policy set gave it, and the closed
/// lists (`only`) that are to be checked on the way. To clone it costs nothing; to make or merge one does, so
/// keep them with the policies.
#[derive(Clone, Debug, Default)]
pub struct Projection(Arc<Plan>);

impl Projection {
    /// A projection of these fields and closed lists. An `only` list holds every pointer that it admits, the judged ones included.
    pub fn new(fields: &[(Pointer, u32)], only: &[(u32, Vec<Pointer>)]) -> Projection {
        let fields = fields.iter().map(|(pointer, id)| (*id, pointer.clone()));
        let only = only.iter().map(|(id, list)| {
            let mut list = list.clone();
            list.sort_unstable();
            list.dedup();
            (*id, list)
        });
        Projection(Arc::new(Plan::new(fields.collect(), only.collect())))
    }

    /// Several projections in one.
    pub fn merge(parts: &[&Projection]) -> Projection {
        if let [first, others @ ..] = parts
            && others.iter().all(|other| Arc::ptr_eq(&first.0, &other.0))
        {
            return (*first).clone();
        }
        let fields = parts.iter().flat_map(|part| part.0.fields.iter().cloned());
        let only = parts.iter().flat_map(|part| part.0.only.iter().cloned());
        Projection(Arc::new(Plan::new(fields.collect(), only.collect())))
    }
}

/// The fields of a body, read.
#[derive(Debug)]
pub struct BodyFields<'b> {
    /// Id to slot, sorted.
    ids: SmallVec<[(u32, usize); 8]>,
    /// A `Vec`, since `SmallVec` would tie a borrow of the fields to the bytes for as long as these live.
    slots: Vec<Slot<'b>>,
    /// The `only` ids whose list the body strayed from, and where.
    unexpected: Vec<(u32, Arc<str>)>,
}

impl<'b> BodyFields<'b> {
    /// Reads JSON. `max_depth` bounds how many containers lie within each other, at most 512.
    pub fn json(
        bytes: &'b [u8],
        projection: &Projection,
        max_depth: usize,
    ) -> Result<BodyFields<'b>, Fault> {
        let plan = &*projection.0;
        let scanner = Scanner::new(bytes, max_depth)?;
        let mut read = BodyFields::of(plan);
        let mut places = Vec::new();
        for (trie, first_list) in plan.tries.iter().zip((0..).step_by(LISTS)) {
            Walk::run(
                scanner.clone(),
                trie,
                first_list,
                &mut read.slots,
                &mut places,
            )?;
        }
        read.unexpected = plan.strayed(&places);
        Ok(read)
    }

    /// Reads `application/x-www-form-urlencoded`; a field `name` stands at the pointer `/name`.
    pub fn form(bytes: &'b [u8], projection: &Projection) -> Result<BodyFields<'b>, Fault> {
        let plan = &*projection.0;
        let mut read = BodyFields::of(plan);
        let mut places = Vec::new();
        form::read(bytes, plan, &mut read.slots, &mut places)?;
        read.unexpected = plan.strayed(&places);
        Ok(read)
    }

    /// The field of this id; [`Value::Missing`] where the body has none.
    pub fn field(&self, id: u32) -> Value<'_> {
        let found = self.ids.binary_search_by_key(&id, |(other, _)| *other);
        let slot = found.ok().and_then(|at| self.ids.get(at));
        match slot.and_then(|(_, slot)| self.slots.get(*slot)) {
            None | Some(Slot::Missing) => Value::Missing,
            Some(Slot::Unreadable) => Value::Unreadable,
            Some(Slot::Scalar(Scalar::Null)) => Value::Null,
            Some(Slot::Scalar(Scalar::Bool(value))) => Value::Bool(*value),
            Some(Slot::Scalar(Scalar::Number(text))) => Value::Number(text),
            Some(Slot::Scalar(Scalar::Text(text))) => Value::Text(text),
            Some(Slot::Tree(json)) => Value::Json(json),
            Some(Slot::Wire(text)) => Value::Wire(text),
        }
    }

    /// The first place, as a pointer, that the closed list of this id doesn't admit.
    pub fn unexpected(&self, only: u32) -> Option<&str> {
        let found = self.unexpected.iter().find(|(id, _)| *id == only);
        found.map(|(_, pointer)| &**pointer)
    }

    /// A body without anything in it.
    fn of(plan: &Plan) -> BodyFields<'b> {
        BodyFields {
            ids: SmallVec::from_slice(&plan.ids),
            slots: (0..plan.slots).map(|_| Slot::Missing).collect(),
            unexpected: Vec::new(),
        }
    }
}

/// What a judged pointer leads to.
#[derive(Debug)]
enum Slot<'b> {
    Missing,
    /// Something for which this format has no value.
    Unreadable,
    Scalar(Scalar<'b>),
    Tree(Json),
    /// Of a form, which knows no types.
    Wire(Cow<'b, str>),
}

/// Where a body first strayed from a closed list.
struct Place {
    list: usize,
    pointer: Arc<str>,
}

/// A projection worked out.
#[derive(Debug)]
struct Plan {
    // What it was made of, to be merged.
    fields: Vec<(u32, Pointer)>,
    only: Vec<(u32, Vec<Pointer>)>,
    /// Id to slot, sorted; ids of one pointer share its slot.
    ids: Vec<(u32, usize)>,
    slots: usize,
    /// `only` id to list; ids of equal lists share one.
    lists: Vec<(u32, usize)>,
    /// The first knows all fields and the first 64 lists, each other one the next 64: a pass each. Never empty,
    /// since even a body of which nothing is judged must be JSON.
    tries: Vec<Node>,
    form: form::Names,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan::new(Vec::new(), Vec::new())
    }
}

impl Plan {
    fn new(mut fields: Vec<(u32, Pointer)>, mut only: Vec<(u32, Vec<Pointer>)>) -> Plan {
        fold::prepare();
        fields.sort_unstable();
        fields.dedup();
        only.sort_unstable();
        only.dedup();
        let mut slots = BTreeMap::new();
        let mut ids = Vec::with_capacity(fields.len());
        for (id, pointer) in &fields {
            let next = slots.len();
            ids.push((*id, *slots.entry(pointer).or_insert(next)));
        }
        let mut closed: Vec<Vec<Pointer>> = Vec::new();
        let mut lists = Vec::with_capacity(only.len());
        for (id, list) in &only {
            let known = closed.iter().position(|other| other == list);
            lists.push((*id, known.unwrap_or(closed.len())));
            if known.is_none() {
                closed.push(list.clone());
            }
        }
        let judged = slots.iter().map(|(pointer, slot)| (*pointer, *slot));
        let (first, others) = closed.split_at(closed.len().min(LISTS));
        let mut tries = vec![Node::build(judged, first)];
        let others = others.chunks(LISTS);
        tries.extend(others.map(|lists| Node::build(std::iter::empty(), lists)));
        Plan {
            form: form::Names::of(&tries, !closed.is_empty()),
            ids,
            slots: slots.len(),
            lists,
            tries,
            fields,
            only,
        }
    }

    /// Each `only` id whose list the body strayed from.
    fn strayed(&self, places: &[Place]) -> Vec<(u32, Arc<str>)> {
        if places.is_empty() {
            return Vec::new();
        }
        let first = |list: usize| places.iter().find(|place| place.list == list);
        let ids = self.lists.iter();
        ids.filter_map(|(id, list)| Some((*id, first(*list)?.pointer.clone())))
            .collect()
    }
}
