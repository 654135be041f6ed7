//! Decides without the proxy: the policy core as a library.
//!
//! `cargo run --example embed`. Nothing here does I/O but the printing: a decision is a function of a policy set and of
//! the facts of one request, `now` among them.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use portcullis::policy::{
    Body, BodyFields, BodyPlan, Canonical, Facts, Json, PolicySet, Principal, SourceFile, Verdict,
};

const POLICY: &str = r#"
version: 1
policies:
  - id: note.internal
    about: A support agent adds an internal note to its ticket.
    who:  { agent: { glob: "spiffe://corp/agent/support/*" } }
    do:   POST /tickets/{ticket}/notes
    path: { ticket: $claims/ticket }
    body: { only: [/text], /visibility: internal }
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let file = SourceFile {
        name: "policy.yaml".into(),
        text: POLICY.to_owned(),
    };
    let set = PolicySet::load(&[file]).map_err(|problems| format!("{problems:?}"))?;

    let principal = Principal {
        agent: Some("spiffe://corp/agent/support/7".into()),
        claims: Json::parse(br#"{"ticket":"T1"}"#, 16).map_err(|fault| fault.to_string())?,
        ..Principal::default()
    };
    for body in [
        r#"{"text":"called back","visibility":"internal"}"#,
        r#"{"text":"called back","visibility":"public"}"#,
    ] {
        println!("{body}\n  {}", decide(&set, &principal, body)?);
    }
    Ok(())
}

/// One request, judged the way the proxy judges it.
fn decide(set: &PolicySet, principal: &Principal, body: &str) -> Result<String, Box<dyn Error>> {
    let request = Canonical::new("POST", "api.example.com", "/tickets/T1/notes", None)
        .map_err(|f| f.to_string())?;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse()?);
    let facts = Facts {
        request: &request,
        headers: &headers,
        principal: Some(principal),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        has_body: true,
        websocket: false,
        now: jiff::Timestamp::now(),
    };
    let candidates = set.consider(&facts);
    // The body is read only if a candidate that is still alive judges it.
    let decision = match candidates.body_plan() {
        // This caller only ever sends JSON.
        BodyPlan::Leave | BodyPlan::Form(_) => candidates.decide(Body::Unread),
        BodyPlan::Json(projection) => match BodyFields::json(body.as_bytes(), projection, 64) {
            Ok(fields) => candidates.decide(Body::Fields(&fields)),
            Err(fault) => candidates.decide(Body::Fault(fault)),
        },
    };
    Ok(match decision.verdict {
        Verdict::Permit(permit) => format!("permitted by {}", permit.policy()),
        Verdict::Deny(denial) => format!("refused: {}, fields {:?}", denial.reason, denial.fields),
    })
}
