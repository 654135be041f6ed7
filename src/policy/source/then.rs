//! `unless` and `then`: what a forbid yields to, and what a permit does besides.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::{Reader, Setting};
use crate::policy::matcher::Names;
use crate::yaml::{Fields, Mark};

impl Reader<'_> {
    pub(super) fn unless(&mut self, map: &Fields<'_>, permit: bool) -> Vec<(Arc<str>, Mark)> {
        let Some(at) = map.optional("unless") else {
            return Vec::new();
        };
        if permit {
            at.problem(
                self.problems,
                "`unless` stands on a forbid: it names the permits that lift it",
            );
        }
        at.one_or_many()
            .iter()
            .filter_map(|item| Some((item.text(self.problems)?.into(), item.node.mark)))
            .collect()
    }

    pub(super) fn then(&mut self, map: &Fields<'_>, permit: bool) -> Vec<(HeaderName, Setting)> {
        let mut set = Vec::new();
        let Some(at) = map.optional("then") else {
            return set;
        };
        if !permit {
            at.problem(
                self.problems,
                "`then` stands on a permit: a forbid forwards nothing",
            );
        }
        let Some(then) = at.fields(&["set_headers", "redact"], self.problems) else {
            return set;
        };
        if let Some(redact) = then.optional("redact") {
            redact.problem(
                self.problems,
                "`redact` comes in a later version; this one refuses a file that relies on it",
            );
        }
        let Some(headers) = then.optional("set_headers") else {
            return set;
        };
        let Some(entries) = headers.entries(self.problems) else {
            return set;
        };
        for (key, value) in entries {
            let Some(name) = self.header_name(&key.text, &value) else {
                continue;
            };
            let Some(text) = value.text(self.problems) else {
                continue;
            };
            let setting = match text.strip_prefix('$') {
                Some(reference) if !reference.starts_with('$') => {
                    self.scope.resolve(reference).map(Setting::Fact)
                }
                escaped => HeaderValue::from_str(escaped.unwrap_or(text))
                    .map(Setting::Value)
                    .map_err(|_| "a header's value is printable text on one line".to_owned()),
            };
            match setting {
                Ok(setting) => set.push((name, setting)),
                Err(error) => value.problem(self.problems, error),
            }
        }
        set
    }
}
