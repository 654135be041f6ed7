//! Policy sets of any size in the two shapes that DESIGN names, and requests that they decide.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use portcullis::policy::{Canonical, Facts, Json, PolicySet, Principal, SourceFile};

/// How the policies of a set differ from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each has a route of its own; all are for the same agents.
    Routes,
    /// Each is for an agent of its own; all are on the same route.
    Subjects,
}

/// Both.
pub(crate) const SHAPES: [Shape; 2] = [Shape::Routes, Shape::Subjects];

impl Shape {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Routes => "routes",
            Shape::Subjects => "subjects",
        }
    }

    /// Policies on method, path parameters by claims, and the agent. `body` adds five judged fields.
    pub(crate) fn policies(self, count: usize, body: bool) -> SourceFile {
        let mut text = "version: 1\npolicies:\n".to_owned();
        for at in 0..count {
            let _infallible = writeln!(text, "{}", self.policy(at, body));
        }
        SourceFile {
            name: "bench.yaml".into(),
            text,
        }
    }

    fn policy(self, at: usize, body: bool) -> String {
        let (route, agent) = match self {
            Shape::Routes => (
                format!("/s{}/r{at}", at % 100),
                "{ glob: \"spiffe://corp/agent/support/*\" }".to_owned(),
            ),
            Shape::Subjects => ("/api".to_owned(), format!("\"{}\"", agent(at))),
        };
        let (method, fields) = if body { ("POST", FIELDS) } else { ("GET", "") };
        format!(
            "  - id: policy.{at}
    who: {{ agent: {agent} }}
    do: {method} {route}/tenants/{{tenant}}/accounts/{{account}}
    path: {{ tenant: $claims/tenant, account: $claims/ticket/account_id }}
{fields}"
        )
    }

    /// The request that one of the policies permits.
    pub(crate) fn call(self, at: usize, body: bool) -> Call {
        let route = match self {
            Shape::Routes => format!("/s{}/r{at}", at % 100),
            Shape::Subjects => "/api".to_owned(),
        };
        let method = if body { "POST" } else { "GET" };
        let path = format!("{route}/tenants/acme/accounts/42");
        let mut headers = HeaderMap::new();
        if body {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        Call {
            request: Canonical::new(method, "api.example.com", &path, None).expect("a clean path"),
            headers,
            principal: principal(match self {
                Shape::Routes => 7,
                Shape::Subjects => at,
            }),
            body,
        }
    }
}

const FIELDS: &str = r#"    body:
      /model: { in: [gpt-4o, gpt-4o-mini] }
      /max_tokens: { lte: 1024 }
      /temperature: { lte: 1 }
      /user: { prefix: "agent-" }
      /messages/0/role: system
"#;

/// A request and who sends it.
pub(crate) struct Call {
    request: Canonical,
    headers: HeaderMap,
    principal: Principal,
    body: bool,
}

impl Call {
    /// As the core takes it.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            request: &self.request,
            headers: &self.headers,
            principal: Some(&self.principal),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            has_body: self.body,
            websocket: false,
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

/// Loads the set; it must.
pub(crate) fn load(file: SourceFile) -> PolicySet {
    match PolicySet::load(&[file]) {
        Ok(set) => set,
        Err(problems) => panic!(
            "{} problems; the first: {:?}",
            problems.len(),
            problems.first()
        ),
    }
}

fn agent(at: usize) -> String {
    format!("spiffe://corp/agent/support/{at}")
}

fn principal(at: usize) -> Principal {
    let claims = format!(
        r#"{{"iss":"https://issuer.example","sub":"ann","aud":"portcullis","exp":4102444800,"iat":1767225600,
        "jti":"t-{at}","act":{{"sub":"{}"}},"tenant":"acme",
        "ticket":{{"id":"T1","account_id":"42","expires":4102444800}}}}"#,
        agent(at)
    );
    Principal {
        provider: Some("corp".into()),
        agent: Some(agent(at).into()),
        user: Some("ann".into()),
        claims: Json::parse(claims.as_bytes(), 64).expect("JSON"),
        token_id: Some(format!("t-{at}").into()),
        expires_at: Timestamp::from_second(4_102_444_800).ok(),
        ..Principal::default()
    }
}

/// A chat request of about this many bytes, compact, that the judged fields hold for.
pub(crate) fn body(size: usize) -> Vec<u8> {
    let turns = [
        (
            "user",
            "Hello, my invoice from March shows a charge that I don't recognise.\\nIt says \\\"service fee\\\".",
        ),
        (
            "assistant",
            "The fee belongs to the premium plan that was booked on March 3rd, and it is charged once per quarter.",
        ),
        ("user", "Yes, please."),
    ];
    let mut text = r#"{"model":"gpt-4o-mini","max_tokens":512,"temperature":0.2,"stream":true,"user":"agent-7","messages":[{"role":"system","content":"You are a support agent."}"#.to_owned();
    for (role, content) in turns.iter().cycle() {
        if text.len() + 120 >= size {
            break;
        }
        let _infallible = write!(text, r#",{{"role":"{role}","content":"{content}"}}"#);
    }
    text.push_str("]}");
    text.into_bytes()
}
