//! No file descriptors left: nothing is forwarded unrecorded, and all of it is over when there are some again.

use std::io::{Read, Write};
use std::time::Duration;

use crate::world::{Setup, World, until};

#[test]
fn without_descriptors_it_waits_and_recovers() {
    let setup = Setup {
        shell: "ulimit -n 60",
        ..Setup::default()
    };
    let world = setup.start();
    // Far more than there are descriptors for. The kernel takes them; the program can't.
    let mut held: Vec<_> = (0..200).map(|_| world.connect()).collect();
    until("it says so", || world.logged("can't accept"));
    // Those that it has taken ask. There is no descriptor for a connection to the upstream, but for those that wait.
    let mut answers = Vec::new();
    for stream in &mut held {
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        stream
            .write_all(World::head("GET /items/1", "").as_bytes())
            .unwrap();
    }
    until("answers", || {
        for stream in &mut held {
            let mut start = [0; 12];
            stream.set_nonblocking(true).unwrap();
            if stream.read_exact(&mut start).is_ok() {
                answers.push(String::from_utf8_lossy(&start).into_owned());
            }
            stream.set_nonblocking(false).unwrap();
        }
        answers.len() >= 10
    });
    for answer in &answers {
        let known = ["HTTP/1.1 200", "HTTP/1.1 502", "HTTP/1.1 503"].contains(&&**answer);
        assert!(known || !answer.starts_with("HTTP/"), "{answer}");
    }
    assert!(
        answers.iter().any(|answer| answer == "HTTP/1.1 502"),
        "{answers:?}"
    );
    drop(held);
    // The listening socket is still there, and at once: nobody rests for what was our own want.
    // Those that waited in the backlog come and go first, and take descriptors for a moment.
    let good = || world.get("/items/1").starts_with("HTTP/1.1 200 ");
    until("it serves again", || (0..20).all(|_| good()));
    assert!(!world.logged("a server rests"), "blamed for what we wanted");
    let records = world.close();
    let failed = records.iter().filter(|r| r["end"] == "upstream_failed");
    assert!(failed.count() > 0, "each with its outcome");
}
