//! The query: forwarded as it came, and read only where a policy judges it.
//!
//! Frameworks differ on which of two equal names counts, on `;`, on what a name is (`Name`, `name[]`,
//! `name[0]` and `name.x` may all land in one variable) and on bad escapes. Nobody's choice is taken: where it
//! would matter for a judged name, its value is a [`Fault`].

use std::borrow::Cow;

use smallvec::SmallVec;

use super::path::escaped_byte;
use crate::policy::fault::Fault;

/// A query split on `&` and decoded as `application/x-www-form-urlencoded`. Empty parts (`a&&b`) are none.
#[derive(Clone, Debug, Default)]
pub struct Query<'q> {
    pairs: SmallVec<[(Cow<'q, str>, Cow<'q, str>); 4]>,
    fault: Option<Fault>,
}

impl<'q> Query<'q> {
    /// Reads a raw query. A query that can't be read is one whose every value is a fault.
    pub fn parse(raw: Option<&'q str>) -> Query<'q> {
        let mut query = Query::default();
        let raw = raw.unwrap_or_default();
        if raw.contains(';') {
            query.fault = Some(Fault::QuerySemicolon);
        }
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let pair = match (decode(name), decode(value)) {
                (Ok(name), Ok(value)) => (name, value),
                (Err(fault), _) | (_, Err(fault)) => {
                    query.fault.get_or_insert(fault);
                    (Cow::Borrowed(name), Cow::Borrowed(value))
                }
            };
            query.pairs.push(pair);
        }
        if query.pairs.len() > MOST_NAMES {
            query.fault = Some(Fault::QueryTooComplex);
        }
        query
    }

    /// The value under exactly this decoded name; `name` without `=` has the empty value.
    ///
    /// A fault where the query as a whole can't be read, where the name is there twice, or where a variant of
    /// it is there, with or without itself: a reader that takes `Name` for `name` would find what a policy
    /// that asks for `name` to be absent doesn't see.
    pub fn value(&self, name: &str) -> Result<Option<&str>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut found = None;
        let mut fault = None;
        for (other, value) in &self.pairs {
            if other == name {
                if found.replace(&**value).is_some() {
                    return Err(Fault::QueryDuplicate);
                }
            } else if is_variant(name, other) {
                fault = Some(Fault::QueryVariant);
            }
        }
        fault.map_or(Ok(found), Err)
    }

    /// Every name as often as it is there, decoded; as it came where it can't be.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| &**name)
    }

    /// Whether there is no parameter at all.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Why the query as a whole can't be read, if so.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

/// PHP and Node's querystring silently read no further, so that a name behind these would be judged and not be there.
const MOST_NAMES: usize = 1000;

/// Refuses bytes that may not stand in a query at all. Beyond RFC 3986 (pchar, `/`, `?`) those may that
/// browsers and API clients send bare and everyone reads as data: `[ ] { } | ^` and the backtick. Not `\`, `"`,
/// `<` and `>`, nor `%` or `;` used badly: the latter are a fault only where the query is judged.
pub(super) fn check_characters(raw: &str) -> Result<(), Fault> {
    let fits = raw.bytes().all(|b| {
        matches!(b,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            | b':' | b'@' | b'%' | b'/' | b'?'
            | b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'`')
    });
    if fits {
        Ok(())
    } else {
        Err(Fault::QueryCharacter)
    }
}

/// Refuses parameters by which frameworks let a request say that it has another method: `_method` and kin, in
/// any spelling that one of them takes for it (`_METHOD`, `_method[]`, PHP's `.method`). They are looked for
/// between `;` too, which some split on.
pub(super) fn check_method_override(raw: &str) -> Result<(), Fault> {
    for part in raw.split(['&', ';']) {
        // what any spelling of theirs begins with, once decoded
        if !matches!(
            part.as_bytes(),
            [
                b'_' | b'.' | b'[' | b']' | b'x' | b'X' | b'%' | b'+' | b'?',
                ..
            ]
        ) {
            continue;
        }
        let name = lenient(part.split('=').next().unwrap_or_default());
        if overrides_method(&name) {
            return Err(Fault::MethodOverride);
        }
    }
    Ok(())
}

/// Whether some framework reads the method from a parameter of this decoded name, in a query or in a form.
pub(in crate::policy) fn overrides_method(name: &str) -> bool {
    // What any spelling of theirs begins with.
    matches!(
        name.as_bytes(),
        [b'_' | b'.' | b'[' | b']' | b'x' | b'X' | b' ' | b'?', ..]
    ) && METHOD_OVERRIDES
        .iter()
        .any(|known| *known == name || is_variant(known, name))
}

/// Whether some framework takes the one name for the other: they differ in case (Unicode simple folding), in
/// `.`, space and `[` for `_`, in leading spaces or after a NUL (PHP), in leading question marks (JavaScript's
/// `URLSearchParams` drops one), or one names an array or map that the
/// other is, or is an element of (`name`, `name[]`, `name[x]`). Two elements of different keys are no variants.
fn is_variant(judged: &str, other: &str) -> bool {
    // Rack, before its third version, takes brackets at the beginning for nothing.
    let bracketed = other.starts_with(['[', ']']);
    let stripped = || flat(other.trim_start_matches(['[', ']']));
    judged != other
        && (flat(judged).eq(flat(other))
            || same_container(judged, other)
            || bracketed && flat(judged).eq(stripped()))
}

fn flat(name: &str) -> impl Iterator<Item = char> {
    name.trim_start_matches([' ', '?'])
        .chars()
        .take_while(|c| *c != '\0')
        .filter(|c| *c != ']')
        .map(|c| match c {
            '.' | ' ' | '[' => '_',
            c => fold(c),
        })
}

fn same_container(judged: &str, other: &str) -> bool {
    let keys = |name| str::split(name, '[').map(|key| key.trim_end_matches(']').trim_matches(' '));
    // `name[]` is whichever element comes next
    let same = |(a, b): (&str, &str)| a.is_empty() || b.is_empty() || flat(a).eq(flat(b));
    let base = |name: &str| {
        flat(name.split('[').next().unwrap_or_default())
            .next()
            .is_some()
    };
    base(judged) && base(other) && keys(judged).zip(keys(other)).all(same)
}

/// Unicode's simple case folding, but for a few letters that fold to others of their script.
fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    // by way of upper case, which the long s and the dotless i share with s and i
    let upper = c.to_uppercase().next().unwrap_or(c);
    upper.to_lowercase().next().unwrap_or(upper)
}

fn decode(text: &str) -> Result<Cow<'_, str>, Fault> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        if byte == b'%' {
            decoded.push(escaped_byte(bytes, i).ok_or(Fault::QueryEncoding)?);
            i += 3;
        } else {
            decoded.push(if byte == b'+' { b' ' } else { byte });
            i += 1;
        }
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| Fault::QueryEncoding)
}

/// Decodes what can be decoded.
fn lenient(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        let escaped = escaped_byte(bytes, i).filter(|_| byte == b'%');
        decoded.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
        i += if escaped.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Rails, Laravel, Symfony and Express (`_method`), WAI (`_method_override`), and header names that some also
/// take from the query. [`is_variant`] finds their other spellings.
const METHOD_OVERRIDES: [&str; 8] = [
    "_method",
    "_method_override",
    "x-http-method-override",
    "x_http_method_override",
    "x-http-method",
    "x_http_method",
    "x-method-override",
    "x_method_override",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        type Expected = Result<Option<&'static str>, Fault>;
        let cases: &[(&str, &str, Expected)] = &[
            ("a=1&b=2", "a", Ok(Some("1"))),
            ("a=1&b=2", "b", Ok(Some("2"))),
            ("a=1&b=2", "c", Ok(None)),
            ("", "a", Ok(None)),
            ("&&a=1&", "a", Ok(Some("1"))),
            ("a", "a", Ok(Some(""))),
            ("a=", "a", Ok(Some(""))),
            ("a=b=c", "a", Ok(Some("b=c"))),
            ("a=x+y%20z%2B", "a", Ok(Some("x y z+"))),
            ("%61=1", "a", Ok(Some("1"))),
            ("a=%C3%A9", "a", Ok(Some("é"))),
            ("=1", "", Ok(Some("1"))),
            // twice, in whatever encoding
            ("a=1&a=1", "a", Err(Fault::QueryDuplicate)),
            ("a=1&%61=2", "a", Err(Fault::QueryDuplicate)),
            ("a&a", "a", Err(Fault::QueryDuplicate)),
            ("b=1&b=2", "a", Ok(None)),
            // unreadable as a whole, wherever it is
            ("a=1;b=2", "a", Err(Fault::QuerySemicolon)),
            ("a=1&b=;", "a", Err(Fault::QuerySemicolon)),
            ("a=1%3Bb", "a", Ok(Some("1;b"))),
            ("a=1&b=%", "a", Err(Fault::QueryEncoding)),
            ("a=1&b=%4", "a", Err(Fault::QueryEncoding)),
            ("a=1&%zz=1", "a", Err(Fault::QueryEncoding)),
            ("a=%FF", "a", Err(Fault::QueryEncoding)),
            ("a=%C0%AE", "a", Err(Fault::QueryEncoding)),
            ("a=%ED%A0%80", "a", Err(Fault::QueryEncoding)),
            // variants, beside the name and alone
            ("user=1&USER=2", "user", Err(Fault::QueryVariant)),
            ("User=2", "user", Err(Fault::QueryVariant)),
            ("user=1&user[]=2", "user", Err(Fault::QueryVariant)),
            ("user=1&user%5B%5D=2", "user", Err(Fault::QueryVariant)),
            ("user[x]=2", "user", Err(Fault::QueryVariant)),
            ("USER[0][x]=2", "user", Err(Fault::QueryVariant)),
            ("user.id=1&user_id=2", "user_id", Err(Fault::QueryVariant)),
            ("user.id=1&user_id=2", "user.id", Err(Fault::QueryVariant)),
            ("user+id=2", "user_id", Err(Fault::QueryVariant)),
            ("user[id=2", "user_id", Err(Fault::QueryVariant)),
            ("+user=2", "user", Err(Fault::QueryVariant)),
            ("?user=2", "user", Err(Fault::QueryVariant)),
            ("user=1&%3Fuser=2", "user", Err(Fault::QueryVariant)),
            ("[user]=2", "user", Err(Fault::QueryVariant)),
            ("user=1&[]user=2", "user", Err(Fault::QueryVariant)),
            ("user]=2", "user", Err(Fault::QueryVariant)),
            ("user%00x=2", "user", Err(Fault::QueryVariant)),
            ("u%C5%BFer=2", "user", Err(Fault::QueryVariant)),
            ("%E2%84%AAey=2", "key", Err(Fault::QueryVariant)),
            ("%C3%89t%C3%A9=2", "été", Err(Fault::QueryVariant)),
            // the other way round, and elements
            ("filter=1", "filter[status]", Err(Fault::QueryVariant)),
            (
                "filter.status=1",
                "filter[status]",
                Err(Fault::QueryVariant),
            ),
            (
                "filter[STATUS]=1",
                "filter[status]",
                Err(Fault::QueryVariant),
            ),
            (
                "filter[status][]=1",
                "filter[status]",
                Err(Fault::QueryVariant),
            ),
            ("tags[0]=1", "tags[]", Err(Fault::QueryVariant)),
            ("tags[+]=1", "tags[0]", Err(Fault::QueryVariant)),
            (
                "filter[owner]=1&filter[status]=2",
                "filter[status]",
                Ok(Some("2")),
            ),
            // no variants
            (
                "users=1&use=2&user-id=3&xuser=4&=5&[users]=6",
                "user",
                Ok(None),
            ),
        ];
        for (raw, name, expected) in cases {
            assert_eq!(
                Query::parse(Some(raw)).value(name),
                *expected,
                "{raw} {name}"
            );
        }
        assert_eq!(Query::parse(None).value("a"), Ok(None));
        let most = "b&".repeat(MOST_NAMES - 1) + "a=1";
        assert_eq!(Query::parse(Some(&most)).value("a"), Ok(Some("1")));
        let more = format!("b&{most}");
        let query = Query::parse(Some(&more));
        assert_eq!(query.value("a"), Err(Fault::QueryTooComplex));
    }

    #[test]
    fn names_are_there_even_where_the_query_cannot_be_read() {
        for (raw, names) in [
            (None, vec![]),
            (Some(""), vec![]),
            (Some("&"), vec![]),
            (Some("a=1&b&a=2"), vec!["a", "b", "a"]),
            (Some("%61=1"), vec!["a"]),
            (Some("a=1;b=2"), vec!["a"]),
            (Some(";"), vec![";"]),
            (Some("%=1"), vec!["%"]),
            (Some("=1"), vec![""]),
        ] {
            let query = Query::parse(raw);
            assert_eq!(query.names().collect::<Vec<_>>(), names, "{raw:?}");
            assert_eq!(query.is_empty(), names.is_empty(), "{raw:?}");
        }
    }

    #[test]
    fn plain_pairs_are_borrowed() {
        let query = Query::parse(Some("a=1&b=2"));
        let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        assert!(query.pairs.iter().all(|(n, v)| borrowed(n) && borrowed(v)));
    }

    #[test]
    fn characters() {
        for raw in ["", "a=1&b=%zz;c", "a[b]={x|y}^`", "a=/?:@!$'()*+,-._~"] {
            assert_eq!(check_characters(raw), Ok(()), "{raw}");
        }
        for raw in [
            "a b", "a\tb", "a\0", "a\u{7f}", "a#b", "a\\b", "a\"b", "a<b", "a>b", "é",
        ] {
            assert_eq!(check_characters(raw), Err(Fault::QueryCharacter), "{raw}");
        }
    }

    #[test]
    fn method_overrides() {
        for raw in [
            "_method=DELETE",
            "a=1&_method=DELETE",
            "a=1;_method=DELETE",
            "_METHOD=delete",
            "_Method",
            "%5Fmethod=DELETE",
            "_%6d%65thod=DELETE",
            "_method[]=DELETE",
            "_method%5B0%5D=DELETE",
            ".method=DELETE",
            "[method=DELETE",
            "+_method=DELETE",
            "%20_method=DELETE",
            "_method%00=DELETE",
            "_method_override=PUT",
            "X-HTTP-Method-Override=PUT",
            "x_http_method=PUT",
            "x.http.method.override=PUT",
            "?_method=PUT",
            "%3F_method=PUT",
            "a=1&?X-HTTP-Method-Override=PUT",
            "]_method=PUT",
            "%5D_method=PUT",
        ] {
            assert_eq!(
                check_method_override(raw),
                Err(Fault::MethodOverride),
                "{raw}"
            );
        }
        for raw in [
            "",
            "method=DELETE",
            "a=_method",
            "_methods=1",
            "payment_method=x",
            "x=1",
            "%zz=1",
            "_=1",
        ] {
            assert_eq!(check_method_override(raw), Ok(()), "{raw}");
        }
    }
}
