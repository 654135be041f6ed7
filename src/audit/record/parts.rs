//! Lists within a record that borrow from the decision, and are owned where a record was read back.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::policy;

/// Ids of policies, borrowed from the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids<'a>(pub Cow<'a, [Arc<str>]>);

impl Ids<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Ids<'_> {
    fn default() -> Self {
        Ids(Cow::Borrowed(&[]))
    }
}

impl<'a> From<&'a [Arc<str>]> for Ids<'a> {
    fn from(ids: &'a [Arc<str>]) -> Ids<'a> {
        Ids(Cow::Borrowed(ids))
    }
}

impl<'a> From<&'a Arc<str>> for Ids<'a> {
    fn from(id: &'a Arc<str>) -> Ids<'a> {
        Ids(Cow::Borrowed(std::slice::from_ref(id)))
    }
}

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|id| &**id))
    }
}

impl<'de> Deserialize<'de> for Ids<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let ids = Vec::<String>::deserialize(from)?;
        Ok(Ids(ids.into_iter().map(Arc::from).collect()))
    }
}

/// What shadow policies would have said: `[{"policy":…,"permits":…}]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadows<'a>(pub Cow<'a, [policy::Shadow]>);

#[derive(Serialize, Deserialize)]
struct ShadowShape<'a> {
    policy: Cow<'a, str>,
    permits: bool,
}

impl Shadows<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Shadows<'_> {
    fn default() -> Self {
        Shadows(Cow::Borrowed(&[]))
    }
}

impl<'a> From<&'a [policy::Shadow]> for Shadows<'a> {
    fn from(shadows: &'a [policy::Shadow]) -> Shadows<'a> {
        Shadows(Cow::Borrowed(shadows))
    }
}

impl Serialize for Shadows<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|shadow| ShadowShape {
            policy: Cow::Borrowed(&shadow.policy),
            permits: shadow.effect == policy::Effect::Permit,
        }))
    }
}

impl<'de> Deserialize<'de> for Shadows<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let shadows = Vec::<ShadowShape<'_>>::deserialize(from)?;
        let own = |shape: ShadowShape<'_>| policy::Shadow {
            policy: shape.policy.into(),
            effect: if shape.permits {
                policy::Effect::Permit
            } else {
                policy::Effect::Forbid
            },
        };
        Ok(Shadows(shadows.into_iter().map(own).collect()))
    }
}

/// A judged field's name, and what is told of its value.
pub type JudgedField = (Arc<str>, Box<str>);

/// Judged fields and what is told of their values: `{"body/branch":"agent/fix-1"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgedFields<'a>(pub Cow<'a, [JudgedField]>);

impl JudgedFields<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for JudgedFields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(label, value)| (&**label, value)))
    }
}

impl<'de> Deserialize<'de> for JudgedFields<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fields = serde_json::Map::<String, serde_json::Value>::deserialize(from)?;
        let text = |value: serde_json::Value| Some(value.as_str()?.into());
        let fields = fields
            .into_iter()
            .filter_map(|(label, value)| Some((label.into(), text(value)?)));
        Ok(JudgedFields(fields.collect()))
    }
}

/// The names of a query. Made from the raw query, of which only the names are ever written.
#[derive(Clone)]
pub enum QueryNames<'a> {
    /// The raw query, as it came.
    Of(&'a str),
    /// Names that were read back.
    Names(Vec<String>),
}

impl<'a> QueryNames<'a> {
    /// The names in a raw query (`a=1&b=2`).
    pub fn of(query: Option<&'a str>) -> QueryNames<'a> {
        QueryNames::Of(query.unwrap_or_default())
    }

    /// The names in their order, at most 64 of them, each cut to 128 bytes: a name is the caller's to choose.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (raw, names) = match self {
            QueryNames::Of(raw) => (*raw, &[][..]),
            QueryNames::Names(names) => ("", names.as_slice()),
        };
        let of_raw = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
            .map(cut);
        of_raw
            .chain(names.iter().map(String::as_str))
            .take(QUERY_NAMES)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Default for QueryNames<'_> {
    fn default() -> Self {
        QueryNames::Of("")
    }
}

impl PartialEq for QueryNames<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

// values may be secrets, so that not even `Debug` shows them
impl std::fmt::Debug for QueryNames<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for QueryNames<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for QueryNames<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(QueryNames::Names)
    }
}

/// The text, or as many of its first characters as fit.
fn cut(name: &str) -> &str {
    if name.len() <= QUERY_NAME_BYTES {
        return name;
    }
    (0..=QUERY_NAME_BYTES)
        .rev()
        .find_map(|end| name.get(..end))
        .unwrap_or_default()
}

const QUERY_NAMES: usize = 64;
const QUERY_NAME_BYTES: usize = 128;
