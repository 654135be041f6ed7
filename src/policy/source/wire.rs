//! `path`, `client`, `query` and `headers`: what the head of a request says.

use http::HeaderName;

use super::{QueryRule, Reader};
use crate::policy::facts::FactRef;
use crate::policy::matcher::Kind;
use crate::yaml::{At, Fields};

impl Reader<'_> {
    pub(super) fn path(&mut self, map: &Fields<'_>) {
        let Some(at) = map.optional("path") else {
            return;
        };
        let Some(entries) = at.entries(self.problems) else {
            return;
        };
        for (key, value) in entries {
            match self.scope.parameter(&key.text) {
                Ok(index) => self.condition(
                    &value,
                    &format!("path/{}", key.text),
                    FactRef::Path(index),
                    Kind::Wire,
                ),
                Err(error) => self.problems.add(Some(key.mark), value.key(), error),
            }
        }
    }

    pub(super) fn client(&mut self, map: &Fields<'_>) {
        let Some(at) = map.optional("client") else {
            return;
        };
        let Some(client) = at.fields(&["ip"], self.problems) else {
            return;
        };
        if let Some(ip) = client.required("ip", self.problems) {
            self.condition(&ip, "client/ip", FactRef::ClientIp, Kind::Address);
        }
    }

    pub(super) fn query(&mut self, map: &Fields<'_>, permit: bool) -> QueryRule {
        let Some(at) = map.optional("query") else {
            return if permit {
                QueryRule::None
            } else {
                QueryRule::Any
            };
        };
        if at.is_word("none") {
            return QueryRule::None;
        }
        if at.is_word("any") {
            return QueryRule::Any;
        }
        let Some(entries) = at.entries(self.problems) else {
            return QueryRule::None;
        };
        let mut names: Vec<Box<str>> = Vec::new();
        let mut closed = permit;
        for (key, value) in entries {
            if key.text == "only" {
                closed = true;
                names.extend(
                    value
                        .items(self.problems)
                        .iter()
                        .filter_map(|i| i.text(self.problems))
                        .map(Box::from),
                );
            } else {
                names.push(key.text.as_str().into());
                self.condition(
                    &value,
                    &format!("query/{}", key.text),
                    FactRef::Query(key.text.as_str().into()),
                    Kind::Wire,
                );
            }
        }
        if closed {
            QueryRule::Only(names)
        } else {
            QueryRule::Any
        }
    }

    pub(super) fn headers(&mut self, map: &Fields<'_>) -> (Vec<HeaderName>, bool) {
        let (mut names, mut closed) = (Vec::new(), false);
        let Some(at) = map.optional("headers") else {
            return (names, closed);
        };
        let Some(entries) = at.entries(self.problems) else {
            return (names, closed);
        };
        for (key, value) in entries {
            if key.text == "only" {
                closed = true;
                for item in value.items(self.problems) {
                    if let Some(text) = item.text(self.problems) {
                        names.extend(self.header_name(text, &item));
                    }
                }
            } else if let Some(name) = self.header_name(&key.text, &value) {
                names.push(name.clone());
                self.condition(
                    &value,
                    &format!("headers/{name}"),
                    FactRef::Header(name),
                    Kind::Wire,
                );
            }
        }
        (names, closed)
    }

    /// A header that a policy may judge and let through.
    pub(super) fn header_name(&mut self, text: &str, at: &At<'_>) -> Option<HeaderName> {
        match judged_header(text) {
            Ok(name) => Some(name),
            Err(error) => {
                at.problem(self.problems, error);
                None
            }
        }
    }
}

/// A header that a policy may judge, forward or set: not the credential, and nothing that frames or routes.
pub(super) fn judged_header(text: &str) -> Result<HeaderName, String> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "write the header's name in lower case: `{}`",
            text.to_ascii_lowercase()
        ));
    }
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("`{text}` is no header name"))?;
    if text.contains('_') {
        return Err(format!(
            "`{text}`: a header name with `_` is refused in every request"
        ));
    }
    match text {
        "authorization" | "proxy-authorization" => {
            Err("the credential is judged by `who`".to_owned())
        }
        "host" => Err("the host is judged by `host`".to_owned()),
        "connection" | "content-length" | "expect" | "keep-alive" | "proxy-connection" | "te"
        | "trailer" | "transfer-encoding" | "upgrade" => Err(format!(
            "`{text}` frames the message and is the proxy's own"
        )),
        _ => Ok(name),
    }
}
