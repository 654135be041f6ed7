//! `who`: the principal's side of a policy.

use super::{Reader, Subject};
use crate::policy::facts::FactRef;
use crate::policy::json::Pointer;
use crate::policy::matcher::Kind;
use crate::yaml::{Fields, unknown_key};

/// The plain keys of `who`; besides them `claims/…`.
pub(super) const WHO_KEYS: &[&str] = &[
    "agent",
    "user",
    "workload",
    "provider",
    "session",
    "task",
    "groups",
    "cert/spiffe_id",
    "cert/dns",
    "cert/email",
    "cert/fingerprint",
];

/// The fact of this name, as `who` and `$…` write it.
pub(super) fn fact(name: &str) -> Option<FactRef> {
    Some(match name {
        "agent" => FactRef::Agent,
        "user" => FactRef::User,
        "workload" => FactRef::Workload,
        "provider" => FactRef::Provider,
        "session" => FactRef::Session,
        "task" => FactRef::Task,
        "groups" => FactRef::Groups,
        "cert/spiffe_id" => FactRef::CertSpiffeId,
        "cert/dns" => FactRef::CertDns,
        "cert/email" => FactRef::CertEmail,
        "cert/fingerprint" => FactRef::CertFingerprint,
        _ => FactRef::Claim(Pointer::parse(
            name.strip_prefix("claims").filter(|p| p.len() > 1)?,
        )?),
    })
}

impl Reader<'_> {
    /// Reads `who`, which a permit must say.
    pub(super) fn who(&mut self, map: &Fields<'_>, permit: bool) -> Subject {
        let Some(at) = map.optional("who") else {
            if permit {
                map.at().problem(self.problems, "a permit says `who`: conditions on the principal, `any` for whoever is authenticated, or `anonymous`");
            }
            return Subject::Anyone;
        };
        if at.is_word("any") {
            return Subject::Authenticated;
        }
        if at.is_word("anonymous") {
            return Subject::Anyone;
        }
        let Some(entries) = at.entries(self.problems) else {
            return Subject::Authenticated;
        };
        let mut count = 0;
        for (key, value) in entries {
            count += 1;
            match fact(&key.text) {
                Some(fact) => self.condition(&value, &key.text, fact, Kind::Claim),
                None => {
                    let known: Vec<&str> = WHO_KEYS.iter().copied().chain(["claims/…"]).collect();
                    self.problems
                        .add(Some(key.mark), value.key(), unknown_key(&key.text, &known));
                }
            }
        }
        if count == 0 {
            at.problem(
                self.problems,
                "an empty `who` says nothing; write `any` for whoever is authenticated",
            );
        }
        // A condition on the principal can be true of nobody, such as `user: { absent: true }`: on a permit
        // it still speaks of somebody authenticated.
        if permit {
            Subject::Authenticated
        } else {
            Subject::Anyone
        }
    }
}
