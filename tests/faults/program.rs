//! The gateway as a process: started, signalled, looked at, ended.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running process. It is killed when the test ends, however that ends.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    pub log: Log,
    /// Descriptors and resident bytes after the first requests.
    pub at_rest: (usize, u64),
}

pub type Log = Arc<Mutex<Vec<Value>>>;

/// The program by itself.
pub fn plain() -> Command {
    Command::new(BINARY)
}

pub const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

impl Program {
    /// Starts it, and waits until it serves.
    pub fn start(command: &mut Command, config: &Path) -> Program {
        let (mut child, log) = spawn(command, config);
        let listening = || -> Option<SocketAddr> {
            let log = log.lock().unwrap();
            let told = log
                .iter()
                .find_map(|line| line["fields"]["listening"].as_str())?;
            told.parse().ok()
        };
        until("serving", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {:?}", log.lock().unwrap());
            listening().is_some()
        });
        Program {
            address: listening().unwrap(),
            child,
            log,
            at_rest: (usize::MAX, u64::MAX),
        }
    }

    /// One that is there already, found without its log.
    pub fn unheard(child: Child, address: SocketAddr) -> Program {
        Program {
            child,
            address,
            log: Log::default(),
            at_rest: (usize::MAX, u64::MAX),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    pub fn logged(&self, part: &str) -> bool {
        self.times_logged(part) > 0
    }

    pub fn times_logged(&self, part: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|l| l.to_string().contains(part)).count()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn ended(mut self) -> ExitStatus {
        until("an end", || !self.is_alive());
        self.child.wait().unwrap()
    }

    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// Resident bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        let kilobytes = line.split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Starts a process, and hears what it logs.
pub fn spawn(command: &mut Command, config: &Path) -> (Child, Log) {
    let mut child = command
        .arg("serve")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::default();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let kept = log.clone();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            kept.lock().unwrap().push(line);
        }
    });
    (child, log)
}

pub fn signal(id: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &id.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until a condition holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        // Not a wait for something to have happened, but a break for it to happen in.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
