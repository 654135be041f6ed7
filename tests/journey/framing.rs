//! Two framings of one message: refused with an answer, a record and the end of the connection.
//!
//! The attacks as data are in `tests/hostile/framing.yaml`; here stands what they have in common.

use crate::harness::{Gateway, token};

const BODY: &str = r#"{"name":"ok"}"#;

fn head(framing: &str) -> String {
    let bearer = token("agent/7");
    format!(
        "POST /items HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {bearer}\r\n{framing}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_head_with_two_framings_is_refused_and_ends_its_connection() {
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
        "content-length: 23\r\ncontent-length: 23",
        "content-length: 023",
        "transfer-encoding: chunked\nx-a: b",
    ] {
        let mut gateway = Gateway::start().await;
        let chunked = format!("d\r\n{BODY}\r\n0\r\n\r\n");
        let next = "GET /open HTTP/1.1\r\nhost: smuggled\r\n\r\n";
        // The first request is judged before the faulty bytes of the second count.
        let first = "GET /open HTTP/1.1\r\nhost: a\r\n\r\n";
        let bytes = format!("{first}{}{chunked}{next}", head(framing));
        let answer = gateway.raw(bytes.as_bytes()).await;
        let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).collect();
        assert_eq!(statuses.len(), 2, "{framing}: {answer}");
        assert!(statuses[0].starts_with("200 "), "{framing}: {answer}");
        assert!(statuses[1].starts_with("400 "), "{framing}: {answer}");
        assert!(statuses[1].contains("connection: close"), "{framing}");
        assert!(statuses[1].contains(r#""detail":"framing""#), "{framing}");
        assert_eq!(gateway.upstream.only().target, "/open", "{framing}");
        let records = gateway.stop().await;
        let refused: Vec<_> = records.iter().filter(|r| r["decision"] == "deny").collect();
        assert_eq!(refused.len(), 1, "{framing}: {records:?}");
        assert_eq!(refused[0]["reason"], "ambiguous_request");
        assert_eq!(refused[0]["detail"], "framing");
    }
}

#[tokio::test]
async fn one_framing_is_fine_and_made_anew() {
    for (framing, body) in [
        ("content-length: 13", BODY.to_owned()),
        (
            "transfer-encoding: chunked",
            format!("d\r\n{BODY}\r\n0\r\n\r\n"),
        ),
        (
            "Transfer-Encoding:  Chunked ",
            "05;a=\"b\"\r\n{\"nam\r\n8\r\ne\":\"ok\"}\r\n0\r\nx-trailer: c\r\n\r\n".to_owned(),
        ),
    ] {
        let gateway = Gateway::start().await;
        let framing = format!("{framing}\r\nconnection: close");
        let answer = gateway
            .raw(format!("{}{body}", head(&framing)).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{framing}: {answer}");
        let seen = gateway.upstream.only();
        let lengths: Vec<_> = seen.headers.get_all("content-length").iter().collect();
        assert_eq!(lengths, ["13"], "{framing}");
        assert!(!seen.headers.contains_key("x-trailer"), "{framing}");
        assert_eq!(seen.body, BODY);
    }
}

#[tokio::test]
async fn chunks_that_are_no_chunks_end_the_request() {
    for chunks in [
        "xyz\r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "-d\r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "fffffffffffffffffffff\r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "d\r\n{\"name\":\"ok\"}xx0\r\n\r\n",
        "d\r\n{\"name\":\"ok\"}\r\n0;a\n\r\n",
        "d\r\n{\"name\":\"ok\"}\r\n0\r\n a: b\r\n\r\n",
        "d\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
        "d ; \r\n{\"name\":\"ok\"}\r\n0\r\n\r\n",
    ] {
        let gateway = Gateway::start().await;
        let head = head("transfer-encoding: chunked");
        let bytes = format!("{head}{chunks}GET /open HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = gateway.raw(bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{chunks}: {answer}");
        assert_eq!(gateway.upstream.count(), 0, "{chunks}");
    }
}

#[tokio::test]
async fn an_unjudged_body_that_breaks_is_never_taken_for_whole() {
    let mut gateway = Gateway::start().await;
    let bearer = token("agent/7");
    let bytes = format!(
        "PUT /files/f HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0;a\n\r\n"
    );
    gateway.raw(bytes.as_bytes()).await;
    let records = gateway.stop().await;
    let outcome = records.iter().find(|r| r["kind"] == "outcome").unwrap();
    assert_ne!(outcome["end"], "complete", "{outcome}");
}
