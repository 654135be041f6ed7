//! What clients send, with a secret wherever one may stand.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::HeaderName;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Program, SHOWN, World};
use crate::harness::{Answer, PATIENCE, bare, exchange};

impl World {
    /// Everything that a client may send, wherever a secret may stand in it.
    pub async fn asks(&mut self, program: &Program) {
        let shared = self.read("shared.secret");
        let good = self.token("a good token", &shared, 300);
        let bearer = format!("Bearer {good}");
        let of_type = |content_type: &str| {
            let content_type = ("content-type", content_type.to_owned());
            vec![("authorization", bearer.clone()), content_type]
        };
        let json = of_type("application/json");
        let form = of_type("application/x-www-form-urlencoded");
        let mut calls: Vec<Call> = Vec::new();
        let mut call = |status: u16,
                        method: &str,
                        target: &str,
                        headers: Vec<(&'static str, String)>,
                        body: String| {
            calls.push(Call {
                status,
                method: method.parse().unwrap(),
                target: target.to_owned(),
                headers,
                body,
            });
        };
        // Credentials.
        let foreign = self.token("a token of another key", &"x".repeat(40), 300);
        let expired = self.token("an expired token", &shared, -4000);
        let (header, rest) = good.split_once('.').unwrap();
        let none = format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0);
        let cut = format!("{header}.{}", self.plant("a token of two parts"));
        let noise = format!(
            "{header}.{}.{}",
            self.plant("claims that are none"),
            self.plant("a signature that is none")
        );
        let basic = STANDARD.encode(format!("user:{}", self.plant("password")));
        for credential in [
            format!("Bearer {foreign}"),
            format!("Bearer {expired}"),
            format!("Bearer {none}"),
            format!("Bearer {cut}"),
            format!("Bearer {noise}"),
            format!("Bearer {}", self.plant("an opaque token")),
            format!("Basic {basic}"),
            format!("Token {}", self.plant("another scheme")),
            format!(
                "Digest username=\"{}\", response=\"{}\"",
                self.plant("user of digest"),
                self.plant("response of digest")
            ),
            self.plant("no scheme"),
        ] {
            call(
                401,
                "GET",
                "/free/a",
                vec![("authorization", credential)],
                String::new(),
            );
        }
        let twice = vec![
            ("authorization", bearer.clone()),
            (
                "authorization",
                format!("Bearer {}", self.plant("a second token")),
            ),
        ];
        call(400, "GET", "/free/a", twice, String::new());
        // Headers.
        let headers = vec![
            ("authorization", bearer.clone()),
            (
                "cookie",
                format!(
                    "session={}; other={}",
                    self.plant("cookie"),
                    self.plant("second cookie")
                ),
            ),
            (
                "proxy-authorization",
                format!("Basic {}", self.plant("proxy-authorization")),
            ),
            ("x-api-key", self.plant("x-api-key of the client")),
            ("x-file", self.plant("a header that the route sets")),
            ("dpop", self.plant("dpop")),
            ("tracestate", format!("a={}", self.plant("tracestate"))),
            ("baggage", format!("a={}", self.plant("baggage"))),
            ("user-agent", self.plant("user-agent")),
            (
                "referer",
                format!("https://example.com/?t={}", self.plant("referer")),
            ),
            ("x-forwarded-for", self.plant("x-forwarded-for")),
        ];
        for target in [
            "/free/a",
            "/http2/a",
            "/tls/a",
            "/broken/a",
            "/nowhere",
            "/header",
        ] {
            let query = format!(
                "{target}?token={}&b={}",
                self.plant(&format!("query of {target}")),
                self.plant(&format!("second value of {target}"))
            );
            let status = match target {
                "/free/a" | "/http2/a" => 200,
                "/tls/a" | "/broken/a" => 502,
                _ => 403,
            };
            call(status, "GET", &query, headers.clone(), String::new());
        }
        let kept = vec![
            ("authorization", bearer.clone()),
            ("x-kept", format!("ok{}", self.plant("a judged header"))),
        ];
        call(200, "GET", "/header", kept, String::new());
        let kept = vec![
            ("authorization", bearer.clone()),
            ("x-kept", self.plant("a judged header that fails")),
        ];
        call(403, "GET", "/header", kept, String::new());
        let bad = vec![
            ("authorization", bearer.clone()),
            ("x_bad", self.plant("a header with an underscore")),
        ];
        call(400, "GET", "/free/a", bad, String::new());
        // Queries.
        for (status, target) in [
            (
                401,
                format!(
                    "/free/a?access_token={}",
                    self.plant("a token in the query")
                ),
            ),
            (
                401,
                format!("/free/a?a=1;b={}", self.plant("after a semicolon")),
            ),
        ] {
            call(status, "GET", &target, Vec::new(), String::new());
        }
        // Bodies.
        let body = json!({
            "name": format!("ok{}", self.plant("a judged field")),
            "hashed": self.plant("a field that is hashed"),
            "shown": SHOWN,
            "free": self.plant("a field that nobody judges"),
        });
        let query = |w: &mut World, what: &str| format!("/judged?q=ok{}", w.plant(what));
        call(
            200,
            "POST",
            &query(self, "a judged query"),
            json.clone(),
            body.to_string(),
        );
        let body = json!({ "name": self.plant("a judged field that fails"), "hashed": { "a": self.plant("a hashed container") }, "shown": SHOWN });
        call(
            403,
            "POST",
            &query(self, "query beside a failed field"),
            json.clone(),
            body.to_string(),
        );
        let body = json!({ "name": "ok", "hashed": 1, "shown": 1 });
        let failed = format!("/judged?q={}", self.plant("a judged query that fails"));
        call(403, "POST", &failed, json.clone(), body.to_string());
        let escaped = format!(
            "/judged?q=ok%zz{}",
            self.plant("a query that can't be decoded")
        );
        call(400, "POST", &escaped, json.clone(), body.to_string());
        for (status, body) in [
            (
                400,
                format!(
                    "{{\"name\":\"ok\",\"name\":\"{}\"}}",
                    self.plant("a key that comes twice")
                ),
            ),
            (
                400,
                format!("{{\"name\":\"{}", self.plant("a body that ends early")),
            ),
            (
                400,
                format!("{{\"name\":\"\\q{}\"}}", self.plant("a bad escape")),
            ),
            (
                400,
                format!("{{\"{}\":1}} more", self.plant("a key before garbage")),
            ),
            (
                413,
                format!(
                    "{{\"name\":\"{}{}\"}}",
                    self.plant("a body too long"),
                    "x".repeat(5000)
                ),
            ),
        ] {
            call(status, "POST", "/judged?q=ok", json.clone(), body);
        }
        let gzip = [json.clone(), vec![("content-encoding", "gzip".to_owned())]].concat();
        call(
            400,
            "POST",
            "/judged?q=ok",
            gzip,
            self.plant("a body that isn't gzip"),
        );
        let text = of_type("text/plain");
        call(
            415,
            "POST",
            "/judged?q=ok",
            text,
            self.plant("a body of another type"),
        );
        let fields = format!(
            "name=ok{}&hashed={}&free={}",
            self.plant("a form's judged field"),
            self.plant("a form's hashed field"),
            self.plant("a form's other field")
        );
        call(200, "POST", "/form", form.clone(), fields);
        let fields = format!(
            "name={}&name={}&hashed=1",
            self.plant("a form's field"),
            self.plant("the same again")
        );
        call(400, "POST", "/form", form.clone(), fields);
        let rpc = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": self.plant("a tool"), "arguments": { "a": self.plant("an argument") } } });
        call(200, "POST", "/mcp", json.clone(), rpc.to_string());
        let streamed = self.plant("a body that is streamed");
        call(
            200,
            "POST",
            &format!("/free/a?q={}", self.plant("a query of nobody")),
            json.get(1..).unwrap().to_vec(),
            streamed,
        );

        let mut wrong = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            // A denial of a judged JSON-RPC call answers 200 as well.
            let relayed = call.status == 200 && call.target != "/mcp";
            for http2 in [false, true] {
                let answer = call.send(program.plain, http2).await;
                let what = format!(
                    "call {number}: {} {} http2: {http2}",
                    call.method, call.target
                );
                if answer.status != call.status {
                    wrong.push(format!("{what}: {} {}", call.status, answer.text()));
                }
                if !relayed {
                    let text = format!("{:?}\n{}", answer.headers, answer.text());
                    self.told.push((what, text.into_bytes()));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        self.asks_over_tls(program, &bearer).await;
        self.asks_badly(program).await;
        for page in ["/metrics", "/healthz", "/readyz", "/policies", "/none"] {
            let io = TokioIo::new(TcpStream::connect(program.admin).await.unwrap());
            let (cookie, query) = (
                self.plant("cookie of an admin page"),
                self.plant("query of an admin page"),
            );
            let asked = Request::get(format!("{page}?q={query}"));
            let asked = asked
                .header("host", program.admin.to_string())
                .header("cookie", cookie);
            let answer = exchange(io, asked.body(Full::default()).unwrap())
                .await
                .unwrap();
            self.told.push((
                page.to_owned(),
                format!("{:?}{}", answer.headers, answer.text()).into(),
            ));
        }
    }

    /// With a certificate, whose key nobody else has.
    async fn asks_over_tls(&mut self, program: &Program, bearer: &str) {
        let agent = self
            .authority
            .issue(&["uri:spiffe://corp/agent/7"], 8, 2090);
        let key = STANDARD_NO_PAD.encode(agent.key.serialize_der());
        self.secrets
            .push(("the key of a client".to_owned(), key[40..].to_owned()));
        let client = self.authority.client(Some(&agent), &["http/1.1"]);
        let stream = TcpStream::connect(program.tls).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("api.example.com").unwrap();
        let stream = TlsConnector::from(client)
            .connect(name, stream)
            .await
            .unwrap();
        let mut asked = bare(
            Method::GET,
            &format!("/free/a?q={}", self.plant("a query over TLS")),
            "",
        );
        asked
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        let answer = exchange(TokioIo::new(stream), asked).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        // A handshake that is none.
        let mut stream = TcpStream::connect(program.tls).await.unwrap();
        let noise = format!(
            "GET /?q={} HTTP/1.1\r\n\r\n",
            self.plant("plain text to a TLS port")
        );
        stream.write_all(noise.as_bytes()).await.unwrap();
        let _ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new()))
            .await
            .unwrap();
    }

    /// What no client library sends.
    async fn asks_badly(&mut self, program: &Program) {
        let host = "host: api.example.com\r\n";
        let secret = |w: &mut World, what: &str| w.plant(what);
        for bytes in [
            format!(
                "GET /free/a?q={} HTTP/9.9\r\n{host}\r\n",
                secret(self, "another version")
            ),
            format!(
                "GET /free/a HTTP/1.1\r\n{host}{}\r\n\r\n",
                secret(self, "a field without a colon")
            ),
            format!(
                "GET /free/a HTTP/1.1\r\n{host}a: \0{}\r\n\r\n",
                secret(self, "a field with a NUL")
            ),
            format!(
                "GET /free/a HTTP/1.1\r\n{host}authorization: Bearer\r\n {}\r\n\r\n",
                secret(self, "a folded field")
            ),
            format!(
                "GET /free/a#{} HTTP/1.1\r\n{host}\r\n",
                secret(self, "a fragment")
            ),
            format!(
                "GET http://user:{}@api.example.com/free/a HTTP/1.1\r\n{host}\r\n",
                secret(self, "userinfo")
            ),
            format!(
                "GET /free/a HTTP/1.1\r\nhost: user:{}@api.example.com\r\n\r\n",
                secret(self, "userinfo in the host")
            ),
            format!(
                "{} /free/a HTTP/1.1\r\n\r\n",
                secret(self, "no host at all").replace(['-', '_'], "")
            ),
            format!(
                "POST /judged HTTP/1.1\r\n{host}content-length: 5\r\ntransfer-encoding: chunked\r\ncookie: {}\r\n\r\n0\r\n\r\n",
                secret(self, "two framings")
            ),
            format!(
                "POST /free/a HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n5;ext={}\r\nhello\r\n0\r\nx-trailer: {}\r\n\r\n",
                secret(self, "a chunk's extension"),
                secret(self, "a trailer")
            ),
            format!(
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}",
                secret(self, "no frames of HTTP/2")
            ),
            format!("{}\r\n\r\n", secret(self, "no request")),
        ] {
            let mut stream = TcpStream::connect(program.plain).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let mut back = Vec::new();
            let read = async {
                while !back.windows(4).any(|at| at == b"\r\n\r\n") {
                    let Ok(1..) = stream.read_buf(&mut back).await else {
                        return;
                    };
                }
            };
            let read = tokio::time::timeout(PATIENCE, read).await;
            read.expect("an answer, or the end");
            // What was forwarded has the upstream's answer.
            if !back.windows(7).any(|at| at == b"answer-") {
                self.told.push((bytes, back));
            }
        }
    }
}

/// A request, and the status of its answer.
struct Call {
    status: u16,
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Call {
    async fn send(&self, address: SocketAddr, http2: bool) -> Answer {
        let mut asked = bare(self.method.clone(), &self.target, self.body.clone());
        asked.headers_mut().remove("content-type");
        for (name, value) in &self.headers {
            let mut value = HeaderValue::from_str(value).unwrap();
            value.set_sensitive(true);
            asked
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        if !http2 {
            return exchange(io, asked).await.unwrap();
        }
        let uri = format!("http://api.example.com{}", self.target);
        *asked.uri_mut() = uri.parse().unwrap();
        asked.headers_mut().remove("host");
        let executor = TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
            .await
            .unwrap();
        let driver = tokio::spawn(connection);
        let answer = Answer::read(sender.send_request(asked).await.unwrap()).await;
        driver.abort();
        answer
    }
}
