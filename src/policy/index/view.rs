//! A path as one template sees it.

use std::borrow::Cow;
use std::rc::Rc;

use crate::policy::normalise::Canonical;
use crate::policy::template::Span;

/// A path as a template sees it: one text for each of its segments.
#[derive(Clone, Debug)]
pub(in crate::policy) enum PathView<'r> {
    /// The canonical segments.
    Canonical(&'r Canonical),
    /// Another reading, cut as the template's parts took it.
    Reading(Rc<[Cow<'r, str>]>),
}

impl<'r> PathView<'r> {
    /// The text of a run of segments, joined by `/`; `None` where a segment of several itself holds a slash,
    /// so that the joined text could be read in two ways.
    pub(in crate::policy) fn span(&self, span: Span) -> Option<Cow<'r, str>> {
        let start = usize::from(span.start);
        match self {
            PathView::Canonical(path) => match span.len {
                Some(1) => Some(Cow::Borrowed(path.segment(start))),
                Some(len) => path.joined(start..start + usize::from(len)),
                None => path.joined(start..path.segments()),
            },
            PathView::Reading(texts) => {
                let end = span.len.map_or(texts.len(), |len| start + usize::from(len));
                let texts = texts.get(start..end)?;
                match (texts, span.len) {
                    ([one], Some(1)) => Some(one.clone()),
                    (many, _) if many.iter().any(|text| text.contains('/')) => None,
                    (many, _) => Some(Cow::Owned(many.join("/"))),
                }
            }
        }
    }
}
