//! Whether what was found after a case is what it expects.

use portcullis::audit::record::Sha256;
use portcullis::policy::Reason;
use serde_json::{Value, json};

use super::case::{Case, Expect, Sent, Verdict, as_latin1};
use super::client::{Answer, Talk};
use super::fields;
use super::upstream::Request;

/// What a case left behind.
pub struct Found {
    pub talk: Talk,
    pub requests: Vec<Request>,
    /// Its decisions.
    pub records: Vec<Value>,
}

/// The first thing that is wrong.
pub fn judge(case: &Case, sent: &Sent, found: &Found) -> Result<(), String> {
    let all = || {
        let answers: Vec<String> = found.talk.answers.iter().map(told).collect();
        let records: Vec<String> = found.records.iter().map(Value::to_string).collect();
        format!(
            "answers {answers:?}\n    upstream {:?}\n    records {}",
            found.requests,
            records.join(" ")
        )
    };
    compare(case, sent, found).map_err(|why| format!("{why}\n    {}", all()))
}

fn compare(case: &Case, sent: &Sent, found: &Found) -> Result<(), String> {
    let mut answers = found.talk.answers.iter();
    let mut requests = found.requests.iter();
    let mut records = found.records.iter();
    for expect in &case.expect {
        let answer = match expect.verdict {
            Verdict::Closed(None) => None,
            Verdict::Deny { .. } if expect.unanswered => None,
            Verdict::Cut { .. } | Verdict::Ended => answers.next(),
            Verdict::Closed(Some(_)) | Verdict::Permit { .. } | Verdict::Deny { .. } => {
                Some(answers.next().ok_or("no answer")?)
            }
        };
        if let (Some(answer), Some(continued)) = (answer, expect.continued) {
            same("a 100 before the answer", &answer.continued, &continued)?;
        }
        match (&expect.verdict, answer) {
            (Verdict::Closed(status), answer) => {
                same("status", &answer.map(|answer| answer.status), status)?;
                let body = answer.map(|answer| &answer.body[..]).unwrap_or_default();
                same("body", &as_latin1(body), &String::new())?;
            }
            (Verdict::Permit { .. }, Some(answer)) => {
                let request = requests.next();
                let record = records.next().ok_or("no record")?;
                let alone = case.expect.len() == 1;
                permitted(case, alone, expect, answer, request, record)?;
            }
            (Verdict::Deny { .. }, answer) => {
                let record = records.next().ok_or("no record")?;
                denied(expect, sent, answer, record)?;
            }
            (Verdict::Ended, None) => {}
            (Verdict::Ended, Some(answer)) => {
                let bare = (answer.status, answer.body.is_empty());
                same("bare answer", &bare, &(400, true))?;
            }
            (Verdict::Cut { policy }, answer) => {
                let record = records.next().ok_or("no record")?;
                recorded(record, policy)?;
                let fine = answer.is_some_and(|answer| answer.status == 200);
                same("200", &fine, &false)?;
            }
            (Verdict::Permit { .. }, None) => {}
        }
    }
    same("further answers", &answers.map(told).collect(), &Vec::new())?;
    same(
        "further bytes",
        &as_latin1(&found.talk.extra),
        &String::new(),
    )?;
    let further: Vec<&Value> = records.collect();
    same("further records", &further, &Vec::new())?;
    match requests.next() {
        None => Ok(()),
        Some(request) => Err(format!("the upstream got one more: {request:?}")),
    }
}

fn permitted(
    case: &Case,
    alone: bool,
    expect: &Expect,
    answer: &Answer,
    request: Option<&Request>,
    record: &Value,
) -> Result<(), String> {
    let Verdict::Permit {
        policy,
        target,
        forwarded,
        header,
        absent,
    } = &expect.verdict
    else {
        return Ok(());
    };
    recorded(record, policy)?;
    let request = request.ok_or("the upstream got nothing")?;
    let upgraded = !request.values("upgrade").is_empty();
    same(
        "status",
        &answer.status,
        &(if upgraded { 101 } else { 200 }),
    )?;
    let target = target.as_ref().or(case.target.as_ref().filter(|_| alone));
    let target = target.ok_or("the case must tell the `target`")?;
    same("target", &request.target, target)?;
    let body = forwarded.as_ref().or(case.body.as_ref().filter(|_| alone));
    let body = body.ok_or("the case must tell what is `forwarded`")?;
    match request.early {
        true => same("part of the body", &body.starts_with(&request.body), &true)?,
        false => same("body", &as_latin1(&request.body), &as_latin1(body))?,
    }
    // What is on record as judged is what the upstream got.
    let judged = &record["request"];
    same("judged method", &judged["method"], &json!(request.method))?;
    let path = request.target.split('?').next();
    same("judged path", &judged["path"], &json!(path))?;
    let host = request.values("host").concat();
    let name = judged["host"].as_str().unwrap_or_default();
    let port = host
        .strip_prefix(name)
        .ok_or(format!("judged host {name}, got {host}"))?;
    same(
        "judged host",
        &(port.is_empty() || port.starts_with(':')),
        &true,
    )?;
    if let Some(digest) = judged.get("body_sha256") {
        same("judged body", digest, &json!(Sha256::of(&request.body)))?;
    }
    fields::agree(record, request)?;
    for (name, value) in header {
        same(name, &request.values(name), &vec![&**value])?;
    }
    for name in absent {
        same(name, &request.values(name), &Vec::new())?;
    }
    Ok(())
}

fn recorded(record: &Value, policy: &str) -> Result<(), String> {
    let verdict = (&record["decision"], &record["policies"]);
    same("record", &verdict, &(&json!("permit"), &json!([policy])))
}

fn denied(
    expect: &Expect,
    sent: &Sent,
    answer: Option<&Answer>,
    record: &Value,
) -> Result<(), String> {
    let Verdict::Deny {
        reason,
        detail,
        policies,
    } = &expect.verdict
    else {
        return Ok(());
    };
    same("recorded verdict", &record["decision"], &json!("deny"))?;
    same("recorded reason", &record["reason"], &json!(reason.code()))?;
    if let Some(detail) = detail {
        same("recorded detail", &record["detail"], &json!(detail))?;
    }
    if let Some(policies) = policies {
        same(
            "recorded policies",
            record.get("policies").unwrap_or(&json!([])),
            &json!(policies),
        )?;
    }
    let answer = match answer {
        None if expect.unanswered => return Ok(()),
        None => return Err("no answer".to_owned()),
        Some(answer) => answer,
    };
    let bodiless = match sent {
        Sent::Http1(bytes) | Sent::Pieces(bytes) => expect.bodiless || bytes.starts_with(b"HEAD "),
        Sent::Http2(stream) => stream.fields.iter().any(|(_, value)| value == b"HEAD"),
    };
    if bodiless {
        return same("status", &answer.status, &status(*reason));
    }
    let problem: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| format!("no problem document: {}", told(answer)))?;
    let (problem, status) = match problem.get("error") {
        // To a JSON-RPC call the transport says that all is well, but for what it must know itself.
        Some(error) if matches!(status(*reason), 403 | 429) => (&error["data"], 200),
        Some(error) => (&error["data"], status(*reason)),
        None => (&problem, status(*reason)),
    };
    same("status", &answer.status, &status)?;
    for (key, recorded) in [
        ("reason", "reason"),
        ("detail", "detail"),
        ("decision_id", "id"),
    ] {
        same(key, &problem[key], &record[recorded])?;
    }
    Ok(())
}

/// The status of a reason before forwarding (DESIGN 6).
fn status(reason: Reason) -> u16 {
    match reason {
        Reason::AmbiguousRequest => 400,
        Reason::NoCredentials | Reason::InvalidToken => 401,
        Reason::NoPolicy
        | Reason::Forbidden
        | Reason::ApprovalRequired
        | Reason::OutsideWindow
        | Reason::Revoked
        | Reason::LimitReached
        | Reason::ObligationFailed => 403,
        Reason::BodyTooLarge => 413,
        Reason::UnsupportedBody => 415,
        Reason::Unavailable => 503,
        Reason::UpstreamFailed => 502,
        Reason::UpstreamTimeout => 504,
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, not {expected:?}")),
    }
}

fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, as_latin1(&answer.body))
}
