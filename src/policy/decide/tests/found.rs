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
