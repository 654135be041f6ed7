//! The program itself, as a child process: signals, watched files, a kill, a full disk.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::folder::Folder;
use crate::harness::{Answer, POLICIES, Setup, Upstream, exchange, of_kind, request, until};

/// A running program. It is killed when the test ends, however that ends.
struct Program {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

struct World {
    folder: Folder,
    upstream: Upstream,
}

impl World {
    async fn new(more: &str) -> World {
        let upstream = Upstream::default();
        let backend = upstream.start().await;
        let more = format!("log: {{ format: json }}\n{more}");
        let setup = Setup {
            more: &more,
            ..Setup::default()
        };
        World {
            folder: setup.write(backend),
            upstream,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file("audit.jsonl")).unwrap();
        // A line that is being written may be there in part.
        portcullis::audit::segment::records(&text)
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    async fn start(&self) -> Program {
        let program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        self.start_as(program).await
    }

    async fn start_as(&self, mut program: Command) -> Program {
        let mut child = program
            .arg("serve")
            .arg("--config")
            .arg(self.file("portcullis.yaml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.lock().unwrap().push(line);
            }
        });
        let told = |key: &str| {
            let log = log.lock().unwrap();
            let text = log.iter().find_map(|line| line["fields"][key].as_str())?;
            text.parse().ok()
        };
        until("serving", || told("admin").is_some()).await;
        Program {
            child,
            address: told("listening").unwrap(),
            admin: told("admin").unwrap(),
            log,
        }
    }
}

impl Program {
    async fn call(&self, asked: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(TokioIo::new(stream), asked).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(request(Method::GET, path, "")).await
    }

    async fn metrics(&self) -> String {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let asked = Request::get("/metrics").header("host", self.admin.to_string());
        let asked = asked.body(Full::default()).unwrap();
        exchange(TokioIo::new(stream), asked).await.unwrap().text()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    fn logged(&self, part: &str) -> bool {
        let log = self.log.lock().unwrap();
        log.iter().any(|line| line.to_string().contains(part))
    }

    async fn ended(mut self) -> ExitStatus {
        until("an end", || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn elsewhere() -> String {
    POLICIES.replace("GET /items/{item}", "GET /things/{item}")
}

#[tokio::test]
async fn a_hangup_reloads_and_so_does_a_changed_file() {
    let world = World::new("").await;
    let program = world.start().await;
    assert_eq!(program.get("/items/1").await.status, 200);
    let reloads = |world: &World| {
        let records = world.records();
        let of = |e: &&&Value| e["event"] == "reload";
        let events = of_kind(&records, "event");
        events
            .iter()
            .filter(of)
            .map(|e| (*e).clone())
            .collect::<Vec<Value>>()
    };

    // By watching: no signal is sent.
    std::fs::write(world.file("policy.yaml"), elsewhere()).unwrap();
    until("a reload by a change", || reloads(&world).len() == 1).await;
    assert_eq!(program.get("/items/1").await.status, 403);
    assert_eq!(program.get("/things/1").await.status, 200);

    // As editors and Kubernetes do it: written beside, and moved.
    std::fs::write(world.file("policy.new"), POLICIES).unwrap();
    std::fs::rename(world.file("policy.new"), world.file("policy.yaml")).unwrap();
    until("a reload by a move", || reloads(&world).len() == 2).await;
    assert_eq!(program.get("/items/1").await.status, 200);

    // What has problems changes nothing, and is told in log, record and metrics.
    let broken = POLICIES.replace("path: { item:", "path: { itme:");
    std::fs::write(world.file("policy.yaml"), broken).unwrap();
    until("a refused reload", || reloads(&world).len() == 3).await;
    assert_eq!(program.get("/items/1").await.status, 200);
    let last = reloads(&world).pop().unwrap();
    assert_eq!(
        (&last["ok"], &last["problems"]),
        (&false.into(), &1.into()),
        "{last}"
    );
    assert!(program.logged("policy.yaml:4:"), "{:?}", program.log);
    let metrics = program.metrics().await;
    for counted in [
        r#"portcullis_reloads_total{result="ok"} 2"#,
        r#"portcullis_reloads_total{result="failed"} 1"#,
    ] {
        let found = metrics.lines().any(|line| line == counted);
        let reloads: Vec<_> = metrics.lines().filter(|l| l.contains("reload")).collect();
        assert!(found, "{counted}: {reloads:?}");
    }

    // By signal, with the file as it stands.
    program.signal("HUP");
    until("a reload by signal", || reloads(&world).len() >= 4).await;
    assert!(program.logged("SIGHUP"));
}

/// A file that only a refused configuration names is watched, too: its correction is what was waited for.
#[tokio::test]
async fn a_refused_configuration_takes_effect_once_it_is_corrected() {
    let world = World::new("").await;
    let program = world.start().await;
    std::fs::create_dir(world.file("more")).unwrap();
    std::fs::write(
        world.file("more/extra.yaml"),
        "version: 1\npolicies: [{ id: x }]\n",
    )
    .unwrap();
    let path = world.file("portcullis.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[policy.yaml]", "[policy.yaml, more/extra.yaml]");
    std::fs::write(&path, text).unwrap();
    let reloads = || {
        let records = world.records();
        let of = |event: &&Value| event["event"] == "reload";
        records
            .iter()
            .filter(of)
            .map(|event| event["ok"] == true)
            .collect::<Vec<_>>()
    };
    until("a refused reload", || reloads().first() == Some(&false)).await;
    assert_eq!(program.get("/extra").await.status, 403);
    let fine = "version: 1\npolicies: [{ id: x, who: any, do: GET /extra }]\n";
    std::fs::write(world.file("more/extra.yaml"), fine).unwrap();
    until("a reload", || reloads().last() == Some(&true)).await;
    assert_eq!(program.get("/extra").await.status, 200);
}

#[tokio::test]
async fn a_termination_lets_what_is_under_way_end() {
    let world = World::new("").await;
    let program = world.start().await;
    let stream = TcpStream::connect(program.address).await.unwrap();
    let waiting = tokio::spawn(exchange(
        TokioIo::new(stream),
        request(Method::GET, "/slow", ""),
    ));
    world.upstream.reached.notified().await;
    program.signal("TERM");
    until("draining", || program.logged("draining")).await;
    // No new connection is taken.
    until("closed", || {
        std::net::TcpStream::connect(program.address).is_err()
    })
    .await;
    world.upstream.release.notify_one();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (200, "from the upstream".into())
    );
    assert!(program.ended().await.success());
    let records = world.records();
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "complete");
    assert_eq!(records.last().unwrap()["event"], "stop");
}

#[tokio::test]
async fn after_a_kill_open_decisions_end_as_unknown() {
    let world = World::new("").await;
    let program = world.start().await;
    assert_eq!(program.get("/items/1").await.status, 200);
    let stream = TcpStream::connect(program.address).await.unwrap();
    let waiting = tokio::spawn(exchange(
        TokioIo::new(stream),
        request(Method::GET, "/slow", ""),
    ));
    world.upstream.reached.notified().await;
    program.signal("KILL");
    assert!(!program.ended().await.success());
    assert!(waiting.await.unwrap().is_err());
    let before = world.records();
    let under_way = of_kind(&before, "decision")[1];
    assert_eq!(
        under_way["request"]["path"], "/slow",
        "written before it left"
    );

    let program = world.start().await;
    assert_eq!(program.get("/items/1").await.status, 200);
    program.signal("TERM");
    assert!(program.ended().await.success());
    let records = world.records();
    let of_it: Vec<_> = of_kind(&records, "outcome")
        .into_iter()
        .filter(|o| o["id"] == under_way["id"])
        .map(|o| &o["end"])
        .collect();
    assert_eq!(of_it, ["unknown"]);
    let ids = |kind: &str| -> Vec<Value> {
        let mut ids: Vec<_> = of_kind(&records, kind)
            .iter()
            .map(|r| r["id"].clone())
            .collect();
        ids.sort_by_key(Value::to_string);
        ids
    };
    assert_eq!(
        ids("decision"),
        ids("outcome"),
        "one outcome for each permit"
    );
    let numbers: Vec<u64> = records.iter().map(|r| r["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
}

/// Past its largest file the kernel refuses to write, as it does on a full disk.
#[tokio::test]
async fn without_a_record_nothing_is_forwarded() {
    let world = World::new("").await;
    let mut shell = Command::new("sh");
    let limited = r#"trap '' XFSZ; ulimit -f 16; exec "$0" "$@""#;
    shell.args(["-c", limited, env!("CARGO_BIN_EXE_portcullis")]);
    let program = world.start_as(shell).await;
    let mut forwarded = 0;
    let refused = loop {
        let answer = program.get("/items/1").await;
        if answer.status != 200 {
            break answer;
        }
        forwarded += 1;
        assert!(forwarded < 1000, "the log never fills");
    };
    assert_eq!(refused.reason(), (503, "unavailable".into()));
    for _ in 0..3 {
        assert_eq!(program.get("/items/1").await.status, 503);
    }
    // Refusals are on record, too, or are 503.
    let denied = program.get("/nowhere").await;
    assert_eq!(denied.reason(), (503, "unavailable".into()));
    assert_eq!(world.upstream.count(), forwarded);

    // Room again, as after a rotation by hand.
    std::fs::rename(world.file("audit.jsonl"), world.file("audit.full")).unwrap();
    program.signal("HUP");
    until("the new file", || world.file("audit.jsonl").exists()).await;
    let mut tries = 0;
    while program.get("/items/1").await.status != 200 {
        tries += 1;
        assert!(tries < 1000, "never recovers");
    }
    program.signal("TERM");
    assert!(program.ended().await.success());
    let full = std::fs::read_to_string(world.file("audit.full")).unwrap();
    let mut records: Vec<Value> = portcullis::audit::segment::records(&full)
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    records.extend(world.records());
    let permits = of_kind(&records, "decision");
    let permits = permits.iter().filter(|d| d["decision"] == "permit").count();
    assert_eq!(
        permits,
        forwarded + 1,
        "a record for each that was forwarded"
    );
    assert_eq!(
        of_kind(&records, "outcome").len(),
        forwarded + 1,
        "none is lost"
    );
    let trouble = records.iter().any(|r| r["event"] == "sink");
    assert!(trouble, "the outage itself is on record");
}
