//! Configuration, policies and certificates that change under the gateway: half-written, removed, unreadable, swapped,
//! expired, broken.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::ends::{Moments, Stop, load};
use crate::program::{Program, until};
use crate::world::{HOST, POLICIES, Setup, World, seconds};

/// An authority whose certificates end at a second.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Issued {
    der: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with this name (`dns:…`, `ip:…`, `uri:…`), until that second.
    pub fn issue(&self, name: &str, until: i64) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let (kind, value) = name.split_once(':').unwrap();
        params.subject_alt_names = vec![match kind {
            "dns" => SanType::DnsName(value.try_into().unwrap()),
            "uri" => SanType::URI(value.try_into().unwrap()),
            _ => SanType::IpAddress(value.parse().unwrap()),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        let days = until.div_euclid(86_400);
        let start = rcgen::date_time_ymd(1970, 1, 1);
        let day = std::time::Duration::from_secs(86_400);
        let rest = std::time::Duration::from_secs(until.rem_euclid(86_400) as u64);
        params.not_after = start + day * days as u32 + rest;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    /// A client that trusts this authority.
    pub fn client(&self, own: Option<&Issued>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.der.clone()], own.private())
                .unwrap(),
        })
    }
}

impl Issued {
    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// A server that shows it.
    pub fn server(&self) -> Arc<ServerConfig> {
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], self.private());
        Arc::new(config.unwrap())
    }
}

/// How many reloads there were that ended so; by text, since it is asked again and again under load.
fn reloads(world: &World, ok: bool) -> usize {
    let text = fs::read_to_string(world.file("audit.jsonl")).unwrap();
    let event = format!(r#""event":"reload","ok":{ok}"#);
    text.matches(&event).count()
}

/// Has the process reload, and waits until it has: whether it took what it found.
fn reloaded(world: &World, program: &Program) -> bool {
    let (good, bad) = (reloads(world, true), reloads(world, false));
    program.signal("HUP");
    until("a reload", || {
        reloads(world, true) + reloads(world, false) > good + bad
    });
    reloads(world, false) == bad
}

/// Every way in which a file can't be read changes nothing; the file as it was is taken again.
#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    let world = World::new();
    let program = world.start();
    for name in ["policy.yaml", "portcullis.yaml", "shared.secret"] {
        let path = world.file(name);
        let text = fs::read_to_string(&path).unwrap();
        type Spoil = fn(&std::path::Path);
        let ways: &[(&str, Spoil)] = &[
            ("removed", |_| {}),
            ("a folder", |path| fs::create_dir(path).unwrap()),
            ("a dangling link", |path| {
                symlink("/nowhere/at/all", path).unwrap()
            }),
            ("a link to itself", |path| symlink(path, path).unwrap()),
            ("empty", |path| fs::write(path, "").unwrap()),
            ("no UTF-8", |path| {
                fs::write(path, [0xff, 0xfe, 0, 1]).unwrap()
            }),
            ("zeros, as after a crash", |path| {
                fs::write(path, [0; 4096]).unwrap()
            }),
        ];
        for (way, spoil) in ways {
            match (name, *way) {
                // A secret may be any bytes.
                ("shared.secret", "no UTF-8" | "zeros, as after a crash") => continue,
                // That stands for the policies in it, of which there are none: all is refused.
                ("policy.yaml", "a folder") => continue,
                _ => {}
            }
            fs::remove_file(&path).unwrap();
            spoil(&path);
            // By watching or by signal: whichever is first.
            assert!(!reloaded(&world, &program), "{name}: {way}");
            assert_eq!(world.get(&program, "/ok").status, 200, "{name}: {way}");
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir(&path).unwrap();
            } else if path.is_symlink() || path.exists() {
                fs::remove_file(&path).unwrap();
            }
            fs::write(&path, &text).unwrap();
            until("what was there before", || reloaded(&world, &program));
        }
    }
    world.holds(program);
}

/// Who may not read the file (the process is no longer root) keeps what it had.
#[test]
fn a_file_that_may_not_be_read_changes_nothing() {
    let world = World::new();
    fs::set_permissions(world.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = crate::program::plain();
    std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    let probe = std::process::Command::new("id").arg("-u").output().unwrap();
    let reach =
        fs::metadata(crate::program::BINARY).is_ok() && others_reach(crate::program::BINARY);
    if probe.stdout != b"0\n" || !reach {
        eprintln!("passed over: no other user may be taken on, or none may run the program");
        return;
    }
    let program = world.start_as(&mut command);
    let path = world.file("policy.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("GET,POST /ok", "GET /elsewhere")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(!reloaded(&world, &program));
    assert_eq!(world.get(&program, "/ok").status, 200);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    until("what was there before", || reloaded(&world, &program));
    world.holds(program);
}

fn others_reach(path: &str) -> bool {
    let all = std::path::Path::new(path).ancestors().skip(1);
    all.filter_map(|folder| fs::metadata(folder).ok())
        .all(|m| m.permissions().mode() & 1 == 1)
}

/// Written in two steps, with a break between them, at any byte: each request is judged by a set that somebody wrote
/// whole, and what no set permits is never permitted.
#[test]
fn a_file_that_is_half_written_permits_nothing_new() {
    let world = World::new();
    let program = world.start();
    let mut moments = Moments::new("half-written");
    let forbids = "  - { id: never, effect: forbid, do: \"* /ok/never\" }\n";
    let text = format!("{POLICIES}{forbids}");
    let path = world.file("policy.yaml");
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = Stop(&flag);
        let asked = scope.spawn(|| load(&world, program.address, 1, &flag));
        for _ in 0..10 {
            let cut = moments.below(text.len() as u64) as usize;
            fs::write(&path, &text[..cut]).unwrap();
            let _either = reloaded(&world, &program);
            for (method, target) in [("GET", "/ok/never"), ("DELETE", "/ok"), ("GET", "/refused")] {
                let answer = world.ask(&program, method, target, &[], b"");
                assert!(
                    matches!(answer.status, 401 | 403),
                    "cut at {cut}: {answer:?}"
                );
            }
            fs::write(&path, &text).unwrap();
            until("the whole", || reloaded(&world, &program));
            assert_eq!(world.get(&program, "/ok").status, 200);
        }
        drop(stop);
        for answer in asked.join().unwrap() {
            // Half of the policies may be a set of its own; no YAML tells that there was more.
            assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        }
    });
    world.holds(program);
}

/// A mounted ConfigMap: the files are links through `..data`, which is swapped for another version.
#[test]
fn a_link_that_is_swapped_takes_effect_whole() {
    let world = World::new();
    let other = POLICIES
        .replace("id: ok", "id: ok.other")
        .replace("id: odd", "id: odd.other");
    for (version, text) in [("..one", POLICIES), ("..two", &other)] {
        fs::create_dir(world.file(version)).unwrap();
        world.write(&format!("{version}/policy.yaml"), text);
    }
    fs::remove_file(world.file("policy.yaml")).unwrap();
    symlink("..one", world.file("..data")).unwrap();
    symlink("..data/policy.yaml", world.file("policy.yaml")).unwrap();
    let program = world.start();
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = Stop(&flag);
        let asked = scope.spawn(|| load(&world, program.address, 4, &flag));
        for version in ["..two", "..one", "..two"] {
            let before = reloads(&world, true);
            symlink(version, world.file("..next")).unwrap();
            fs::rename(world.file("..next"), world.file("..data")).unwrap();
            // By watching alone.
            until("a reload", || reloads(&world, true) > before);
        }
        drop(stop);
        for answer in asked.join().unwrap() {
            assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        }
    });
    let records = world.holds(program);
    let mut sets = std::collections::BTreeMap::<&str, std::collections::BTreeSet<&str>>::new();
    for record in records.iter().filter(|r| r["decision"] == "permit") {
        let ids = record["policies"].as_array().unwrap().iter();
        let of = sets
            .entry(record["policy_set"].as_str().unwrap())
            .or_default();
        of.extend(
            ids.map(|id| id.as_str().unwrap())
                .filter(|id| id.starts_with("ok")),
        );
    }
    let mut judged: Vec<_> = sets
        .values()
        .map(|ids| ids.iter().copied().collect::<Vec<_>>())
        .collect();
    judged.sort_unstable();
    assert_eq!(judged, [["ok"], ["ok.other"]], "one set, one policy");
}

const MUTUAL: &str =
    ", tls: { certificate: server.pem, key: server.key, clients: { ca: clients.pem } }";

/// Certificates that end while they serve: the server's is replaced by a reload, a broken new one is not taken; the
/// client's ends its rights on a connection that is open.
#[test]
fn certificates_that_end_are_replaced_or_count_no_more() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let brief = servers.issue(&format!("dns:{HOST}"), seconds() + 8);
    let mut world = World::of(&Setup {
        listener: MUTUAL,
        policies: "  - { id: own, who: { cert/spiffe_id: \"spiffe://corp/agent/7\" }, do: \"GET /own\" }\n",
        files: &[
            ("server.pem", brief.pem.clone()),
            ("server.key", brief.key.serialize_pem()),
            ("clients.pem", clients.pem()),
        ],
        ..Setup::default()
    });
    let own = clients.issue("uri:spiffe://corp/agent/7", seconds() + 3600);
    world.tls = Some(servers.client(Some(&own)));
    let program = world.start();
    assert_eq!(world.get(&program, "/own").status, 200);

    // The client's, on one connection before and after its end.
    let ending = seconds() + 4;
    let short = clients.issue("uri:spiffe://corp/agent/7", ending);
    let short = World {
        tls: Some(servers.client(Some(&short))),
        ..World::of(&Setup::default())
    };
    let mut stream = short.connect(program.address).unwrap();
    let statuses = |stream: &mut dyn crate::world::Stream| {
        let (trace, head) = world.head("GET", "/own", &[], None);
        let head = String::from_utf8(head)
            .unwrap()
            .replace("connection: close\r\n", "");
        stream.write_all(head.as_bytes()).unwrap();
        let mut back = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = stream.read(&mut piece).unwrap();
            back.extend_from_slice(&piece[..read]);
            let answer = crate::world::Answer::parse(&back, trace.clone());
            if answer.whole || read == 0 {
                return (answer.status, answer.reason());
            }
        }
    };
    assert_eq!(statuses(&mut *stream), (200, String::new()));
    until("its end", || seconds() > ending);
    assert_eq!(statuses(&mut *stream), (401, "invalid_token".into()));

    // The server's.
    until("the server's end", || seconds() > ending + 5);
    let handshake = |world: &World| {
        let mut stream = world.connect(program.address).unwrap();
        stream.write_all(b"").and_then(|()| stream.flush()).err()
    };
    let error = handshake(&world).expect("a client refuses what has ended");
    assert!(error.to_string().contains("expired"), "{error}");
    let new = servers.issue(&format!("dns:{HOST}"), seconds() + 3600);
    let half = &new.pem[..new.pem.len() / 2];
    for (what, pem, key) in [
        ("half a certificate", half, new.key.serialize_pem()),
        ("another key", &*new.pem, brief.key.serialize_pem()),
        ("no certificate", "", new.key.serialize_pem()),
        ("no key", &*new.pem, String::new()),
    ] {
        world.write("server.pem", pem);
        world.write("server.key", &key);
        assert!(!reloaded(&world, &program), "{what}");
        assert!(handshake(&world).is_some(), "{what}: still the old one");
    }
    world.write("server.pem", &new.pem);
    world.write("server.key", &new.key.serialize_pem());
    until("the new one", || reloaded(&world, &program));
    assert_eq!(world.get(&program, "/own").status, 200);
    drop(stream);
    world.holds(program);
}
