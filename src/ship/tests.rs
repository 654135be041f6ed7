use super::*;

#[test]
fn waits_grow_and_are_bounded() {
    let second = Duration::from_secs(1);
    for (every, failures, least, most) in [
        (second, 1, 500, 1_000),
        (second, 2, 1_000, 2_000),
        (second, 5, 8_000, 16_000),
        (second, 7, 30_000, 60_000),
        (second, u32::MAX, 30_000, 60_000),
        // `every` is how long records may wait, not how long a receiver is left alone
        (60 * second, 1, 500, 1_000),
        (Duration::from_millis(10), 1, 5, 10),
        (Duration::ZERO, 1, 0, 1),
    ] {
        for random in [0, 1, 511, 1023, u64::MAX] {
            let wait = backoff(every, failures, random).as_millis();
            assert!(
                (least..=most).contains(&wait),
                "{every:?} {failures} {random}: {wait}"
            );
        }
        assert_eq!(backoff(every, failures, 0).as_millis(), least);
    }
}

#[test]
fn what_the_receiver_asks_for_is_waited_within_bounds() {
    let (_sender, stop) = watch::channel(Stop::Run);
    let config = config::Ship {
        endpoint: http::Uri::from_static("http://127.0.0.1:1"),
        headers: Vec::new(),
        tls: None,
        logs: true,
        traces: true,
        every: Duration::from_secs(1),
        batch: 1,
        timeout: Duration::from_secs(1),
        gzip: false,
    };
    let metrics = Metrics::new().unwrap();
    let path = Path::new("none");
    let mut work = Work::new(path, &config, &"n1".into(), metrics.ship().clone(), stop);
    let mut busy = |after: Option<u64>| {
        let after = after.map(Duration::from_secs);
        work.failures = 0;
        work.held(&Held::Ship(ShipError::ReceiverBusy { status: 429, after }))
    };
    assert_eq!(busy(Some(7)), Duration::from_secs(7));
    assert_eq!(busy(Some(u64::MAX)), LONGEST_AFTER);
    for nothing in [None, Some(0)] {
        assert!(busy(nothing) <= Duration::from_secs(1));
    }
}

/// Whatever is written, rotated, compressed and read again in whatever order: each record once, in order.
#[test]
fn the_tail_reads_each_record_once() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        let mut first = 1;
        let mut seq = 0;
        let mut text = header(0);
        std::fs::write(&log, &text).unwrap();
        let mut tail = Tail::new(&log);
        let mut read = Vec::new();
        let mut last = None;
        let mut line = Vec::new();
        for _ in 0..60 {
            match random(8) {
                0..=2 => {
                    seq += 1;
                    text.push_str(&record(seq));
                    append(&log, &record(seq));
                }
                3 if seq >= first => {
                    let closed = folder.path().join(format!("audit.jsonl.{first:016}"));
                    std::fs::rename(&log, &closed).unwrap();
                    if random(2) == 0 {
                        let mut encoder =
                            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                        io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
                        let name = format!("{}.gz", closed.display());
                        std::fs::write(name, encoder.finish().unwrap()).unwrap();
                        std::fs::remove_file(closed).unwrap();
                    }
                    first = seq + 1;
                    text = header(seq);
                    std::fs::write(&log, &text).unwrap();
                }
                // half a line, which is cut off again
                4 => {
                    append(&log, "{\"v\":1,\"kind\":\"dec");
                    for found in std::iter::from_fn(|| tail.next(&mut line).unwrap()) {
                        read.push(found.seq);
                        last = Some(found);
                    }
                    std::fs::write(folder.path().join("other"), "").unwrap();
                    let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
                    file.set_len(text.len() as u64).unwrap();
                }
                5 => {
                    let cursor =
                        last.map(|f: tail::Found| Cursor::new(f.seq, f.leaf, f.place, None));
                    tail = match cursor {
                        Some(cursor) => {
                            let (tail, resumed) = Tail::resume(&log, &cursor).unwrap();
                            assert_eq!(resumed, Resumed::After);
                            tail
                        }
                        None => Tail::new(&log),
                    };
                }
                _ => {
                    for _ in 0..random(4) {
                        if let Some(found) = tail.next(&mut line).unwrap() {
                            assert_eq!((found.missing, found.another), (0, false));
                            assert_eq!([&line[..], b"\n"].concat(), record(found.seq).as_bytes());
                            read.push(found.seq);
                            last = Some(found);
                        }
                    }
                }
            }
        }
        while let Some(found) = tail.next(&mut line).unwrap() {
            read.push(found.seq);
        }
        assert_eq!(read, (1..=seq).collect::<Vec<_>>());
        assert_eq!(tail.unreadable(), 0);
        assert_eq!(tail.newest(), Some(seq));
    }
}

fn header(seq: u64) -> String {
    format!("{{\"v\":1,\"kind\":\"segment\",\"node\":\"n1\",\"seq\":{seq}}}\n")
}

fn record(seq: u64) -> String {
    format!("{{\"v\":1,\"kind\":\"event\",\"node\":\"n1\",\"seq\":{seq},\"what\":\"{seq}\"}}\n")
}

fn append(log: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}
