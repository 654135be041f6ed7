//! The judged fields of a body, read in one pass over its bytes.

use super::fault::Fault;
use super::json::Pointer;
use super::value::Value;

/// What is to be read from a body: pointers, each under the id that the policy set gave it, and the closed
/// lists (`only`) that are to be checked on the way.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    _todo: (),
}

impl Projection {
    /// A projection of these fields and closed lists. An `only` list holds every pointer that it admits, the judged ones included.
    pub fn new(fields: &[(Pointer, u32)], only: &[(u32, Vec<Pointer>)]) -> Projection {
        let _ = (fields, only);
        Projection::default()
    }

    /// Several projections in one.
    pub fn merge(parts: &[&Projection]) -> Projection {
        let _ = parts;
        Projection::default()
    }
}

/// The fields of a body, read.
#[derive(Debug)]
pub struct BodyFields<'b> {
    _bytes: &'b [u8],
}

impl<'b> BodyFields<'b> {
    /// Reads JSON.
    pub fn json(
        bytes: &'b [u8],
        projection: &Projection,
        max_depth: usize,
    ) -> Result<BodyFields<'b>, Fault> {
        let _ = (projection, max_depth, bytes);
        Err(Fault::JsonSyntax)
    }

    /// Reads `application/x-www-form-urlencoded`; a field `name` stands at the pointer `/name`.
    pub fn form(bytes: &'b [u8], projection: &Projection) -> Result<BodyFields<'b>, Fault> {
        let _ = (projection, bytes);
        Err(Fault::FormSyntax)
    }

    /// The field of this id; [`Value::Missing`] where the body has none.
    pub fn field(&self, id: u32) -> Value<'_> {
        let _ = id;
        Value::Missing
    }

    /// The first place, as a pointer, that the closed list of this id doesn't admit.
    pub fn unexpected(&self, only: u32) -> Option<&str> {
        let _ = only;
        None
    }
}
