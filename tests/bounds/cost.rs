//! The price of a decision, in CPU time: no request of one size may cost a hundred times what another does.

use std::fmt::Write as _;
use std::io::Write;

use crate::bodies::gzip;
use crate::world::{Setup, World, rest};

const POLICY: &str = r#"
version: 1
policies:
  - { id: free, who: any, do: "POST /free", body: { /name: { prefix: "ok" } } }
  - { id: closed, who: any, do: "POST /closed", body: { only: [/a, /b, /c], /name: { prefix: "ok" } } }
  - { id: deep, who: any, do: "POST /deep", body: { /items: { every: { only: [/a, /b], /a: { type: string } } }, /tags: { some: { eq: x } } } }
  - { id: patterns, who: any, do: "POST /patterns", body: { /a: { glob: "*a*a*a*a*a*a*a*a*b" }, /b: { glob: "**x**x**x**y" }, /c: { matches: "(a|aa)+(b|bb)*(c?){20}d" }, /d: { contains: "aaaaaaaab" } } }
  - { id: numbers, who: any, do: "POST /numbers", body: { /n: { lt: 10 } } }
  - { id: inside, who: any, do: "POST /inside", body: { /text: { json: { /a: { eq: 1 } } } } }
  - { id: form, who: any, do: "POST /form", body: { content_type: [application/x-www-form-urlencoded], /name: { prefix: "ok" } } }
  - { id: query, who: any, do: "GET /query", query: { name: { prefix: "ok" } } }
  - { id: any-query, who: any, do: "GET /any-query", query: any }
  - { id: path, who: any, do: "GET /path/{rest...}", path: { rest: { glob: "**a**a**a**b" } } }
  - { id: alive, who: any, do: "GET /items/{item}" }
"#;

/// Bytes of each request. In debug a decision on so many is some tens of milliseconds.
const SIZE: usize = 256 << 10;
const ROUNDS: u32 = 4;

/// CPU ticks that some requests cost.
fn cost(world: &World, name: &str, head: &str, body: &[u8]) -> u64 {
    let more = format!(
        "connection: close\r\n{head}content-length: {}\r\n",
        body.len()
    );
    let path = head_of(name);
    let bytes = [World::head(&path, &more).as_bytes(), body].concat();
    let before = world.resources().ticks;
    for _ in 0..ROUNDS {
        let mut stream = world.connect();
        // An early answer may come before all of it is written.
        let _closed = stream.write_all(&bytes);
        let answer = rest(&mut stream);
        let known = ["200", "400", "403", "413", "431"];
        let status = answer.get(9..12).unwrap_or_default();
        assert!(known.contains(&status), "{name}: {answer}");
    }
    let ticks = world.resources().ticks - before;
    println!(
        "{name}: {ticks} ticks for {ROUNDS} of {} bytes",
        bytes.len()
    );
    ticks
}

fn head_of(name: &str) -> String {
    let path = name.split(' ').next().unwrap();
    format!("POST {path}")
}

fn repeated(piece: impl Fn(usize) -> String) -> String {
    let mut all = String::with_capacity(SIZE + 100);
    for n in 0.. {
        all += &piece(n);
        if all.len() >= SIZE {
            return all;
        }
    }
    all
}

#[test]
fn no_body_costs_a_hundred_times_another_of_its_size() {
    let setup = Setup {
        policies: POLICY,
        more: "limits: { json_depth: 256 }",
        ..Setup::default()
    };
    let world = setup.start();
    let json = "content-type: application/json\r\n";
    let keys = repeated(|n| format!("\"key-{n}\":{n},"));
    let benign = format!("{{{keys}\"name\":\"ok\"}}");
    let base = cost(&world, "/free benign", json, benign.as_bytes()).max(2);
    let a = "a".repeat(SIZE);
    let cases: Vec<(&str, String)> = vec![
        ("/free unclosed arrays", "[".repeat(SIZE)),
        (
            "/free nested objects",
            format!(
                "{{\"x\":[{}]}}",
                repeated(|_| format!("{}1{},", "[".repeat(200), "]".repeat(200)))
                    .trim_end_matches(',')
            ),
        ),
        (
            "/free escapes",
            format!(
                "{{\"x\":\"{}\",\"name\":\"ok\"}}",
                repeated(|_| "\\u0061\\n".into())
            ),
        ),
        (
            "/free escaped keys",
            format!(
                "{{{}\"name\":\"ok\"}}",
                repeated(|n| format!("\"\\u006e\\u0061\\u006d{n}\":1,"))
            ),
        ),
        (
            "/free surrogates",
            format!("{{\"x\":\"{}\"}}", repeated(|_| "\\ud83d\\ude00".into())),
        ),
        (
            "/free near keys",
            format!(
                "{{{}\"name\":\"ok\"}}",
                repeated(|n| format!("\"name{n}\":1,"))
            ),
        ),
        (
            "/free folded keys",
            format!(
                "{{{}\"name\":\"ok\"}}",
                repeated(|n| format!("\"\u{212a}\u{17f}{n}\":1,"))
            ),
        ),
        (
            "/free one number",
            format!("{{\"x\":{}}}", "1".repeat(SIZE)),
        ),
        (
            "/free numbers",
            format!("{{\"x\":[{}1]}}", repeated(|_| "1e-399,".into())),
        ),
        (
            "/free empty keys",
            format!("{{{}\"name\":\"ok\"}}", repeated(|_| "\"\":0,".into())),
        ),
        (
            "/closed foreign keys",
            format!("{{{}\"name\":\"ok\"}}", repeated(|n| format!("\"{n}\":0,"))),
        ),
        (
            "/closed large allowed",
            format!(
                "{{\"a\":[{}1],\"name\":\"ok\"}}",
                repeated(|_| "{\"b\":{}},".into())
            ),
        ),
        (
            "/deep items",
            format!(
                "{{\"items\":[{}{{\"a\":\"x\"}}],\"tags\":[{}1]}}",
                repeated(|n| format!("{{\"a\":\"{n}\",\"b\":1}},")),
                repeated(|_| "0,".into())
            ),
        ),
        (
            "/deep duplicates",
            format!(
                "{{\"items\":[{{{}\"a\":\"x\"}}]}}",
                repeated(|n| format!("\"k{n}\":1,"))
            ),
        ),
        (
            "/patterns globs",
            format!(
                "{{\"a\":\"{a}\",\"b\":\"{}\",\"c\":\"x\",\"d\":\"x\"}}",
                "x".repeat(SIZE)
            ),
        ),
        (
            "/patterns regex",
            format!("{{\"a\":\"b\",\"b\":\"y\",\"c\":\"{a}\",\"d\":\"{a}\"}}"),
        ),
        (
            "/numbers digits",
            format!(
                "{{\"n\":{}.{}e-12}}",
                "9".repeat(SIZE / 2),
                "9".repeat(SIZE / 2)
            ),
        ),
        (
            "/numbers exponent",
            format!("{{\"n\":1e{}}}", "9".repeat(SIZE)),
        ),
        (
            "/inside text",
            format!(
                "{{\"text\":\"{{{}\\\"a\\\":1}}\"}}",
                repeated(|n| format!("\\\"k{n}\\\":1,"))
            ),
        ),
        (
            "/inside depth",
            format!("{{\"text\":\"{}\"}}", "[".repeat(SIZE)),
        ),
    ];
    for (name, body) in cases {
        let ratio = cost(&world, name, json, body.as_bytes()).div_ceil(base) as usize;
        assert!(
            ratio < 100 * body.len().div_ceil(SIZE),
            "{name}: {ratio} times"
        );
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    for (name, body) in [
        ("/form fields", repeated(|n| format!("k{n}=1&")) + "name=ok"),
        ("/form empty fields", repeated(|_| "&".into())),
        (
            "/form encoded",
            repeated(|n| format!("%6b%{:02x}=%41&", n % 128)) + "name=ok",
        ),
        (
            "/form near names",
            repeated(|n| format!("name[{n}]=1&")) + "name=ok",
        ),
        ("/form one field", format!("name=ok{}", "+".repeat(SIZE))),
    ] {
        let ratio = cost(&world, name, form, body.as_bytes()).div_ceil(base);
        assert!(ratio < 100, "{name}: {ratio} times");
    }
    let packed = gzip(&benign);
    let gzipped = format!("{json}content-encoding: gzip\r\n");
    let ratio = cost(&world, "/free gzip", &gzipped, &packed).div_ceil(base);
    assert!(ratio < 100, "gzip: {ratio} times");
    world.close();
}

/// The same for what stands in a target: as much as the largest head holds.
#[test]
fn no_target_costs_a_hundred_times_another_of_its_size() {
    let setup = Setup {
        policies: POLICY,
        more: "limits: { header_bytes: 512KiB }",
        ..Setup::default()
    };
    let world = setup.start();
    let get = |name: &str, target: &str| {
        let head = World::head(&format!("GET {target}"), "connection: close\r\n");
        let before = world.resources().ticks;
        for _ in 0..ROUNDS {
            let answer = world.raw(&head);
            let status = answer.get(9..12).unwrap_or_default();
            let known = ["200", "400", "403", "414", "431"];
            assert!(known.contains(&status), "{name}: {answer}");
        }
        let ticks = world.resources().ticks - before;
        println!("{name}: {ticks} ticks for {ROUNDS} of {} bytes", head.len());
        ticks
    };
    // The uri type of the http crate takes 65,534 bytes.
    let size = 60_000;
    let fill = |piece: &dyn Fn(usize) -> String| {
        let mut all = String::new();
        for n in 0.. {
            if all.len() >= size {
                break;
            }
            let _ = write!(all, "{}", piece(n));
        }
        all
    };
    let base = get("benign", &format!("/query?name=ok{}", "x".repeat(size))).max(2);
    for (name, target) in [
        (
            "parameters",
            format!("/query?{}name=ok", fill(&|n| format!("k{n}=1&"))),
        ),
        (
            "one name",
            format!("/query?{}name=ok", fill(&|_| "a&".into())),
        ),
        ("ampersands", format!("/query?{}name=ok", "&".repeat(size))),
        (
            "variants",
            format!("/query?{}name=ok", fill(&|n| format!("nam{n}[]=1&"))),
        ),
        (
            "encoded",
            format!("/query?{}name=ok", fill(&|_| "%6e%61%6d=1&".into())),
        ),
        (
            "unjudged",
            format!("/any-query?{}", fill(&|n| format!("k{n}&"))),
        ),
        ("a long path", format!("/path/{}", "a".repeat(size))),
        ("segments", format!("/path{}", "/a".repeat(size / 2))),
        (
            "encoded segments",
            format!("/path{}", "/%61".repeat(size / 4)),
        ),
        ("no route for it", "/a".repeat(size / 2)),
        ("dots", format!("/path{}", "/.a".repeat(size / 3))),
    ] {
        let ratio = get(name, &target).div_ceil(base);
        assert!(ratio < 100, "{name}: {ratio} times");
    }
    // More than any target may have.
    for target in [
        format!("/query?{}", "a=b&".repeat(100_000)),
        "/a".repeat(100_000),
    ] {
        let ratio = get("over the limit", &target).div_ceil(base);
        assert!(ratio < 100, "{ratio} times");
    }
    world.close();
}
