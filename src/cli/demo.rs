//! `portcullis demo`: the whole journey on loopback, in one process.
//!
//! A sample upstream, an issuer, the gateway and its admin listener; four ready-made calls, and the audit log as
//! they come in. With `--once` the demo makes the calls itself and tells whether each ended as it should.

mod issuer;
mod world;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};

use self::issuer::{AUDIENCE, ISSUER, Issuer};
use super::Exit;
use crate::app::{App, Running};
use crate::audit::read::{Record, describe};
use crate::config::Config;
use crate::shutdown;

/// One ready-made call, and how it should end.
struct Call {
    title: &'static str,
    why: &'static str,
    method: Method,
    path: &'static str,
    body: Option<&'static str>,
    expired: bool,
    status: StatusCode,
    /// The `reason` in the answer of a refusal.
    reason: Option<&'static str>,
}

const CALLS: [Call; 4] = [
    Call {
        title: "permitted",
        why: "the account is the one that the token's ticket names",
        method: Method::GET,
        path: "/tenants/acme/accounts/42",
        body: None,
        expired: false,
        status: StatusCode::OK,
        reason: None,
    },
    Call {
        title: "refused for its path",
        why: "no policy lets this agent list accounts",
        method: Method::GET,
        path: "/tenants/acme/accounts",
        body: None,
        expired: false,
        status: StatusCode::FORBIDDEN,
        reason: Some("no_policy"),
    },
    Call {
        title: "refused for a body field",
        why: "a note must be internal, and this one would be public",
        method: Method::POST,
        path: "/tenants/acme/tickets/T1/notes",
        body: Some(r#"{"text":"called back","visibility":"public"}"#),
        expired: false,
        status: StatusCode::FORBIDDEN,
        reason: Some("no_policy"),
    },
    Call {
        title: "refused for an expired token",
        why: "the token ended an hour ago, and its rights with it",
        method: Method::GET,
        path: "/tenants/acme/accounts/42",
        body: None,
        expired: true,
        status: StatusCode::UNAUTHORIZED,
        reason: Some("invalid_token"),
    },
];

/// `portcullis demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Make the calls, tell how they ended, and end; exit 0 only if each ended as it should.
    #[arg(long)]
    once: bool,
}

/// Runs the demo: until it is asked to stop or, with `--once`, to the end of its calls.
pub fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(play(args.once, out)) {
        Ok(true) => Ok(Exit::Fine),
        Ok(false) => Ok(Exit::Found),
        Err(error) => match error.downcast::<io::Error>() {
            Ok(error) => Err(error),
            Err(error) => {
                super::complain(&format!("the demo can't go on: {error:#}"));
                Ok(Exit::Found)
            }
        },
    }
}

async fn play(once: bool, out: &mut dyn Write) -> anyhow::Result<bool> {
    let folder = Folder::new()?;
    let issuer = Issuer::new()?;
    let running = start(&folder.0, &issuer).await?;
    let gateway = *running
        .addresses
        .first()
        .context("the gateway has an address")?;
    let now = Timestamp::now();
    let tokens = Tokens {
        good: issuer.support_token(now)?,
        expired: issuer.support_token(now.checked_sub(SignedDuration::from_hours(2))?)?,
    };
    introduce(out, &running, gateway)?;
    let fine = if once {
        make_calls(out, gateway, &tokens).await?
    } else {
        print_calls(out, gateway, &tokens)?;
        let log = folder.0.join("audit.jsonl");
        tokio::select! {
            followed = follow(out, &log) => followed?,
            () = shutdown::asked()? => {}
        }
        true
    };
    running.shutdown().await;
    Ok(fine)
}

struct Tokens {
    good: String,
    expired: String,
}

impl Tokens {
    fn of(&self, call: &Call) -> &str {
        if call.expired {
            &self.expired
        } else {
            &self.good
        }
    }
}

async fn start(folder: &Path, issuer: &Issuer) -> anyhow::Result<Running> {
    let upstream = world::upstream().await?;
    let keys = world::keys(issuer.jwks.clone()).await?;
    std::fs::write(folder.join("policy.yaml"), POLICY)?;
    let path = folder.join("portcullis.yaml");
    std::fs::write(&path, config(upstream, keys))?;
    let config = Config::load(&path).map_err(|problems| {
        anyhow::anyhow!(
            "the demo's own configuration is refused: {}",
            problems
                .first()
                .map(ToString::to_string)
                .unwrap_or_default()
        )
    })?;
    Ok(App::start(config, Some(path)).await?)
}

const POLICY: &str = include_str!("demo/policy.yaml");

fn config(upstream: SocketAddr, keys: SocketAddr) -> String {
    let key = world::UPSTREAM_KEY;
    format!(
        r#"version: 1
listeners: [{{ name: demo, address: "127.0.0.1:0" }}]
routes: [{{ name: api, path: /, upstream: api, set_headers: {{ authorization: {{ value: "{key}" }} }} }}]
upstreams: {{ api: {{ addresses: ["http://{upstream}"] }} }}
identity:
  providers:
    demo:
      issuer: {ISSUER}
      audience: [{AUDIENCE}]
      algorithms: [ES256]
      keys: {{ url: "http://{keys}/jwks.json" }}
      claims: {{ agent: [/act/sub], user: [/sub], session: [/sid] }}
      agents: ["spiffe://demo/agent/**"]
policies: [policy.yaml]
audit: {{ to: audit.jsonl }}
admin: {{ address: "127.0.0.1:0" }}
workers: 1
"#
    )
}

fn introduce(out: &mut dyn Write, running: &Running, gateway: SocketAddr) -> io::Result<()> {
    writeln!(
        out,
        "This little world, all on loopback and gone when it ends:"
    )?;
    writeln!(
        out,
        "  gateway    http://{gateway}   everything goes through here; default is deny"
    )?;
    writeln!(
        out,
        "  upstream   an API of accounts and notes that checks nothing but its own key, which agents never see"
    )?;
    writeln!(
        out,
        "  issuer     {ISSUER}   signs the agent's token (ES256)"
    )?;
    if let Some(admin) = running.admin {
        writeln!(
            out,
            "  admin      http://{admin}/metrics   also /policies, /healthz, /readyz"
        )?;
    }
    writeln!(
        out,
        "  agent      spiffe://demo/agent/support/7, for user ann, on ticket T1 about account 42 of tenant acme"
    )?;
    writeln!(out, "\nIts policies:")?;
    for line in POLICY
        .lines()
        .filter_map(|line| line.trim().strip_prefix("about: "))
    {
        writeln!(out, "  - {line}")?;
    }
    writeln!(out)
}

fn print_calls(out: &mut dyn Write, gateway: SocketAddr, tokens: &Tokens) -> io::Result<()> {
    writeln!(out, "Try these in another terminal:\n")?;
    for call in &CALLS {
        writeln!(out, "# {}: {}", call.title, call.why)?;
        write!(
            out,
            "curl -i -X {} http://{gateway}{}",
            call.method, call.path
        )?;
        if let Some(body) = call.body {
            write!(out, " -H 'Content-Type: application/json' -d '{body}'")?;
        }
        writeln!(out, " -H 'Authorization: Bearer {}'\n", tokens.of(call))?;
    }
    writeln!(
        out,
        "The audit log, as calls come in (Ctrl-C ends the demo):"
    )
}

async fn make_calls(
    out: &mut dyn Write,
    gateway: SocketAddr,
    tokens: &Tokens,
) -> anyhow::Result<bool> {
    let mut fine = true;
    for call in &CALLS {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(call.path)
            .header(header::HOST, gateway.to_string())
            .header(header::AUTHORIZATION, format!("Bearer {}", tokens.of(call)));
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from_static(
            call.body.unwrap_or_default().as_bytes(),
        )))?;
        let (status, body) = world::call(gateway, request).await?;
        let reason = serde_json::from_str::<serde_json::Value>(&body)
            .ok()
            .and_then(|b| Some(b.get("reason")?.as_str()?.to_owned()));
        let as_it_should = status == call.status && reason.as_deref() == call.reason;
        fine &= as_it_should;
        writeln!(out, "{}: {} {}", call.title, call.method, call.path)?;
        writeln!(out, "  because {}", call.why)?;
        writeln!(out, "  {} {}", status.as_u16(), body.trim_end())?;
        writeln!(
            out,
            "  {}\n",
            if as_it_should {
                "as it should"
            } else {
                "NOT as it should"
            }
        )?;
    }
    writeln!(
        out,
        "{}",
        if fine {
            "Each call ended as it should."
        } else {
            "Some call did not end as it should."
        }
    )?;
    Ok(fine)
}

/// Prints records as they are written, in readable form.
async fn follow(out: &mut dyn Write, path: &Path) -> anyhow::Result<()> {
    let mut seen = 0;
    loop {
        let text = std::fs::read_to_string(path)?;
        // A line without its end is still being written.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text.get(seen..whole).unwrap_or_default().lines() {
            if let Ok(record) = Record::parse(line) {
                writeln!(out, "{}", describe(&record))?;
            }
        }
        seen = whole;
        out.flush()?;
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// Often enough that a call and its record seem to come together.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// The demo's files, which go when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
