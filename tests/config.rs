//! The configuration: what is refused and in which words, that defaults are as documented, and that no
//! secret is ever shown.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which the lint takes for other code"
)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::audit::note::Signer;
use portcullis::config::raw::{CONFIG, Kind, SECTIONS, Section};
use portcullis::config::{Config, Env};
use portcullis::yaml::{Node, Problem, Problems, Yaml, parse};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

const BASE: &str = include_str!("config/base.yaml");
const PROBLEMS: &str = include_str!("config/problems.txt");
const WARNINGS: &str = include_str!("config/warnings.txt");
const REFERENCE: &str = include_str!("../config/reference.yaml");

/// Each block of `problems.txt`: `-` lines of `base.yaml` become the `+` lines, and exactly the `!` lines are told.
#[test]
fn problems_are_told_at_their_place() {
    let folder = Folder::new();
    let check = |text: &str| match folder.load(text) {
        Ok(_) => vec!["nothing is refused".to_owned()],
        Err(problems) => shown(&problems, &folder),
    };
    check_blocks(PROBLEMS, check);
}

#[test]
fn warnings_are_told_at_their_place() {
    let folder = Folder::new();
    let check = |text: &str| match folder.load(text) {
        Ok(config) => shown(&config.warnings, &folder),
        Err(problems) => panic!("{:?}", shown(&problems, &folder)),
    };
    check_blocks(WARNINGS, check);
}

#[test]
fn the_base_loads_and_lists_what_it_read() {
    let folder = Folder::new();
    let path = folder.write(
        "config.yaml",
        BASE.replace("env: SHARED", "file: shared.secret"),
    );
    let config = Config::load(&path).unwrap();
    assert_eq!(shown(&config.warnings, &folder), [""; 0]);
    let files: Vec<&str> = config
        .files
        .iter()
        .map(|f| f.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        files,
        [
            "config.yaml",
            "clients.crl",
            "clients.pem",
            "server.pem",
            "server.key",
            "upstream.secret",
            "jwks.json",
            "shared.secret",
            "policies"
        ]
    );
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.server.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
    assert_eq!(
        tls.server.send_tls13_tickets, 0,
        "no resumption past a client CA"
    );
    assert!(!tls.server.session_storage.can_cache());
    let client = &config.upstreams[1].tls.as_ref().unwrap().client;
    assert_eq!(client.alpn_protocols, [b"http/1.1"]);
    let (name, secret) = &config.routes[0].set_headers[0];
    assert_eq!(name, "authorization");
    assert_eq!(secret.value, UPSTREAM_VALUE);
    assert!(secret.value.is_sensitive());
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let folder = Folder::new();
    let load = |path: &Path| shown(&Config::load(path).unwrap_err(), &folder);
    assert_eq!(
        load(&folder.path().join("none.yaml")),
        ["<folder>/none.yaml: there is no file <folder>/none.yaml"]
    );
    assert_eq!(
        load(folder.path()),
        ["<folder>: <folder> is a folder; expected a file"]
    );
    assert_eq!(
        load(&folder.write("latin1.yaml", b"a: \xe9")),
        ["<folder>/latin1.yaml: the file isn't UTF-8"]
    );
}

/// Wherever a secret stands, whatever is wrong beside it: nobody sees it.
#[test]
fn no_secret_is_ever_shown() {
    let folder = Folder::new();
    let key = std::fs::read_to_string(folder.path().join("server.key")).unwrap();
    let key_line = key.lines().nth(1).unwrap().to_owned();
    let secrets = [UPSTREAM, SHARED, &key_line, INLINE];
    let hidden = |shown: String, what: &str| {
        for secret in secrets {
            assert!(!shown.contains(secret), "{what} shows a secret: {shown}");
        }
    };
    let config = folder.load(BASE).unwrap();
    hidden(format!("{config:?} {config:#?}"), "Debug");
    let bytes = format!("{:?}", SHARED.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(
        !format!("{config:?}").contains(bytes),
        "Debug shows a secret's bytes"
    );
    let mut broken = Vec::new();
    for key in ["file: upstream.secret", "env: SHARED", "file: jwks.json"] {
        for instead in [
            format!("value: {INLINE}"),
            format!("value: \"{INLINE}\\n\""),
            format!("value: [{INLINE}]"),
            format!("set: {INLINE}"),
            format!("set: {{ keys: [{{ kty: oct, k: {INLINE} }}] }}"),
            format!("secret: {INLINE}"),
            format!("url: https://user:{INLINE}@corp.example/"),
            "file: server.key".to_owned(),
            "file: two-lines.secret".to_owned(),
        ] {
            broken.push(BASE.replace(key, &instead));
        }
    }
    for place in [
        "set_headers: ",
        "addresses: ",
        "certificate: ",
        "upstream_host: ",
    ] {
        broken.push(BASE.replacen(place, &format!("{place}{INLINE} # "), 1));
    }
    broken.push(BASE.replace("http://127", &format!("http://user:{INLINE}@127")));
    broken.push(BASE.replace("jwks.json", "upstream.secret"));
    broken.push(BASE.replace("ca: clients.pem", "ca: server.key"));
    for text in broken {
        match folder.load(&text) {
            Ok(config) => hidden(format!("{config:?}"), "Debug"),
            Err(problems) => hidden(
                // A path that isn't one is told; a secret isn't expected there.
                format!("{:?}", problems).replace(&format!("/{INLINE}"), ""),
                "a problem",
            ),
        }
    }
}

/// The upstream of the base speaks to its listener: one handshake holds client verification and revocation.
#[test]
fn client_certificates_are_verified_and_revoked() {
    let folder = Folder::new();
    let handshake = |crl: &str, mode: &str, with_certificate: bool| {
        let mut text = BASE.replace("crl: clients.crl", &format!("crl: {crl}, mode: {mode}"));
        if !with_certificate {
            text = text.replace(", certificate: server.pem, key: server.key }", " }");
        }
        let config = folder.load(&text).unwrap();
        let server = config.listeners[0].tls.as_ref().unwrap().server.clone();
        let client = config.upstreams[1].tls.as_ref().unwrap().client.clone();
        shake(client, server)
    };
    for (crl, mode, with_certificate, expected) in [
        ("clients.crl", "required", true, "Ok(true)"),
        ("clients.crl", "optional", true, "Ok(true)"),
        ("clients.crl", "optional", false, "Ok(false)"),
        (
            "clients.crl",
            "required",
            false,
            "Err(NoCertificatesPresented)",
        ),
        (
            "revoked.crl",
            "required",
            true,
            "Err(InvalidCertificate(Revoked))",
        ),
        (
            "revoked.crl",
            "optional",
            true,
            "Err(InvalidCertificate(Revoked))",
        ),
        (
            "old.crl",
            "required",
            true,
            "Err(InvalidCertificate(ExpiredRevocationList",
        ),
    ] {
        let found = format!("{:?}", handshake(crl, mode, with_certificate));
        assert!(
            found.starts_with(expected),
            "{crl} {mode} {with_certificate}: {found}"
        );
    }
}

/// A handshake in memory; whether the server saw a client certificate.
fn shake(
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
) -> Result<bool, rustls::Error> {
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(client, name).unwrap();
    let mut server = rustls::ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert_eq!(server.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(server.peer_certificates().is_some())
}

/// What stands plainly in the reference is required or at its default.
#[test]
fn the_reference_is_at_the_defaults() {
    let minimal = r#"
        version: 1
        listeners: [{ address: 127.0.0.1:8080 }]
        routes: [{ upstream: api }]
        upstreams: { api: { addresses: http://127.0.0.1:9000 } }
        identity:
          providers:
            corp:
              issuer: https://issuer.example
              audience: portcullis
              algorithms: EdDSA
              keys:
                set:
                  keys: [{ kty: OKP, crv: Ed25519, kid: one, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo }]
              agents: spiffe://corp/agent/**
        policies: policies/
    "#;
    let folder = Folder::new();
    let reference = folder.load(REFERENCE).unwrap();
    assert_eq!(shown(&reference.warnings, &folder), [""; 0]);
    let minimal = folder.load(minimal).unwrap();
    assert_eq!(format!("{reference:#?}"), format!("{minimal:#?}"));
}

/// What stands behind `#|` loads too, and together with the rest names every key that there is.
#[test]
fn the_reference_names_every_key() {
    let folder = Folder::new();
    let whole = REFERENCE.replace("#| ", "");
    // The test needs no root certificates of the system.
    let hermetic = whole
        .replace("ca: system", "ca: clients.pem")
        .replace("discovery: true", "discovery: true, ca: clients.pem");
    if let Err(problems) = folder.load(&hermetic) {
        panic!("{:#?}", shown(&problems, &folder));
    }
    let mut problems = Problems::new("reference.yaml");
    let root = parse(&whole, &mut problems).unwrap();
    let mut seen = HashSet::new();
    collect(&root, &CONFIG, &mut seen);
    for section in SECTIONS {
        for key in section.keys {
            let at = (section.name, key.name);
            assert!(seen.contains(&at), "{at:?} isn't in config/reference.yaml");
        }
    }
}

#[test]
fn the_quickstart_loads() {
    // Where it lies, with the files that it names, as in a fresh clone.
    let folder = Folder::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/quickstart.yaml");
    let config = Config::load(&path).unwrap();
    assert_eq!(shown(&config.warnings, &folder), [""; 0]);
    let policies = portcullis::sources::load(&config.policies).unwrap();
    assert_eq!(policies.len(), 2);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.upstreams[0].addresses[0], "http://127.0.0.1:9000/");
}

fn collect(
    node: &Node,
    section: &'static Section,
    seen: &mut HashSet<(&'static str, &'static str)>,
) {
    fn value(node: &Node, kind: &'static Kind, seen: &mut HashSet<(&'static str, &'static str)>) {
        match (kind, &node.value) {
            (Kind::Section(section), Yaml::Map(_)) => collect(node, section, seen),
            (Kind::List(kind) | Kind::OneOrMany(kind), Yaml::List(items)) => {
                items.iter().for_each(|item| value(item, kind, seen));
            }
            (Kind::Map(kind), Yaml::Map(entries)) => {
                entries.iter().for_each(|(_, node)| value(node, kind, seen));
            }
            (Kind::Either(one, other), _) => {
                value(node, one, seen);
                value(node, other, seen);
            }
            _ => {}
        }
    }
    let Yaml::Map(entries) = &node.value else {
        return;
    };
    for (written, node) in entries {
        if let Some(key) = section.keys.iter().find(|key| key.name == written.text) {
            seen.insert((section.name, key.name));
            value(node, &key.kind, seen);
        }
    }
}

/// Runs every block and tells all that differ, as they would be written.
fn check_blocks(blocks: &str, check: impl Fn(&str) -> Vec<String>) {
    let mut differ = String::new();
    for block in blocks
        .split("\n\n")
        .filter(|block| !block.trim().is_empty())
    {
        let lines = |mark: &str| -> Vec<&str> {
            block
                .lines()
                .filter_map(|line| line.strip_prefix(mark))
                .collect()
        };
        let (old, new, expected) = (lines("-").join("\n"), lines("+").join("\n"), lines("! "));
        assert!(BASE.contains(&old), "not in base.yaml:\n{old}");
        let found = check(&BASE.replacen(&old, &new, 1));
        if found != expected {
            let told: Vec<String> = found.iter().map(|line| format!("! {line}")).collect();
            let edits = block.lines().filter(|line| !line.starts_with('!'));
            let edits: Vec<&str> = edits.collect();
            differ.push_str(&format!("{}\n{}\n\n", edits.join("\n"), told.join("\n")));
        }
    }
    assert!(differ.is_empty(), "these blocks differ; found:\n\n{differ}");
}

fn shown(problems: &[Problem], folder: &Folder) -> Vec<String> {
    let path = folder.path().to_str().unwrap();
    problems
        .iter()
        .map(|problem| problem.to_string().replace(path, "<folder>"))
        .collect()
}

const UPSTREAM: &str = "upstream-secret-7c1f";
const UPSTREAM_VALUE: &str = "Bearer upstream-secret-7c1f";
const SHARED: &str = "shared-secret-9d2e-0123456789abcdef";
const INLINE: &str = "inline-secret-3b8a";

struct TestEnv;

impl Env for TestEnv {
    fn var(&self, name: &str) -> Option<String> {
        match name {
            "SHARED" | "SHARED_SECRET" => Some(SHARED.to_owned()),
            "UPSTREAM_KEY" => Some(UPSTREAM.to_owned()),
            "EMPTY" => Some(String::new()),
            "SHORT" => Some("short".to_owned()),
            _ => None,
        }
    }
}

/// A folder with every file that the configurations of these tests name.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let leaf = |from: i32, to: i32| {
            let key = KeyPair::generate().unwrap();
            let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            leaf.serial_number = Some(SerialNumber::from(7));
            leaf.not_before = date_time_ymd(from, 1, 1);
            leaf.not_after = date_time_ymd(to, 1, 1);
            let pem = leaf.signed_by(&key, &issuer).unwrap().pem();
            (pem, key.serialize_pem())
        };
        let crl = |until: i32, revoked: &[u64]| {
            let params = CertificateRevocationListParams {
                this_update: date_time_ymd(2020, 1, 1),
                next_update: date_time_ymd(until, 1, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: revoked
                    .iter()
                    .map(|serial| RevokedCertParams {
                        serial_number: SerialNumber::from(*serial),
                        revocation_time: date_time_ymd(2020, 1, 1),
                        reason_code: None,
                        invalidity_date: None,
                    })
                    .collect(),
                key_identifier_method: rcgen::KeyIdMethod::Sha256,
            };
            params.signed_by(&issuer).unwrap()
        };
        for (name, mode) in [("audit.key", 0o600), ("open.key", 0o640)] {
            let signer = Signer::generate("example.com/n1").unwrap();
            folder.write(name, signer.to_text());
            folder.chmod(name, mode);
        }
        for (name, (pem, key)) in [
            ("server", leaf(2020, 2090)),
            ("client", leaf(2020, 2090)),
            ("expired", leaf(2020, 2021)),
            ("future", leaf(2089, 2090)),
        ] {
            folder.write(&format!("{name}.pem"), pem);
            folder.write(&format!("{name}.key"), &key);
            folder.write(&format!("{name}.2keys"), key.repeat(2));
        }
        folder.write("clients.pem", ca_pem);
        folder.write("clients.crl", crl(2090, &[8]).pem().unwrap());
        folder.write("clients.der", crl(2090, &[8]).der());
        folder.write("revoked.crl", crl(2090, &[7]).pem().unwrap());
        folder.write("old.crl", crl(2021, &[]).pem().unwrap());
        folder.write("broken.crl", b"\x30\x03abc");
        folder.write("rsa1024.pem", include_str!("config/rsa1024.pem"));
        folder.write("encrypted.key", ENCRYPTED);
        folder.write(
            "broken.pem",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        );
        folder.write("jwks.json", JWKS);
        folder.write("twice.json", r#"{ "keys": [], "keys": [] }"#);
        folder.write("none.json", r#"{ "keys": [] }"#);
        folder.write("upstream.secret", format!("{UPSTREAM}\n"));
        folder.write("two-lines.secret", format!("{UPSTREAM}\n{UPSTREAM}\n"));
        folder.write("shared.secret", format!("{SHARED}\r\n"));
        folder.write("fields.key", format!("{SHARED}\n"));
        folder.write("empty.secret", "\n");
        folder.write("blank.secret", "key \n");
        folder.write("open.secret", UPSTREAM);
        folder.chmod("open.secret", 0o644);
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        self.chmod(name, 0o600);
        path
    }

    #[cfg(unix)]
    fn chmod(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path().join(name), mode).unwrap();
    }

    #[cfg(not(unix))]
    fn chmod(&self, _: &str, _: u32) {}

    fn load(&self, text: &str) -> Result<Config, Vec<Problem>> {
        Config::from_text("c.yaml", text, self.path(), &TestEnv)
    }
}

// RFC 7517, appendix A.1, and RFC 8037, appendix A.2.
const JWKS: &str = r#"{ "keys": [
    { "kty": "EC", "crv": "P-256", "kid": "ec", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" }
] }"#;

const ENCRYPTED: &str =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
