//! The codes of an enum that records hold, as serde knows them: a list beside the enum could fall behind.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The names of a unit enum's variants as they stand in records; empty for any other type.
pub fn codes<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut asked = &[][..];
    // It fails whatever it is; what was asked for is the answer.
    let _refused = T::deserialize(Asking {
        variants: &mut asked,
        fields: &mut &[][..],
    });
    asked
}

/// The names of a struct's fields as they stand in records; empty for any other type.
#[cfg(test)]
pub(crate) fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut asked = &[][..];
    let _refused = T::deserialize(Asking {
        variants: &mut &[][..],
        fields: &mut asked,
    });
    asked
}

/// Has nothing to read, and notes what it was asked for.
struct Asking<'a> {
    variants: &'a mut &'static [&'static str],
    fields: &'a mut &'static [&'static str],
}

#[derive(Debug)]
struct Refused;

impl<'de> Deserializer<'de> for Asking<'_> {
    type Error = Refused;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refused> {
        *self.variants = variants;
        Err(Refused)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refused> {
        *self.fields = fields;
        Err(Refused)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing to read")
    }
}

impl std::error::Error for Refused {}

impl Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Refused {
        Refused
    }
}
