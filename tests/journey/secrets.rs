//! The whole output of a run, searched for everything secret that went into it: log files, what the process says at its
//! most talkative, the admin pages, denials, and every file that it left.
//!
//! Each secret is looked for in both its halves, and in the spellings in which text gets into a log: base64 at any place
//! of a longer text, hex, percent-encoded, JSON-escaped, as `Debug` shows bytes, in other letters.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::audit::note::Signer;
use serde_json::json;
use tempfile::TempDir;

use self::needles::Needles;
use self::upstreams::{Seen, breaking, upstream};
use crate::folder::audit_schema;
use crate::harness::until;
use crate::pki::Authority;

mod calls;
mod needles;
mod upstreams;

const POLICIES: &str = r#"version: 1
policies:
  - { id: read, who: any, do: "GET,DELETE /free/{x...}", query: any, then: { set_headers: { x-claim: $claims/private } } }
  - { id: judged, who: any, do: "POST /judged", query: { q: { prefix: ok } }, body: { /name: { prefix: ok }, /hashed: { present: true }, /shown: { present: true } } }
  - { id: form, who: any, do: "POST /form", body: { content_type: [application/x-www-form-urlencoded], /name: { prefix: ok }, /hashed: { present: true } } }
  - { id: mcp, who: any, do: "POST /mcp", body: { /method: tools/call, /params/name: search } }
  - { id: free, who: anonymous, do: "POST /free/{x...}", query: any, body: any }
  - { id: header, who: any, do: "GET /header", headers: { x-kept: { prefix: ok } } }
  - { id: http2, who: any, do: "GET /http2/{x...}", query: any }
  - { id: tls, who: any, do: "GET /tls/{x...}", query: any }
  - { id: broken, who: any, do: "GET /broken/{x...}", query: any }
"#;

#[tokio::test]
async fn nothing_secret_is_in_the_output_of_a_run() {
    for (format, to) in [("json", "audit.jsonl"), ("text", "stdout")] {
        let mut world = World::new(format, to).await;
        let program = world.start().await;
        world.asks(&program).await;
        world.ends(program).await;
        let found = world.search();
        assert!(found.is_empty(), "{format}, {to}:\n{}", found.join("\n"));
    }
}

/// What is planted, and what came out.
struct World {
    folder: TempDir,
    /// Standard output and standard error.
    output: TempDir,
    authority: Authority,
    secrets: Vec<(String, String)>,
    inputs: Vec<String>,
    seen: Seen,
    /// What clients were told, admin pages included, but for what upstreams answered.
    told: Vec<(String, Vec<u8>)>,
    env: String,
}

struct Program {
    child: Child,
    plain: SocketAddr,
    tls: SocketAddr,
    admin: SocketAddr,
}

impl World {
    async fn new(format: &str, to: &str) -> World {
        let mut world = World {
            folder: tempfile::tempdir().unwrap(),
            output: tempfile::tempdir().unwrap(),
            authority: Authority::new(),
            secrets: Vec::new(),
            inputs: Vec::new(),
            seen: Seen::default(),
            told: Vec::new(),
            env: String::new(),
        };
        let answer = (
            world.plant("set-cookie of the upstream"),
            world.plant("body of the upstream"),
        );
        let [http1, http2] = [false, true].map(|http2| upstream(http2, &world.seen, &answer));
        let (http1, http2) = (http1.await, http2.await);
        let broken = world.plant("response that is none");
        let broken = breaking(format!("HTTP/1.1 200 OK\r\nset-cookie {broken}\r\n\r\n")).await;
        world.env = world.plant("injected from the environment");
        let injected = world.plant("injected from a file");
        let fields = world.plant("fields_key");
        let shared = world.plant("shared secret of a provider");
        let plain = world.plant("injected value");
        world.write("injected.secret", &injected);
        world.write("fields.key", &fields);
        world.write("shared.secret", &shared);
        world.write("ca.pem", &world.authority.pem());
        for name in ["server", "upstream", "agent"] {
            let issued = world.authority.issue(&["dns:api.example.com"], 7, 2090);
            let key = issued.key.serialize_pem();
            // The first line is the same for all keys of a kind.
            for (number, line) in key
                .lines()
                .enumerate()
                .skip(2)
                .filter(|(_, l)| l.len() >= 32)
            {
                let what = format!("line {number} of the key of {name}");
                world.secrets.push((what, line.to_owned()));
            }
            world.write(&format!("{name}.pem"), &issued.pem);
            world.write(&format!("{name}.key"), &key);
        }
        let signer = Signer::generate("example.com/test").unwrap().to_text();
        let seed = signer.trim().splitn(5, '+').nth(4).unwrap();
        let seed = seed.trim_end_matches('=').to_owned();
        world
            .secrets
            .push(("the checkpoints' key".to_owned(), seed));
        world.write("audit.key", &signer);
        let key = world.folder.path().join("audit.key");
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        // There are none where the log isn't a file.
        let checkpoints = match to {
            "stdout" => "off",
            _ => "{ key: audit.key, every: 100ms }",
        };
        world.write("policy.yaml", POLICIES);
        let config = format!(
            r#"version: 1
listeners:
  - {{ name: plain, address: "127.0.0.1:0" }}
  - {{ name: tls, address: "127.0.0.1:0", tls: {{ certificate: server.pem, key: server.key, clients: {{ ca: ca.pem, mode: optional }} }} }}
routes:
  - {{ name: api, path: /, upstream: api, set_headers: {{ x-file: {{ file: injected.secret }}, authorization: {{ env: INJECTED, prefix: "Bearer " }}, x-value: {{ value: "{plain}" }} }} }}
  - {{ name: http2, path: /http2, upstream: http2, set_headers: {{ x-file: {{ file: injected.secret }}, authorization: {{ env: INJECTED }} }} }}
  - {{ name: tls, path: /tls, upstream: tls, set_headers: {{ x-file: {{ file: injected.secret }} }} }}
  - {{ name: broken, path: /broken, upstream: broken, set_headers: {{ x-file: {{ file: injected.secret }} }} }}
upstreams:
  api: {{ addresses: "http://{http1}" }}
  http2: {{ addresses: "http://{http2}", protocol: http2 }}
  tls: {{ addresses: "https://{http1}", tls: {{ ca: ca.pem, certificate: upstream.pem, key: upstream.key }} }}
  broken: {{ addresses: "http://{broken}" }}
identity:
  certificate_and_token: coexist
  providers:
    test: {{ issuer: test, audience: portcullis, algorithms: [HS256], keys: {{ secret: {{ file: shared.secret }} }}, agents: ["agent/**"] }}
policies: [policy.yaml]
audit:
  to: {to}
  node: test
  checkpoints: {checkpoints}
  refusals_per_second: 1000000
  fields_key: {{ file: fields.key }}
  fields: [{{ fields: body/hashed, as: hmac }}, {{ fields: body/**, policies: none, as: shown }}, {{ fields: body/shown, as: shown }}]
admin: {{ address: "127.0.0.1:0" }}
limits: {{ judged_body: 4KiB }}
workers: 1
log: {{ format: {format}, filter: trace }}
"#
        );
        world.write("portcullis.yaml", &config);
        world
    }

    /// A text that must come out nowhere.
    fn plant(&mut self, what: &str) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, what.as_bytes());
        let text = URL_SAFE_NO_PAD.encode(digest);
        self.secrets.push((what.to_owned(), text.clone()));
        text
    }

    fn write(&mut self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
        self.inputs.push(name.to_owned());
    }

    /// A token with a private claim, of which neither claims nor signature may be told.
    fn token(&mut self, what: &str, key: &str, seconds: i64) -> String {
        let private = self.plant(&format!("claim of {what}"));
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({ "iss": "test", "aud": "portcullis", "sub": "agent/7", "iat": now - 60, "exp": now + seconds, "private": private, "more": { "nested": [private] } });
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        for part in token.split('.').skip(1) {
            self.secrets.push((what.to_owned(), part.to_owned()));
        }
        token
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn heard(&self) -> String {
        let text = fs::read(self.output.path().join("stderr")).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    async fn start(&self) -> Program {
        let output = |name: &str| File::create(self.output.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--config"])
            .arg(self.folder.path().join("portcullis.yaml"))
            .env("INJECTED", &self.env)
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        // `listening="a, b" admin="c"`, or the same as JSON.
        let addresses = || -> Vec<SocketAddr> {
            let heard = self.heard();
            let Some(line) = heard.lines().find(|line| line.contains("listening")) else {
                return Vec::new();
            };
            let line = line.split_once("listening").unwrap().1;
            let parts = line.split(|c: char| !(c.is_ascii_digit() || ".:".contains(c)));
            parts
                .filter_map(|part| part.trim_matches(':').parse().ok())
                .collect()
        };
        until("serving", || addresses().len() == 3).await;
        let [plain, tls, admin] = addresses().try_into().unwrap();
        Program {
            child,
            plain,
            tls,
            admin,
        }
    }

    /// Reloads twice, the second time in vain, and stops.
    async fn ends(&mut self, mut program: Program) {
        let id = program.child.id().to_string();
        let signal = |name: &str| {
            let sent = Command::new("kill").args(["-s", name, &id]).status();
            assert!(sent.unwrap().success());
        };
        signal("HUP");
        until("a reload", || self.heard().contains("reloaded")).await;
        let policies = format!("{POLICIES}  - {{ id: none, nonsense: 1 }}\n");
        self.write("policy.yaml", &policies);
        until("a refused one", || {
            self.heard().contains("nothing was reloaded")
        })
        .await;
        signal("TERM");
        until("an end", || program.child.try_wait().unwrap().is_some()).await;
        assert!(program.child.wait().unwrap().success());
    }

    /// Which secret came out, and where.
    fn search(&self) -> Vec<String> {
        let needles = Needles::of(&self.secrets);
        let mut found = Vec::new();
        for (what, text) in &self.told {
            found.extend(needles.find(text, what));
        }
        let mut searched = Vec::new();
        for folder in [self.folder.path(), self.output.path()] {
            for path in files(folder) {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                if self.inputs.contains(&name) {
                    continue;
                }
                found.extend(needles.find(&fs::read(&path).unwrap(), &name));
                searched.push(name);
            }
        }
        // That it was looked for where something is, and was there to be found.
        let heard = self.heard();
        for part in ["TRACE", "h2::", "a request failed on its way"] {
            assert!(heard.contains(part), "{part} isn't in the log");
        }
        let records: String = searched
            .iter()
            .filter(|name| *name == "audit.jsonl" || *name == "stdout")
            .map(|name| {
                let folder = if name == "stdout" {
                    self.output.path()
                } else {
                    self.folder.path()
                };
                fs::read_to_string(folder.join(name)).unwrap()
            })
            .collect();
        audit_schema::check(&records);
        assert!(
            records.contains(&format!(r#""body/shown":"{SHOWN}""#)),
            "{records}"
        );
        assert!(
            records.contains(r#""body/hashed":"hmac-sha256:"#),
            "{records}"
        );
        let seen = self.seen.lock().unwrap();
        let sent = format!("{seen:?}");
        for (what, secret) in &self.secrets {
            assert!(
                !FORWARDED.contains(&&**what) || sent.contains(secret),
                "{what} didn't reach the upstream"
            );
            let text = format!("before {secret} after");
            assert!(!needles.find(text.as_bytes(), "").is_empty(), "{what}");
        }
        found
    }
}

/// What the run must have sent, so that it could come out.
const FORWARDED: &[&str] = &[
    "injected from a file",
    "injected from the environment",
    "injected value",
    "claim of a good token",
    "a judged header",
    "a field that is hashed",
    "a form's other field",
    "a body that is streamed",
];
/// The value of a field that may be told.
const SHOWN: &str = "this-may-be-read-by-everybody";

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
