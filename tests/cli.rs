//! The command line as people meet it: what each door says to bad input, in which words, with which exit code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on should say where, and a test binary has no API"
)]

#[path = "cli/audit_read.rs"]
mod audit_read;
#[path = "cli/audit_verify.rs"]
mod audit_verify;
#[path = "support/json_schema.rs"]
mod schema;
#[path = "cli/surroundings.rs"]
mod surroundings;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portcullis::yaml::{Node, Problems, Yaml, parse};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tempfile::TempDir;

/// How a call ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

struct Folder(TempDir);

const GOOD: &str = "version: 1\npolicies:\n  - { id: a, who: any, do: \"GET /a\" }\n";
const CASES: &str = "version: 1
now: 2026-11-21T09:00:00Z
principals: { agent: { agent: agent/7 } }
cases:
  - { name: reads it, as: agent, request: { method: GET, path: /a }, expect: { permit: a } }
  - { name: and nothing else, as: agent, request: { method: GET, path: /b }, expect: { deny: no_policy } }
";
const CONFIG: &str = r#"version: 1
listeners: [{ address: "127.0.0.1:0" }]
routes: [{ upstream: api }]
upstreams: { api: { addresses: ["http://127.0.0.1:9"] } }
policies: good
audit: { to: audit.jsonl }
admin: off
"#;

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("good/policy.yaml", GOOD);
        folder.write("good/cases.yaml", CASES);
        folder.write("config.yaml", CONFIG);
        std::fs::create_dir(folder.path("empty")).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn program(&self, arguments: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        program
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        program
    }

    fn run(&self, arguments: &str) -> Ended {
        let output = self.program(arguments).output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What a call says, on either stream.
    fn check(&self, arguments: &str, code: i32, out: &str, err: &str) {
        let ended = self.run(arguments);
        let came = (ended.code, ended.out.trim_end(), ended.err.trim_end());
        assert_eq!(came, (code, out, err), "portcullis {arguments}");
    }
}

fn project(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.display().to_string()
}

#[test]
fn wrong_usage_is_told_on_standard_error() {
    let folder = Folder::new();
    for (arguments, part) in [
        ("", "Usage: portcullis <COMMAND>"),
        ("--nonsense", "unexpected argument '--nonsense'"),
        ("nonsense", "unrecognized subcommand 'nonsense'"),
        ("check", "<POLICIES>..."),
        ("check --nonsense", "unexpected argument '--nonsense'"),
        (
            "check good --health http://127.0.0.1:1",
            "cannot be used with",
        ),
        (
            "check --config",
            "a value is required for '--config <CONFIG>'",
        ),
        ("serve", "--config <CONFIG>"),
        ("serve config.yaml", "unexpected argument 'config.yaml'"),
        ("schema", "<WHAT>"),
        (
            "schema nonsense",
            "[possible values: config, policy, cases, audit]",
        ),
    ] {
        let ended = folder.run(arguments);
        assert_eq!((ended.code, &*ended.out), (2, ""), "{arguments}");
        assert!(ended.err.contains(part), "{arguments}: {}", ended.err);
    }
    for arguments in ["--help", "--version", "check --help", "help test"] {
        let ended = folder.run(arguments);
        assert_eq!((ended.code, &*ended.err), (0, ""), "{arguments}");
        assert!(!ended.out.is_empty());
    }
}

#[test]
fn what_cannot_be_read_is_told_by_name() {
    let folder = Folder::new();
    let missing = "portcullis: none: No such file or directory (os error 2)";
    for (arguments, err) in [
        ("check none", missing),
        ("check good none", missing),
        ("check --json none", missing),
        ("check --config none", missing),
        (
            "check --config good",
            "portcullis: good: is a folder; expected a file",
        ),
        ("check empty", "portcullis: no policy files found"),
        ("test none", missing),
        (
            "serve --config none",
            "portcullis: none: there is no file none",
        ),
        (
            "serve --config good",
            "portcullis: good: good is a folder; expected a file",
        ),
    ] {
        folder.check(arguments, 2, "", err);
    }
    folder.check(
        "test empty",
        2,
        "ok 0 passed, 0 failed",
        "portcullis: no cases found",
    );
}

#[test]
fn problems_of_policies_are_told_at_their_place() {
    let folder = Folder::new();
    for (text, problems) in [
        ("", &["bad.yaml: the file is empty"][..]),
        (
            "version: 1\n\u{0}",
            &["bad.yaml:2:1: not YAML: the character U+0000 may not stand in a file"],
        ),
        (
            "version: 1\npolicies: [\n",
            &["bad.yaml:3:1: not YAML: while parsing a node, did not find expected node content"],
        ),
        (
            "- version: 1\n",
            &["bad.yaml:1:1: expected a mapping, found a list"],
        ),
        (
            "policies: []\n",
            &["bad.yaml:1:1: the key `version` is missing"],
        ),
        (
            "version: 1\npolicies:\n  - { id: a, who: any, do: \"GET /a\", whom: x }\n",
            &["bad.yaml:3:38 policies[0].whom: unknown key `whom`; did you mean `who`?"],
        ),
        (
            "version: 1\npolicies:\n  - { id: a, who: any, do: \"GET /a\" }\n  - { id: a, who: any, do: \"GET /b\" }\n",
            &["bad.yaml:4:11 policies[1].id: the id `a` is taken at bad.yaml:3:11"],
        ),
        (
            "version: 1\npolicies:\n  - { id: a, who: any, do: \"GET /a\", path: { b: c } }\n  - { id: b, who: { agent: { matches: \"(\" } }, do: \"GET b\" }\n",
            &[
                "bad.yaml:3:46 policies[0].path.b: no parameter `b` stands in every template of this policy (none does)",
                "bad.yaml:4:39 policies[1].who.agent.matches: not a regex: unclosed group",
                "bad.yaml:4:52 policies[1].do: the template `b` does not begin with `/`",
            ],
        ),
        (
            CONFIG,
            &[
                "bad.yaml: this is a configuration, not a policy file; `portcullis check --config` takes it",
            ],
        ),
    ] {
        folder.write("bad.yaml", text);
        let ended = folder.run("check bad.yaml");
        let plural = if problems.len() == 1 { "" } else { "s" };
        let mut expected: Vec<String> = problems.iter().map(|p| format!("problem {p}")).collect();
        expected.sort();
        expected.push(format!("{} problem{plural}", problems.len()));
        let mut came: Vec<&str> = ended.out.lines().collect();
        let last = came.len().saturating_sub(1);
        came[..last].sort_unstable();
        assert_eq!(came, expected, "{text}");
        assert_eq!((ended.code, &*ended.err), (1, ""), "{text}");
    }
    folder.write("bad.yaml", b"version: 1\xff\n");
    let out = "problem bad.yaml: can't be read: the file isn't UTF-8\n1 problem";
    folder.check("check bad.yaml", 1, out, "");
}

#[test]
fn problems_of_cases_are_told_by_check_and_test() {
    let folder = Folder::new();
    folder.write("good/cases.yaml", CASES.replace("permit: a", "permitt: a"));
    let place = "good/cases.yaml:5";
    for arguments in [
        "check good",
        "test good",
        "check good/policy.yaml",
        "check good/cases.yaml",
    ] {
        let ended = folder.run(arguments);
        assert_eq!(ended.code, 1, "{arguments}");
        assert!(ended.out.contains(place), "{arguments}: {}", ended.out);
        assert!(
            ended
                .out
                .contains("unknown key `permitt`; did you mean `permit`?"),
            "{}",
            ended.out
        );
    }
}

#[test]
fn problems_of_a_configuration_are_told_by_check_and_serve() {
    let folder = Folder::new();
    let certificate = |key: &KeyPair| {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.self_signed(key).unwrap().pem()
    };
    let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    folder.write("server.pem", certificate(&one));
    folder.write("other.key", two.serialize_pem());
    folder.write("jwks.json", r#"{ "keys": [{ "kty": "EC" }] }"#);
    let listener = r#"{ address: "127.0.0.1:0" }"#;
    let tls = r#"{ address: "127.0.0.1:0", tls: { certificate: server.pem, key: other.key } }"#;
    let identity = "identity: { providers: { p: { issuer: i, audience: a, algorithms: [ES256], keys: { file: jwks.json }, agents: [x] } } }\n";
    for (text, parts) in [
        (
            CONFIG.replace("routes:", "roots:"),
            &[
                "bad.yaml:3:1 roots: unknown key `roots`; did you mean `routes`?",
                "the key `routes` is missing",
            ][..],
        ),
        (
            CONFIG.replace("admin: off", "admin: 8080"),
            &["bad.yaml:7:8 admin: "],
        ),
        (
            CONFIG.replace("upstream: api", "upstream: apo"),
            &["bad.yaml:3:"],
        ),
        (CONFIG.replace(listener, tls), &["listeners[0].tls.key: "]),
        (
            format!("{CONFIG}{identity}"),
            &["identity.providers.p.keys.file"],
        ),
        (
            CONFIG.replace("policies: good", "policies: none"),
            &["bad.yaml:5:11 policies: there is no file or folder none"],
        ),
        (
            CONFIG.replace("policies: good", "policies: bad"),
            &["bad/policy.yaml:3:38 policies[0].whom: unknown key `whom`"],
        ),
    ] {
        folder.write("bad.yaml", &text);
        folder.write(
            "bad/policy.yaml",
            GOOD.replace("\"GET /a\"", "\"GET /a\", whom: x"),
        );
        let check = folder.run("check --config bad.yaml");
        let serve = folder.run("serve --config bad.yaml");
        for part in parts {
            assert!(check.out.contains(part), "{text}: {}", check.out);
            assert!(serve.err.contains(part), "{text}: {}", serve.err);
        }
        assert_eq!((check.code, serve.code), (1, 2), "{text}");
        assert_eq!((&*check.err, &*serve.out), ("", ""), "{text}");
    }
    assert!(!folder.path("audit.jsonl").exists(), "nothing was begun");
}

#[test]
fn check_tells_warnings_and_passes() {
    let folder = Folder::new();
    folder.write("config.yaml", CONFIG.replace("127.0.0.1:0", "0.0.0.0:8080"));
    let ended = folder.run("check --config config.yaml");
    assert_eq!((ended.code, &*ended.err), (0, ""));
    let mut lines = ended.out.lines();
    assert_eq!(
        lines.next(),
        Some(
            "warning config.yaml:2:24 listeners[0].address: plain TCP on an address that others reach: tokens travel in clear"
        )
    );
    assert!(lines.next().unwrap().starts_with("ok 1 policies, set "));

    // A rule of the audit log for what no policy judges: yet to come, or a slip.
    let fields = "fields: [{ fields: body/branch, as: shown }]";
    let config = CONFIG.replace("to: audit.jsonl", &format!("to: audit.jsonl, {fields}"));
    folder.write("config.yaml", config);
    let ended = folder.run("check --config config.yaml");
    let warning = "warning config.yaml:6:46 audit.fields[0].fields: no policy of this rule judges such a field\n";
    assert!(ended.out.starts_with(warning), "{}", ended.out);
    assert_eq!(ended.code, 0);

    // A folder that holds all of it is taken for its policies.
    folder.write("good/gateway.yaml", CONFIG);
    let ended = folder.run("check good");
    let note = "note good/gateway.yaml is a configuration, no policy file; passed over\n";
    assert!(ended.out.starts_with(note), "{}", ended.out);
    assert_eq!(ended.code, 0);
    folder.check("test good", 0, "ok 2 passed, 0 failed", "");
}

#[test]
fn no_way_to_write_yamls_ending_is_passed_over() {
    for name in ["deny.yml", "deny.YML", "deny.YAML", "below/deny.Yml"] {
        let folder = Folder::new();
        let path = format!("good/{name}");
        folder.write(
            &path,
            "version: 1\npolicies: [{ id: deny, effect: forbid, do: \"* /{all...}\" }]\n",
        );
        let ended = folder.run("check good");
        assert!(
            ended.out.contains("ok 2 policies, set "),
            "{name}: {}",
            ended.out
        );
        assert_eq!(
            folder.run("test good").code,
            1,
            "{name}: the forbid is in force"
        );
        folder.write(
            &path,
            "version: 1\npolicies: [{ id: deny, efect: forbid }]\n",
        );
        let ended = folder.run("check good");
        let told = format!("{}{}", ended.out, ended.err);
        assert!(ended.code == 1 && told.contains(&path), "{name}: {told}");
    }
}

#[test]
fn json_is_for_scripts() {
    let folder = Folder::new();
    let json = |arguments: &str, code| -> Value {
        let ended = folder.run(arguments);
        assert_eq!((ended.code, &*ended.err), (code, ""), "{arguments}");
        serde_json::from_str(&ended.out).unwrap()
    };
    let fine = json("check --json good", 0);
    assert_eq!((&fine["ok"], &fine["policies"]), (&true.into(), &1.into()));
    assert_eq!(fine["policy_set"].as_str().unwrap().len(), 64);
    let fine = json("test --json good", 0);
    assert_eq!(
        (&fine["ok"], &fine["cases"][1]["passed"]),
        (&true.into(), &true.into())
    );

    folder.write("good/policy.yaml", GOOD.replace("id: a", "id: a, whom: x"));
    for arguments in ["check --json good", "test --json good"] {
        let found = json(arguments, 1);
        let problem = &found["problems"][0];
        assert_eq!(found["ok"], false);
        assert_eq!(
            (&problem["file"], &problem["line"], &problem["column"]),
            (&"good/policy.yaml".into(), &3.into(), &14.into())
        );
        assert_eq!(problem["key"], "policies[0].whom");
        assert_eq!(
            problem["message"],
            "unknown key `whom`; did you mean `who`?"
        );
    }
}

#[test]
fn the_shipped_policies_pass_and_a_broken_copy_says_what_came() {
    let folder = Folder::new();
    for path in ["policies", "config/quickstart"] {
        let ended = folder.run(&format!("test {}", project(path)));
        assert_eq!((ended.code, &*ended.err), (0, ""), "{}", ended.out);
        assert!(ended.out.ends_with(" 0 failed\n"), "{}", ended.out);
    }
    folder.write("good/policy.yaml", GOOD.replace("GET /a", "GET /c"));
    let out = "failed good/cases.yaml:5 reads it\n  expected permit a\n  came     deny no_policy\nnot ok 1 passed, 1 failed";
    folder.check("test good", 1, out, "");
}

#[test]
fn the_quickstart_is_fine_in_a_fresh_clone() {
    let folder = Folder::new();
    let path = project("config/quickstart.yaml");
    let ended = folder.run(&format!("check --config {path}"));
    assert_eq!((ended.code, &*ended.err), (0, ""));
    assert!(!ended.out.contains("problem"), "{}", ended.out);
    let last = ended.out.lines().last().unwrap();
    assert!(last.starts_with("ok 2 policies"), "{last}");
}

#[test]
fn schemas_fit_what_is_shipped() {
    let folder = Folder::new();
    let of = |what: &str| -> Value {
        let ended = folder.run(&format!("schema {what}"));
        assert_eq!((ended.code, &*ended.err), (0, ""));
        serde_json::from_str(&ended.out).unwrap()
    };
    let (config, policy, cases) = (of("config"), of("policy"), of("cases"));
    let mut files = vec![
        (project("config/quickstart.yaml"), &config),
        (project("config/reference.yaml"), &config),
        (project("config/quickstart/policy.yaml"), &policy),
        (project("config/quickstart/cases.yaml"), &cases),
    ];
    for scenario in std::fs::read_dir(project("policies")).unwrap() {
        let path = scenario.unwrap().path();
        files.push((path.join("policy.yaml").display().to_string(), &policy));
        files.push((path.join("cases.yaml").display().to_string(), &cases));
    }
    let mut found = Vec::new();
    for (path, schema) in &files {
        let value = read(&std::fs::read_to_string(path).unwrap());
        found.extend(schema::misfits(schema, schema, &value, path));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));

    // And they refuse what the loaders refuse.
    for (text, schema) in [
        (GOOD.replace("who:", "whom:"), &policy),
        (GOOD.replace("version: 1", "version: 2"), &policy),
        (CASES.replace("permit:", "permitt:"), &cases),
        (CONFIG.replace("routes:", "roots:"), &config),
        (CONFIG.replace("admin: off", "admin: [1]"), &config),
    ] {
        let value = read(&text);
        assert!(
            !schema::misfits(schema, schema, &value, "").is_empty(),
            "{text}"
        );
    }
}

/// A YAML file as the value that an editor would validate.
fn read(text: &str) -> Value {
    let mut problems = Problems::new("file");
    let node = parse(text, &mut problems);
    value(&node.unwrap_or_else(|| panic!("{:?}", problems.into_vec())))
}

fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(yes) => (*yes).into(),
        Yaml::Number(text) => serde_json::from_str(text).unwrap(),
        Yaml::Text(text) => text.clone().into(),
        Yaml::List(items) => items.iter().map(value).collect(),
        Yaml::Map(entries) => {
            let members = entries
                .iter()
                .map(|(key, node)| (key.text.clone(), value(node)));
            Value::Object(members.collect())
        }
    }
}
