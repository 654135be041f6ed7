//! A member of an object that may be of another type than the one that is looked for.
//!
//! Names mean something else in other kinds of records, and fields may be added: what isn't of the type is passed over
//! whole and noted, and whoever knows the record's kind judges whether it had to be.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{What, Who};

/// What stands in a member.
#[derive(Debug, Default)]
pub(super) enum Member<T> {
    /// Nothing.
    #[default]
    Absent,
    /// What is looked for.
    Is(T),
    /// Something of another type.
    Other,
}

impl<T> Member<T> {
    /// It isn't of another type.
    pub(super) fn fits(&self) -> bool {
        !matches!(self, Member::Other)
    }

    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Member::Is(value) => Some(value),
            Member::Absent | Member::Other => None,
        }
    }
}

/// Text, borrowed where nothing in it is escaped.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Member::deserialize(from)? {
            Member::Is(text) => Ok(text),
            Member::Absent | Member::Other => Err(serde::de::Error::custom("expected text")),
        }
    }
}

/// What a type is made of in JSON. What it doesn't take is of another type.
pub(super) trait Shape<'de>: Sized {
    fn text(_: Cow<'de, str>) -> Option<Self> {
        None
    }

    fn number(_: u64) -> Option<Self> {
        None
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(mut object: A) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Text<'a> {
    fn text(text: Cow<'de, str>) -> Option<Self> {
        Some(Text(text))
    }
}

impl Shape<'_> for u16 {
    fn number(number: u64) -> Option<Self> {
        number.try_into().ok()
    }
}

impl Shape<'_> for u64 {
    fn number(number: u64) -> Option<Self> {
        Some(number)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Vec<Text<'a>> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut texts = Some(Vec::new());
        while let Some(member) = list.next_element()? {
            match (member, &mut texts) {
                (Member::Is(text), Some(texts)) => texts.push(text),
                _ => texts = None,
            }
        }
        Ok(texts)
    }
}

impl<'de: 'a, 'a> Shape<'de> for Who<'a> {
    fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        Who::deserialize(MapAccessDeserializer::new(object)).map(Some)
    }
}

impl<'de: 'a, 'a> Shape<'de> for What<'a> {
    fn object<A: MapAccess<'de>>(object: A) -> Result<Option<Self>, A::Error> {
        What::deserialize(MapAccessDeserializer::new(object)).map(Some)
    }
}

impl<'de, T: Shape<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any(PhantomData))
    }
}

/// Takes any JSON, and of it what the type is made of.
struct Any<T>(PhantomData<T>);

fn member<T>(value: Option<T>) -> Member<T> {
    value.map_or(Member::Other, Member::Is)
}

impl<'de, T: Shape<'de>> Visitor<'de> for Any<T> {
    type Value = Member<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Member<T>, E> {
        Ok(member(T::text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Member<T>, E> {
        Ok(member(T::text(Cow::Owned(text.to_owned()))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Member<T>, E> {
        Ok(member(T::number(number)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member<T>, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Member<T>, E> {
        Ok(Member::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member<T>, E> {
        Ok(Member::Other)
    }

    // records hold no null; where another tool writes one for what is absent, it is
    fn visit_unit<E>(self) -> Result<Member<T>, E> {
        Ok(Member::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Member<T>, A::Error> {
        T::list(list).map(member)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Member<T>, A::Error> {
        T::object(object).map(member)
    }
}
