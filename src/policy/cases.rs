//! Cases: example requests that stand beside policies, each with the verdict that it must get.
//!
//! A case runs the path that a request takes through the proxy: normalise, match, inspect, decide. What a
//! case doesn't show is what needs no policy: tokens (a case names its principal), routes and upstreams.
//!
//! `read.rs` reads a `cases.yaml`, each problem at its place.

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;

use super::normalise::{self, Opaque};
use super::{
    Body, BodyFields, BodyPlan, Canonical, Denial, Facts, Fault, PolicySet, Principal, Reason,
    Verdict,
};
use crate::yaml::{Mark, Problem};

/// The cases of one file.
#[derive(Debug)]
pub struct Cases {
    /// The file's name as the user gave it.
    pub file: Arc<str>,
    /// Who asks, by the name that `as` refers to.
    pub principals: BTreeMap<String, Principal>,
    /// The cases, in the order written.
    pub cases: Vec<Case>,
    /// What the route would let stand in a path (`opaque` of a route in the configuration).
    pub opaque: Opaque,
}

/// One request and its verdict.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Where it stands in the file.
    pub mark: Mark,
    /// The name of its principal; `None`: anonymous.
    pub principal: Option<String>,
    /// The request.
    pub request: Request,
    /// The verdict that it must get.
    pub expect: Expect,
}

/// A request as a case writes it.
#[derive(Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query as on the wire. `None` where no HTTP parser would take it.
    pub target: Option<Uri>,
    /// The headers, Host among them.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Option<Vec<u8>>,
    /// The client's address.
    pub client: IpAddr,
    /// The moment for which it is judged.
    pub now: Timestamp,
}

/// The verdict that a case must get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The permit of this id is chosen.
    Permit(String),
    /// It is refused.
    Deny {
        /// For this reason.
        reason: Reason,
        /// The forbids that apply are exactly these.
        policies: Option<Vec<String>>,
        /// What was ambiguous or unreadable.
        detail: Option<Fault>,
    },
}

/// The verdict that a case got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This permit was chosen.
    Permit(Arc<str>),
    /// It was refused.
    Deny(Denial),
}

impl Cases {
    /// Reads a `cases.yaml`; every problem at once.
    ///
    /// # Errors
    /// What is wrong with the file, each at its place.
    pub fn read(name: impl Into<Arc<str>>, text: &str) -> Result<Cases, Vec<Problem>> {
        read::cases(name.into(), text)
    }

    /// Judges the case's request.
    pub fn run(&self, case: &Case, set: &PolicySet) -> Outcome {
        let principal = case
            .principal
            .as_ref()
            .and_then(|name| self.principals.get(name));
        match self.judge(&case.request, principal, set) {
            Ok(outcome) => outcome,
            Err(fault) => Outcome::Deny(Denial {
                reason: fault.reason(),
                fault: Some(fault),
                policies: Vec::new(),
                fields: Vec::new(),
            }),
        }
    }

    /// The way of a request through the proxy, without its waiting and its sockets.
    fn judge(
        &self,
        request: &Request,
        principal: Option<&Principal>,
        set: &PolicySet,
    ) -> Result<Outcome, Fault> {
        let version = Version::HTTP_11;
        let headers = &request.headers;
        let target = request.target.as_ref().ok_or(Fault::TargetForm)?;
        normalise::headers::check(headers, version)?;
        let websocket = normalise::headers::is_websocket(&request.method, version, headers)?;
        let canonical = Canonical::of(&request.method, target, version, headers)?;
        canonical.admitted_by(self.opaque)?;
        let facts = Facts {
            request: &canonical,
            headers,
            principal,
            client: request.client,
            has_body: request.body.as_ref().is_some_and(|b| !b.is_empty()),
            websocket,
            now: request.now,
        };
        let considered = set.consider(&facts);
        let bytes = request.body.as_deref().unwrap_or_default();
        let fields = match considered.body_plan() {
            BodyPlan::Leave => None,
            BodyPlan::Json(_) | BodyPlan::Form(_) if bytes.is_empty() => Some(None),
            BodyPlan::Json(projection) => {
                Some(Some(BodyFields::json(bytes, projection, JSON_DEPTH)))
            }
            BodyPlan::Form(projection) => Some(Some(BodyFields::form(bytes, projection))),
        };
        let body = match &fields {
            None => Body::Unread,
            Some(None) => Body::Absent,
            Some(Some(Ok(fields))) => Body::Fields(fields),
            Some(Some(Err(fault))) => Body::Fault(*fault),
        };
        Ok(match considered.decide(body).verdict {
            Verdict::Permit(permit) => Outcome::Permit(permit.policy().clone()),
            Verdict::Deny(denial) => Outcome::Deny(denial),
        })
    }
}

impl Expect {
    /// Whether the outcome is what was expected.
    pub fn met_by(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Expect::Permit(id), Outcome::Permit(policy)) => **id == **policy,
            (
                Expect::Deny {
                    reason,
                    policies,
                    detail,
                },
                Outcome::Deny(denial),
            ) => {
                *reason == denial.reason
                    && policies.as_ref().is_none_or(|ids| {
                        ids.iter()
                            .map(String::as_str)
                            .eq(denial.policies.iter().map(|id| &**id))
                    })
                    && detail.is_none_or(|fault| denial.fault == Some(fault))
            }
            (Expect::Permit(_), Outcome::Deny(_)) | (Expect::Deny { .. }, Outcome::Permit(_)) => {
                false
            }
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Permit(id) => write!(f, "permit {id}"),
            Expect::Deny {
                reason,
                policies,
                detail,
            } => {
                write!(f, "deny {reason}")?;
                if let Some(fault) = detail {
                    write!(f, " ({fault})")?;
                }
                match policies {
                    Some(ids) => write!(f, " by [{}]", ids.join(", ")),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Permit(id) => write!(f, "permit {id}"),
            Outcome::Deny(denial) => {
                write!(f, "deny {}", denial.reason)?;
                if let Some(fault) = denial.fault {
                    write!(f, " ({fault})")?;
                }
                if !denial.policies.is_empty() {
                    write!(f, " by [{}]", denial.policies.join(", "))?;
                }
                if !denial.fields.is_empty() {
                    write!(f, ", fields that failed: {}", denial.fields.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

/// The configuration's default for `limits.json_depth`.
const JSON_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn deny(reason: Reason, policies: &[&str], fault: Option<Fault>) -> Outcome {
        Outcome::Deny(Denial {
            reason,
            fault,
            policies: policies.iter().map(|id| Arc::from(*id)).collect(),
            fields: Vec::new(),
        })
    }

    #[test]
    fn an_expectation_says_exactly_what_it_names() {
        let permit = Expect::Permit("a".into());
        assert!(permit.met_by(&Outcome::Permit("a".into())));
        assert!(!permit.met_by(&Outcome::Permit("b".into())));
        assert!(!permit.met_by(&deny(Reason::NoPolicy, &[], None)));

        let loose = Expect::Deny {
            reason: Reason::Forbidden,
            policies: None,
            detail: None,
        };
        assert!(loose.met_by(&deny(Reason::Forbidden, &["x"], None)));
        assert!(!loose.met_by(&deny(Reason::NoPolicy, &[], None)));
        assert!(!loose.met_by(&Outcome::Permit("a".into())));

        let exact = Expect::Deny {
            reason: Reason::Forbidden,
            policies: Some(vec!["x".into(), "y".into()]),
            detail: None,
        };
        assert!(exact.met_by(&deny(Reason::Forbidden, &["x", "y"], None)));
        assert!(!exact.met_by(&deny(Reason::Forbidden, &["x"], None)));

        let fault = Expect::Deny {
            reason: Reason::AmbiguousRequest,
            policies: None,
            detail: Some(Fault::JsonBom),
        };
        assert!(fault.met_by(&deny(Reason::AmbiguousRequest, &[], Some(Fault::JsonBom))));
        assert!(!fault.met_by(&deny(Reason::AmbiguousRequest, &[], Some(Fault::JsonUtf8))));
    }
}
