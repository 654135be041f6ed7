//! `METHOD[,METHOD] TEMPLATE`: which calls a policy speaks of.
//!
//! A template is literal segments and parameters: `{x}` is one non-empty segment, `{x*2}` two, `{x...}` one
//! or more at the end, `{x:regex}` one segment that the regex matches whole. Literals are kept decoded.
//! A segment is either a literal or a parameter, never both: `{x:regex}` says what a mixture would.

use std::sync::Arc;

use super::matcher::pattern::Pattern;

/// One entry of `do`.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The methods; `None` is any (`*`).
    pub methods: Option<Vec<Box<str>>>,
    /// The path.
    pub template: Template,
}

/// A parsed path template.
#[derive(Clone, Debug)]
pub struct Template {
    /// The template as written.
    pub text: Arc<str>,
    /// Its parts, one for each segment but for [`Part::Tail`], which is one or more.
    pub parts: Vec<Part>,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Whether it is written with a slash at its end.
    pub trailing_slash: bool,
}

/// What one segment must be.
#[derive(Clone, Debug)]
pub enum Part {
    /// This text, decoded.
    Literal(Box<str>),
    /// Anything that isn't empty.
    Any,
    /// What the regex matches whole.
    Matches(Pattern),
    /// Anything, and any number of segments more.
    Tail,
}

/// Where a parameter's value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: Box<str>,
    /// Its segments.
    pub span: Span,
}

/// A run of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first segment.
    pub start: u16,
    /// How many; `None`: all to the end.
    pub len: Option<u16>,
}

impl Operation {
    /// Parses `GET,HEAD /a/{b}`; the error says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Operation, String> {
        let Some((methods, template)) = text.split_once(' ') else {
            return Err(format!(
                "`{text}` is no operation; write `METHOD /path`, such as `GET /tenants/{{tenant}}`"
            ));
        };
        let methods = if methods == "*" {
            None
        } else {
            Some(parse_methods(methods)?)
        };
        Ok(Operation {
            methods,
            template: Template::parse(template.trim_start_matches(' '))?,
        })
    }
}

fn parse_methods(text: &str) -> Result<Vec<Box<str>>, String> {
    let mut methods: Vec<Box<str>> = Vec::new();
    for method in text.split(',') {
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            return Err(format!(
                "`{method}` is no method; write upper-case methods joined by commas, or `*` for any"
            ));
        }
        if matches!(method, "CONNECT" | "TRACE") {
            return Err(format!("{method} is never forwarded"));
        }
        if methods.iter().any(|m| **m == *method) {
            return Err(format!("{method} stands here twice"));
        }
        methods.push(method.into());
    }
    Ok(methods)
}

impl Template {
    /// Parses a path template.
    pub fn parse(text: &str) -> Result<Template, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("the template `{text}` does not begin with `/`"));
        };
        let mut template = Template {
            text: text.into(),
            parts: Vec::new(),
            parameters: Vec::new(),
            trailing_slash: false,
        };
        if rest.is_empty() {
            return Ok(template);
        }
        let mut segments = split_segments(rest)?;
        if segments.len() > 1 && segments.last().is_some_and(|last| last.is_empty()) {
            segments.pop();
            template.trailing_slash = true;
        }
        let count = segments.len();
        for (index, segment) in segments.into_iter().enumerate() {
            template.segment(segment, index + 1 == count)?;
        }
        if template.parts.len() > MAX_SEGMENTS {
            return Err(format!("a template has at most {MAX_SEGMENTS} segments"));
        }
        Ok(template)
    }

    /// The parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| *p.name == *name)
    }

    fn segment(&mut self, segment: &str, last: bool) -> Result<(), String> {
        let Some(inner) = segment.strip_prefix('{') else {
            self.parts.push(Part::Literal(literal(segment)?));
            return Ok(());
        };
        let Some(inner) = inner.strip_suffix('}') else {
            return Err(mixed(segment));
        };
        let (name, parts, len) = parameter(inner, segment)?;
        if len.is_none() && !last {
            return Err(format!(
                "`{segment}` takes all that follows, so it can only stand at the end"
            ));
        }
        if self.parameter(name).is_some() {
            return Err(format!("the parameter `{name}` stands here twice"));
        }
        let start =
            u16::try_from(self.parts.len()).map_err(|_| "the template is too long".to_owned())?;
        self.parameters.push(Parameter {
            name: name.into(),
            span: Span { start, len },
        });
        self.parts.extend(parts);
        Ok(())
    }
}

/// Reads the inside of `{…}`: the name, its parts, and how many segments it takes.
fn parameter<'t>(
    inner: &'t str,
    segment: &str,
) -> Result<(&'t str, Vec<Part>, Option<u16>), String> {
    let (name, parts, len) = if let Some((name, regex)) = inner.split_once(':') {
        (name, vec![Part::Matches(Pattern::new(regex)?)], Some(1))
    } else if let Some(name) = inner.strip_suffix("...") {
        (name, vec![Part::Tail], None)
    } else if let Some((name, count)) = inner.split_once('*') {
        let count = count.parse::<u16>().ok().filter(|n| (1..=16).contains(n));
        let count =
            count.ok_or_else(|| format!("`{segment}`: write how many segments, from 1 to 16"))?;
        (name, vec![Part::Any; usize::from(count)], Some(count))
    } else {
        (inner, vec![Part::Any], Some(1))
    };
    if name.is_empty()
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return Err(if inner.contains(['{', '}']) {
            mixed(segment)
        } else {
            format!("`{segment}`: a parameter's name is of letters, digits, `_` and `-`")
        });
    }
    Ok((name, parts, len))
}

/// Splits at slashes outside braces.
fn split_segments(text: &str) -> Result<Vec<&str>, String> {
    let mut segments = Vec::new();
    let mut rest = text;
    let mut depth = 0_usize;
    let mut from = 0;
    loop {
        let Some(found) = rest.get(from..).and_then(|r| r.find(['/', '{', '}'])) else {
            segments.push(rest);
            break;
        };
        let at = from + found;
        match rest.as_bytes().get(at) {
            Some(b'{') => depth += 1,
            Some(b'}') if depth == 0 => {
                return Err("`}` closes nothing; write it as `%7D`".to_owned());
            }
            Some(b'}') => depth -= 1,
            _ if depth == 0 => {
                let (segment, after) = rest.split_at(at);
                segments.push(segment);
                rest = after.strip_prefix('/').unwrap_or(after);
                from = 0;
                continue;
            }
            _ => {}
        }
        from = at + 1;
    }
    if depth != 0 {
        return Err("`{` is not closed".to_owned());
    }
    Ok(segments)
}

/// A literal segment, decoded; refuses what no canonical path can hold.
fn literal(segment: &str) -> Result<Box<str>, String> {
    if segment.is_empty() {
        return Err("the template has an empty segment (`//`), which no request has".to_owned());
    }
    if segment.contains(['{', '}']) {
        return Err(mixed(segment));
    }
    if segment.contains('*') {
        return Err(format!(
            "`{segment}`: write `{{name}}` for one segment, `{{name...}}` for the rest, `%2A` for a literal star"
        ));
    }
    if let Some(odd) = segment
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@%".contains(*c)))
    {
        return Err(format!(
            "`{segment}`: the character {odd:?} can't stand in a path; percent-encode it"
        ));
    }
    let decoded = percent_decode(segment)
        .ok_or_else(|| format!("`{segment}`: `%` wants two hex digits that decode to UTF-8"))?;
    if matches!(decoded.as_str(), "." | "..") {
        return Err(format!("`{segment}`: a dot segment, which no request has"));
    }
    if decoded.contains('\\') || decoded.chars().any(char::is_control) {
        return Err(format!(
            "`{segment}`: a backslash or control character, which no request has"
        ));
    }
    Ok(decoded.into())
}

fn mixed(segment: &str) -> String {
    format!(
        "`{segment}` mixes text and a parameter; one segment is either, so write a regex: `{{name:[a-z]+\\.pdf}}`"
    )
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = |b: u8| char::from(b).to_digit(16);
            let value = hex(bytes.next()?)? * 16 + hex(bytes.next()?)?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// More than any API has.
const MAX_SEGMENTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> String {
        match Operation::parse(text) {
            Err(error) => format!("error: {error}"),
            Ok(op) => {
                let parts: Vec<String> = op
                    .template
                    .parts
                    .iter()
                    .map(|part| match part {
                        Part::Literal(text) => text.to_string(),
                        Part::Any => "?".to_owned(),
                        Part::Matches(_) => "~".to_owned(),
                        Part::Tail => "...".to_owned(),
                    })
                    .collect();
                let names: Vec<String> = op
                    .template
                    .parameters
                    .iter()
                    .map(|p| format!("{}@{}+{:?}", p.name, p.span.start, p.span.len.unwrap_or(0)))
                    .collect();
                format!(
                    "{} {} {}",
                    parts.join("|"),
                    names.join(","),
                    op.template.trailing_slash
                )
            }
        }
    }

    #[test]
    fn templates_parse() {
        let cases = [
            ("GET /", "  false"),
            ("GET,PUT /a/{b}/c", "a|?|c b@1+1 false"),
            (
                "* /repos/{repo*2}/contents/{file...}",
                "repos|?|?|contents|... repo@1+2,file@4+0 false",
            ),
            ("GET /a/{id:[0-9]{1,3}/?}/", "a|~ id@1+1 true"),
            ("GET /v1/x%3Ay", "v1|x:y  false"),
            ("GET /p/a%2Fb", "p|a/b  false"),
        ];
        for (text, want) in cases {
            assert_eq!(shape(text), want, "{text}");
        }
    }

    #[test]
    fn what_no_request_could_match_is_refused() {
        let cases = [
            ("GET", "is no operation"),
            ("get /a", "is no method"),
            ("TRACE /a", "never forwarded"),
            ("GET,GET /a", "twice"),
            ("GET a", "does not begin with `/`"),
            ("GET /a//b", "empty segment"),
            ("GET /a/../b", "dot segment"),
            ("GET /a/%2e%2e/b", "dot segment"),
            ("GET /a/*", "{name...}"),
            ("GET /a/{x}.pdf", "mixes text"),
            ("GET /a/{x...}/b", "only stand at the end"),
            ("GET /a/{x}/{x}", "twice"),
            ("GET /a/{x", "not closed"),
            ("GET /a/x}", "closes nothing"),
            ("GET /a/{x*0}", "from 1 to 16"),
            ("GET /a/{}", "parameter's name"),
            ("GET /a b", "can't stand in a path"),
            ("GET /a/%zz", "two hex digits"),
            ("GET /a?x=1", "can't stand in a path"),
            ("GET /a/{x:[}", "regex"),
        ];
        for (text, want) in cases {
            let got = shape(text);
            assert!(
                got.starts_with("error: ") && got.contains(want),
                "{text}: {got}"
            );
        }
    }
}
