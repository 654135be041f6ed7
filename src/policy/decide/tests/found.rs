//! Policies that the index must find, each by the one of its conditions under which it is filed.

use super::*;

#[test]
fn a_permit_is_found_by_whatever_it_is_filed_under() {
    let policies = "
  - { id: number, who: any, do: \"GET /number/{x}\", path: { x: 42 } }
  - { id: text, who: any, do: \"GET /text/{x}\", path: { x: a } }
  - { id: list, who: any, do: \"GET /list/{x}\", path: { x: [a, 7] } }
  - { id: regex, who: any, do: \"GET /regex/{x:[a-z]+}/{y}\", path: { y: b } }
  - { id: prefix, who: any, do: \"GET /prefix/{x}\", path: { x: { prefix: ab } } }
  - { id: suffix, who: any, do: \"GET /suffix/{x}\", path: { x: { suffix: yz } } }
  - { id: glob, who: { user: { glob: \"a*n\" } }, do: \"GET /glob\" }
  - { id: group, who: { groups: { some: g } }, do: \"GET /group\" }
  - { id: claim, who: { claims/n: 1 }, do: \"GET /claim\" }
  - { id: second, who: any, do: [\"GET /first/{x}/y\", \"GET /second/z/{x}\"], path: { x: q } }
";
    let found = |path: &str| outcome(&set(policies), "ann", &format!("method: GET, path: {path}"));
    for (path, id) in [
        ("/number/42", "number"),
        ("/text/a", "text"),
        ("/list/a", "list"),
        ("/list/7", "list"),
        ("/regex/abc/b", "regex"),
        ("/prefix/abc", "prefix"),
        ("/prefix/ab", "prefix"),
        ("/suffix/xyz", "suffix"),
        ("/glob", "glob"),
        ("/group", "group"),
        ("/claim", "claim"),
        ("/first/q/y", "second"),
        ("/second/z/q", "second"),
    ] {
        assert_eq!(found(path), format!("permit {id}"), "{path}");
    }
    for path in [
        "/number/042",
        "/number/43",
        "/text/b",
        "/list/07",
        "/regex/a1/b",
        "/regex/abc/c",
        "/prefix/aab",
        "/suffix/y",
        "/first/z/y",
        "/second/q/z",
    ] {
        assert!(found(path).starts_with("deny no_policy"), "{path}");
    }
}

#[test]
fn a_forbid_is_found_by_whatever_it_is_filed_under() {
    let policies = "
  - { id: all, who: any, do: \"GET /{z...}\" }
  - { id: number, effect: forbid, do: \"GET /number/{x}\", path: { x: 42 } }
  - { id: text, effect: forbid, do: \"GET /text/{x}\", path: { x: a } }
  - { id: list, effect: forbid, do: \"GET /list/{x}\", path: { x: [a, 7] } }
  - { id: regex, effect: forbid, do: \"GET /regex/{x:[a-z]+}/y\" }
  - { id: prefix, effect: forbid, do: \"GET /prefix/{x}\", path: { x: { prefix: ab } } }
  - { id: suffix, effect: forbid, do: \"GET /suffix/{x}\", path: { x: { suffix: yz } } }
  - { id: glob, effect: forbid, who: { user: { glob: \"a*n\" } }, do: \"GET /glob\" }
  - { id: group, effect: forbid, who: { groups: { some: g } }, do: \"GET /group\" }
  - { id: claim, effect: forbid, who: { claims/n: 1 }, do: \"GET /claim\" }
  - { id: second, effect: forbid, do: [\"GET /first/{x}/y\", \"GET /second/z/{x}\"], path: { x: q } }
";
    let set = set(policies);
    let found = |path: &str| outcome(&set, "ann", &format!("method: GET, path: {path}"));
    for (path, id) in [
        ("/number/42", "number"),
        // What can't be compared with a number can't be told apart from it.
        ("/number/042", "number"),
        ("/number/x", "number"),
        ("/text/a", "text"),
        ("/TEXT/a", "text"),
        ("/list/a", "list"),
        ("/list/7", "list"),
        ("/regex/abc/y", "regex"),
        ("/REGEX/abc/y/", "regex"),
        ("/prefix/abc", "prefix"),
        ("/suffix/xyz", "suffix"),
        ("/glob", "glob"),
        ("/group", "group"),
        ("/claim", "claim"),
        ("/first/q/y", "second"),
        ("/second/z/q", "second"),
    ] {
        assert_eq!(found(path), format!("deny forbidden by [{id}]"), "{path}");
    }
    for path in [
        "/number/43",
        "/text/b",
        "/regex/a1/y",
        "/regex/abc/z",
        "/prefix/aab",
        "/suffix/y",
        "/first/z/y",
        "/second/q/z",
    ] {
        assert_eq!(found(path), "permit all", "{path}");
    }
}
