//! The rules of DESIGN 3, as a reader would carry them out by hand.

use std::collections::BTreeMap;

use http::HeaderName;
use portcullis::policy::json::Pointer;
use portcullis::policy::matcher::pattern::Pattern;
use portcullis::policy::matcher::{Kind, Matcher, Names, Scope, shape};
use portcullis::policy::normalise::headers;
use portcullis::policy::normalise::query::Query;
use portcullis::policy::{
    BodyFields, FactRef, Facts, Fault, Json, Principal, Projection, Reason, Truth, Value,
};
use portcullis::yaml::{self, At, Problems};

use super::generate::{BodyText, Named, PolicyText, Who};

/// What was decided: the permit's id or the reason, the forbids that apply, and the shadow policies that hold
/// or apply, each with whether it is a permit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Result<String, Reason>,
    pub(crate) policies: Vec<String>,
    pub(crate) shadow: Vec<(String, bool)>,
}

pub(crate) struct Reference {
    policies: Vec<Known>,
}

struct Known {
    id: String,
    text: PolicyText,
    templates: Vec<(Vec<&'static str>, Vec<Part>, bool)>,
    who: Vec<(FactRef, Matcher)>,
    host: Option<Matcher>,
    client: Option<Matcher>,
    path: Vec<(&'static str, Matcher)>,
    query: Vec<(FactRef, Matcher)>,
    headers: Vec<(FactRef, Matcher)>,
    body: Vec<(Pointer, Matcher)>,
    exactly: Option<Json>,
}

enum Part {
    Literal(String),
    /// A name, how many segments, and a regex that each matches.
    Some(&'static str, usize, Option<Pattern>),
    Rest(&'static str),
}

/// The name of a parameter and its text; `None` where it could be read in two ways.
type Captures = BTreeMap<&'static str, Option<String>>;

/// A piece of a path, and whether a segment begins with it.
type Piece = (String, bool);

struct NoPaths;

impl Names for NoPaths {
    fn resolve(&mut self, reference: &str) -> Result<FactRef, String> {
        let pointer = reference.strip_prefix("claims").ok_or("not used here")?;
        Ok(FactRef::Claim(Pointer::parse(pointer).ok_or("no pointer")?))
    }
}

fn matcher(text: &str, kind: Kind) -> Matcher {
    let mut problems = Problems::new("matcher");
    let node = yaml::parse(text, &mut problems).unwrap();
    Matcher::read(&At::root(&node), kind, &mut NoPaths, &mut problems).unwrap()
}

fn json(text: &str) -> Json {
    let mut problems = Problems::new("literal");
    let node = yaml::parse(text, &mut problems).unwrap();
    portcullis::policy::matcher::literal(&At::root(&node), &mut problems).unwrap()
}

fn parts(template: &'static str) -> (Vec<Part>, bool) {
    if template == "/" {
        return (Vec::new(), false);
    }
    let slash = template.ends_with('/');
    let inner = template.trim_matches('/');
    let parts = inner.split('/').map(|segment| {
        let inside = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
        let Some(inside) = inside else {
            return Part::Literal(segment.replace("%2F", "/").replace("%C3%A9", "é"));
        };
        if let Some((name, regex)) = inside.split_once(':') {
            Part::Some(name, 1, Some(Pattern::new(regex).unwrap()))
        } else if let Some((name, count)) = inside.split_once('*') {
            Part::Some(name, count.parse().unwrap(), None)
        } else if let Some(name) = inside.strip_suffix("...") {
            Part::Rest(name)
        } else {
            Part::Some(inside, 1, None)
        }
    });
    (parts.collect(), slash)
}

impl Known {
    fn new(n: usize, text: &PolicyText) -> Known {
        let templates = text.operations.iter().map(|(methods, template)| {
            let (parts, slash) = parts(template);
            (methods.split(',').collect(), parts, slash)
        });
        let who = match &text.who {
            Who::Conditions(list) => list.as_slice(),
            Who::Absent | Who::Any | Who::Anonymous => &[],
        };
        let fact = |name: &str| match name {
            "agent" => FactRef::Agent,
            "user" => FactRef::User,
            "groups" => FactRef::Groups,
            "cert/dns" => FactRef::CertDns,
            claim => NoPaths.resolve(claim).unwrap(),
        };
        let query: &[_] = match &text.query {
            Named::Judged(list, _) => list,
            Named::Absent | Named::None | Named::Any => &[],
        };
        let (body, exactly): (&[_], _) = match &text.body {
            BodyText::Judged {
                fields, exactly, ..
            } => (fields, *exactly),
            BodyText::Absent | BodyText::None | BodyText::Any => (&[], None),
        };
        Known {
            id: text.id(n),
            text: text.clone(),
            templates: templates.collect(),
            who: who
                .iter()
                .map(|(name, m)| (fact(name), matcher(m, Kind::Claim)))
                .collect(),
            host: text.host.map(|m| matcher(m, Kind::Host)),
            client: text
                .client
                .map(|cidr| matcher(&format!("{{ cidr: \"{cidr}\" }}"), Kind::Address)),
            path: text
                .path
                .iter()
                .map(|(name, m)| (*name, matcher(m, Kind::Wire)))
                .collect(),
            query: query
                .iter()
                .map(|(name, m)| (FactRef::Query((*name).into()), matcher(m, Kind::Wire)))
                .collect(),
            headers: text
                .headers
                .iter()
                .map(|(name, m)| {
                    let name = HeaderName::from_static(name);
                    (FactRef::Header(name), matcher(m, Kind::Wire))
                })
                .collect(),
            body: body
                .iter()
                .map(|(p, m)| (Pointer::parse(p).unwrap(), matcher(m, Kind::Body)))
                .collect(),
            exactly: exactly.map(json),
        }
    }

    /// The ways in which the request is a call that the policy speaks of.
    fn matches(&self, facts: &Facts<'_>) -> Vec<Captures> {
        let request = facts.request;
        let mut found = Vec::new();
        let canonical: Vec<Piece> = (0..request.segments())
            .map(|n| (request.segment(n).to_owned(), true))
            .collect();
        for (methods, parts, slash) in &self.templates {
            let named = |method: &str| methods.iter().any(|m| *m == "*" || *m == method);
            let covered = !self.text.permit && request.method() == "HEAD" && named("GET");
            if !named(request.method()) && !covered {
                continue;
            }
            if self.text.permit {
                if request.trailing_slash() == *slash {
                    walk(parts, &canonical, false, Captures::new(), &mut found);
                }
                continue;
            }
            walk(parts, &canonical, true, Captures::new(), &mut found);
            for reading in request.readings() {
                let pieces: Vec<Piece> = reading
                    .pieces
                    .iter()
                    .map(|piece| (piece.text.to_string(), piece.begins))
                    .collect();
                walk(parts, &pieces, true, Captures::new(), &mut found);
            }
        }
        found
    }

    fn judges_fields(&self) -> bool {
        match &self.text.body {
            BodyText::Judged {
                only,
                exactly,
                fields,
                ..
            } => only.is_some() || exactly.is_some() || !fields.is_empty(),
            BodyText::Absent | BodyText::None | BodyText::Any => false,
        }
    }

    fn fits(&self, facts: &Facts<'_>) -> bool {
        let BodyText::Judged { types, .. } = &self.text.body else {
            return false;
        };
        let types = types.unwrap_or("application/json");
        let sent = facts
            .headers
            .get("content-type")
            .map(|v| v.to_str().unwrap());
        let sent = sent.map(|text| text.trim_end_matches("; charset=utf-8"));
        sent.is_some_and(|sent| {
            types
                .trim_matches(['[', ']'])
                .split(", ")
                .any(|t| t == sent)
        })
    }

    /// The pointers that `only` admits, if it is there.
    fn admitted(&self) -> Option<Vec<Pointer>> {
        let BodyText::Judged {
            only,
            fields,
            exactly,
            ..
        } = &self.text.body
        else {
            return None;
        };
        let listed = only.as_ref()?.iter().copied();
        let judged = fields.iter().map(|(pointer, _)| *pointer);
        let whole = exactly.map(|_| "");
        let all = listed.chain(judged).chain(whole);
        Some(all.map(|p| Pointer::parse(p).unwrap()).collect())
    }

    fn projection(&self, n: u32) -> Projection {
        let mut fields: Vec<(Pointer, u32)> = Vec::new();
        let whole = self.exactly.is_some().then(|| Pointer::parse("").unwrap());
        for (pointer, id) in self
            .body
            .iter()
            .map(|(p, _)| p.clone())
            .chain(whole)
            .zip(0..)
        {
            fields.push((pointer, n * 100 + id));
        }
        let only: Vec<(u32, Vec<Pointer>)> =
            self.admitted().into_iter().map(|list| (n, list)).collect();
        Projection::new(&fields, &only)
    }
}

/// Whether the parts take all pieces; each way is kept. A part takes one piece, or a segment of several.
fn walk(parts: &[Part], pieces: &[Piece], wide: bool, taken: Captures, found: &mut Vec<Captures>) {
    let Some((part, later)) = parts.split_first() else {
        if pieces.is_empty() {
            found.push(taken);
        }
        return;
    };
    if pieces.is_empty() {
        return;
    }
    match part {
        Part::Rest(name) => {
            let texts: Vec<&str> = pieces.iter().map(|(text, _)| &**text).collect();
            let mut taken = taken;
            taken.insert(name, joined(&texts));
            found.push(taken);
        }
        Part::Literal(literal) => {
            for (text, rest) in takes(pieces) {
                if text == *literal || (wide && text.eq_ignore_ascii_case(literal)) {
                    walk(later, rest, wide, taken.clone(), found);
                }
            }
        }
        Part::Some(name, count, regex) => {
            let mut open = vec![(Vec::new(), pieces)];
            for _ in 0..*count {
                open = open
                    .into_iter()
                    .flat_map(|(texts, pieces)| {
                        takes(pieces).into_iter().map(move |(text, rest)| {
                            let mut texts: Vec<String> = texts.clone();
                            texts.push(text);
                            (texts, rest)
                        })
                    })
                    .collect();
            }
            for (texts, rest) in open {
                let fits = |text: &String| {
                    !text.is_empty() && regex.as_ref().is_none_or(|r| r.test(text) == Truth::True)
                };
                if texts.iter().all(fits) {
                    let mut taken = taken.clone();
                    let value = match texts.as_slice() {
                        [one] => Some(one.clone()),
                        many => joined(&many.iter().map(|t| &**t).collect::<Vec<_>>()),
                    };
                    taken.insert(name, value);
                    walk(later, rest, wide, taken, found);
                }
            }
        }
    }
}

/// What one part may take from the front.
fn takes(pieces: &[Piece]) -> Vec<(String, &[Piece])> {
    let Some((first, rest)) = pieces.split_first() else {
        return Vec::new();
    };
    let mut ways = vec![(first.0.clone(), rest)];
    let inside = rest.iter().take_while(|(_, begins)| !begins).count();
    if first.1 && inside > 0 {
        let texts: Vec<&str> = pieces[..=inside].iter().map(|(t, _)| &**t).collect();
        ways.push((texts.join("/"), &rest[inside..]));
    }
    ways
}

/// Several segments as one value, unless that could be read in two ways.
fn joined(texts: &[&str]) -> Option<String> {
    (!texts.iter().any(|text| text.contains('/'))).then(|| texts.join("/"))
}

/// One policy in one of the ways in which it matches.
struct Candidate<'r> {
    policy: &'r Known,
    /// All but the window and the body.
    head: Truth,
    window: Truth,
    body: Truth,
    faults: Vec<Fault>,
}

impl Candidate<'_> {
    fn live(&self) -> bool {
        match self.policy.text.permit {
            true => self.head == Truth::True,
            false => self.head.and(self.window) != Truth::False,
        }
    }

    fn all(&self) -> Truth {
        self.head.and(self.window).and(self.body)
    }
}

struct Sight<'e, 'q> {
    facts: &'e Facts<'e>,
    query: &'e Query<'q>,
}

impl Scope for Sight<'_, '_> {
    fn fact(&self, fact: &FactRef) -> Value<'_> {
        self.value(fact).unwrap_or(Value::Unreadable)
    }

    fn note(&self, _: Fault) {}

    fn spend(&self) -> bool {
        true
    }
}

impl<'e> Sight<'e, '_> {
    fn value(&self, fact: &FactRef) -> Result<Value<'e>, Fault> {
        let wire = |found: Option<&'e str>| found.map_or(Value::Missing, Value::Wire);
        match fact {
            FactRef::Query(name) => self.query.value(name).map(wire),
            FactRef::Header(name) => headers::single(self.facts.headers, name).map(wire),
            other => Ok(self
                .facts
                .principal
                .map_or(Value::Missing, |p| identity(p, other))),
        }
    }
}

fn identity<'p>(principal: &'p Principal, fact: &FactRef) -> Value<'p> {
    let text = |text: &'p Option<Box<str>>| text.as_deref().map_or(Value::Missing, Value::Text);
    match fact {
        FactRef::Agent => text(&principal.agent),
        FactRef::User => text(&principal.user),
        FactRef::Groups => Value::Texts(&principal.groups),
        FactRef::CertDns => principal
            .cert
            .as_ref()
            .map_or(Value::Missing, |cert| Value::Texts(&cert.dns)),
        FactRef::Claim(pointer) => principal
            .claims
            .at(pointer)
            .map_or(Value::Missing, Value::from),
        other => panic!("{other:?} is not used here"),
    }
}

impl Reference {
    pub(crate) fn new(policies: &[PolicyText]) -> Reference {
        let known = policies.iter().enumerate();
        Reference {
            policies: known.map(|(n, text)| Known::new(n, text)).collect(),
        }
    }

    pub(crate) fn decide(&self, facts: &Facts<'_>, bytes: &[u8]) -> Answer {
        let query = Query::parse(facts.request.query());
        let sight = Sight {
            facts,
            query: &query,
        };
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for policy in &self.policies {
            for captures in policy.matches(facts) {
                candidates.push(head(policy, &captures, &sight));
            }
        }
        // Shadow policies read the body by themselves: what they stumble on is nothing to the others.
        for shadow in [false, true] {
            bodies(&mut candidates, shadow, facts, bytes, &sight);
        }
        self.combine(&candidates, facts)
    }

    fn combine(&self, candidates: &[Candidate<'_>], facts: &Facts<'_>) -> Answer {
        let of = |permit: bool, shadow: bool| {
            candidates
                .iter()
                .filter(move |c| c.policy.text.permit == permit && c.policy.text.shadow == shadow)
        };
        let holds = |shadow: bool| {
            let mut ids: Vec<&str> = of(true, shadow)
                .filter(|c| c.all() == Truth::True)
                .map(|c| &*c.policy.id)
                .collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let holding = holds(false);
        let applies = |shadow: bool| {
            let mut ids: Vec<&str> = of(false, shadow)
                .filter(|c| c.all() != Truth::False)
                .filter(|c| {
                    let mut lifting = c.policy.text.unless.iter().map(|n| format!("p{n:02}"));
                    !lifting.any(|id| holding.contains(&&*id))
                })
                .map(|c| &*c.policy.id)
                .collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let forbids = applies(false);
        let mut shadow: Vec<(String, bool)> = holds(true)
            .into_iter()
            .map(|id| (id.to_owned(), true))
            .chain(applies(true).into_iter().map(|id| (id.to_owned(), false)))
            .collect();
        shadow.sort();
        let expired = facts
            .principal
            .and_then(|p| p.expires_at)
            .is_some_and(|end| end <= facts.now);
        let verdict = match (expired, forbids.as_slice(), holding.first()) {
            (true, _, _) => Err(Reason::InvalidToken),
            (false, [], Some(id)) => Ok((*id).to_owned()),
            (false, _, _) => Err(self.reason(candidates, facts, &forbids, of(true, false))),
        };
        let policies = match &verdict {
            Ok(_) => Vec::new(),
            Err(_) => forbids.iter().map(ToString::to_string).collect(),
        };
        Answer {
            verdict,
            policies,
            shadow,
        }
    }

    fn reason<'c>(
        &self,
        candidates: &[Candidate<'_>],
        facts: &Facts<'_>,
        forbids: &[&str],
        mut permits: impl Iterator<Item = &'c Candidate<'c>>,
    ) -> Reason {
        let enforced = candidates.iter().filter(|c| !c.policy.text.shadow);
        if let Some(fault) = enforced.flat_map(|c| &c.faults).min() {
            return fault.reason();
        }
        let certain = candidates
            .iter()
            .any(|c| forbids.contains(&&*c.policy.id) && c.all() == Truth::True);
        if !forbids.is_empty() {
            // Whoever brings a credential may not be one that the forbid means.
            return match facts.principal.is_none() && !certain {
                true => Reason::NoCredentials,
                false => Reason::Forbidden,
            };
        }
        if permits.any(|c| c.head.and(c.body) == Truth::True && c.window != Truth::True) {
            return Reason::OutsideWindow;
        }
        match facts.principal {
            None => Reason::NoCredentials,
            Some(_) => Reason::NoPolicy,
        }
    }
}

fn head<'r>(policy: &'r Known, captures: &Captures, sight: &Sight<'_, '_>) -> Candidate<'r> {
    let (text, facts) = (&policy.text, sight.facts);
    let authenticated = match &text.who {
        Who::Any => true,
        Who::Conditions(_) => text.permit,
        Who::Absent | Who::Anonymous => false,
    };
    let mut truth = Truth::from(!authenticated || facts.principal.is_some());
    for (fact, matcher) in &policy.who {
        truth = truth.and(matcher.test(sight.value(fact).unwrap(), sight));
    }
    if let Some(host) = &policy.host {
        truth = truth.and(host.test(Value::Text(facts.request.host()), sight));
    }
    if let Some(client) = &policy.client {
        let address = facts.client.to_canonical().to_string();
        truth = truth.and(client.test(Value::Text(&address), sight));
    }
    for (name, matcher) in &policy.path {
        let value = captures[name]
            .as_deref()
            .map_or(Value::Unreadable, Value::Wire);
        truth = truth.and(matcher.test(value, sight));
    }
    let upgrade = match (text.websocket, facts.websocket) {
        (true, asked) => asked,
        (false, true) => !text.permit,
        (false, false) => true,
    };
    let bodyless = matches!(text.body, BodyText::None)
        || (text.permit && matches!(text.body, BodyText::Absent));
    truth = truth
        .and(upgrade.into())
        .and((!(bodyless && facts.has_body)).into());
    let mut candidate = Candidate {
        policy,
        head: truth,
        window: window(policy, sight),
        body: Truth::True,
        faults: Vec::new(),
    };
    if candidate.live() {
        wire(&mut candidate, sight);
    }
    candidate
}

fn wire(candidate: &mut Candidate<'_>, sight: &Sight<'_, '_>) {
    let policy = candidate.policy;
    let (text, facts) = (&policy.text, sight.facts);
    let closed = match &text.query {
        Named::Absent if text.permit => Some(None),
        Named::None => Some(None),
        Named::Absent | Named::Any => None,
        Named::Judged(list, only) => (text.permit || only.is_some()).then(|| {
            let listed = only.iter().flatten().copied();
            Some(
                list.iter()
                    .map(|(name, _)| *name)
                    .chain(listed)
                    .collect::<Vec<_>>(),
            )
        }),
    };
    let query = match closed {
        None => Truth::True,
        Some(None) => facts.request.query().is_none_or(str::is_empty).into(),
        Some(Some(names)) => match sight.query.fault() {
            Some(fault) => {
                candidate.faults.push(fault);
                Truth::Indeterminate
            }
            None => sight.query.names().all(|name| names.contains(&name)).into(),
        },
    };
    candidate.head = candidate.head.and(query);
    if let Some(only) = &text.headers_only {
        let inert = ["accept", "content-type"];
        let judged = text.headers.iter().map(|(name, _)| *name);
        let known: Vec<&str> = only.iter().copied().chain(judged).chain(inert).collect();
        let held = facts
            .headers
            .keys()
            .all(|name| known.contains(&name.as_str()));
        candidate.head = candidate.head.and(held.into());
    }
    for (fact, matcher) in policy.query.iter().chain(&policy.headers) {
        let value = sight.value(fact).unwrap_or_else(|fault| {
            candidate.faults.push(fault);
            Value::Unreadable
        });
        candidate.head = candidate.head.and(matcher.test(value, sight));
    }
}

fn window(policy: &Known, sight: &Sight<'_, '_>) -> Truth {
    let Some((from, until)) = policy.text.when else {
        return Truth::True;
    };
    let moment = |text: &str| {
        if text != "$claims/end" {
            return Some(text.parse().unwrap());
        }
        match sight.fact(&NoPaths.resolve("claims/end").unwrap()) {
            Value::Text(text) => text.parse().ok(),
            Value::Number(text) => jiff::Timestamp::from_second(text.parse().ok()?).ok(),
            _ => None,
        }
    };
    let now = sight.facts.now;
    let since = from.map_or(Truth::True, |text| {
        moment(text).map_or(Truth::Indeterminate, |at| (now >= at).into())
    });
    let before = until.map_or(Truth::True, |text| {
        moment(text).map_or(Truth::Indeterminate, |at| (now < at).into())
    });
    since.and(before)
}

fn bodies(
    candidates: &mut [Candidate<'_>],
    shadow: bool,
    facts: &Facts<'_>,
    bytes: &[u8],
    sight: &Sight<'_, '_>,
) {
    let asking = |c: &Candidate<'_>| {
        c.policy.text.shadow == shadow
            && c.live()
            && matches!(c.policy.text.body, BodyText::Judged { .. })
    };
    let read: Vec<Projection> = candidates
        .iter()
        .filter(|c| asking(c) && c.policy.judges_fields() && c.policy.fits(facts))
        .zip(0..)
        .map(|(c, n)| c.policy.projection(n))
        .collect();
    let all: Vec<&Projection> = read.iter().collect();
    let fault = BodyFields::json(bytes, &Projection::merge(&all), 64).err();
    let document = Json::parse(bytes, 64).ok();
    for candidate in candidates.iter_mut().filter(|c| asking(c)) {
        let policy = candidate.policy;
        let missing = !facts.has_body;
        if !missing && !policy.fits(facts) {
            candidate.faults.push(Fault::ContentType);
            candidate.body = Truth::Indeterminate;
            continue;
        }
        if !policy.judges_fields() {
            continue;
        }
        if !missing && let Some(fault) = fault {
            candidate.faults.push(fault);
            candidate.body = Truth::Indeterminate;
            continue;
        }
        let root = document.as_ref().filter(|_| !missing);
        let mut truth = Truth::True;
        for (pointer, matcher) in &policy.body {
            let value = root
                .and_then(|root| root.at(pointer))
                .map_or(Value::Missing, Value::from);
            truth = truth.and(matcher.test(value, sight));
        }
        if let Some(exactly) = &policy.exactly {
            truth = truth.and(match root {
                None => Truth::Indeterminate,
                Some(root) if has_variant(root, exactly) => {
                    candidate.faults.push(Fault::JsonKeyCase);
                    Truth::Indeterminate
                }
                Some(root) => shape::same(Value::from(root), exactly, sight),
            });
        }
        if let (Some(admitted), Some(root)) = (policy.admitted(), root) {
            truth = truth.and(closed(root, &mut Vec::new(), &admitted).into());
        }
        candidate.body = truth;
    }
}

/// Whether a key equals one that is asked for but for case.
fn has_variant(root: &Json, wanted: &Json) -> bool {
    let (Json::Object(members), Json::Object(wanted)) = (root, wanted) else {
        return false;
    };
    members.iter().any(|(key, _)| {
        wanted
            .iter()
            .any(|(asked, _)| asked != key && asked.eq_ignore_ascii_case(key))
    })
}

/// Whether nothing stands where no pointer admits it.
fn closed(value: &Json, at: &mut Vec<String>, admitted: &[Pointer]) -> bool {
    let is_prefix = |short: &[Box<str>], long: &[String]| {
        short.len() <= long.len() && short.iter().zip(long).all(|(a, b)| **a == **b)
    };
    if admitted
        .iter()
        .any(|pointer| is_prefix(pointer.tokens(), at))
    {
        return true;
    }
    let leads = |pointer: &Pointer| {
        let tokens = pointer.tokens();
        tokens.len() > at.len() && tokens.iter().zip(at.iter()).all(|(a, b)| **a == **b)
    };
    let on_the_way = at.is_empty() || admitted.iter().any(leads);
    match value {
        Json::Object(members) if on_the_way => members.iter().all(|(key, inner)| {
            at.push(key.to_string());
            let held = closed(inner, at, admitted);
            at.pop();
            held
        }),
        _ => false,
    }
}
