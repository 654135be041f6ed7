//! `portcullis check --health URL`: asks a running proxy whether it lives.
//!
//! For container health checks, in images that hold nothing but this binary. Plain HTTP, since the admin listener
//! speaks nothing else; no runtime, since one request needs none.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::Uri;

/// Asks `/healthz`, or the path that the URL names, and tells what came unless it was a 200.
pub(super) fn ask(url: &Uri) -> Result<(), String> {
    let host = url.host().unwrap_or_default();
    if url.scheme_str() != Some("http") || host.is_empty() {
        return Err(format!("expected a URL such as {EXAMPLE}, found {url}"));
    }
    let path = match url.path() {
        "/" => "/healthz",
        path => path,
    };
    let port = url.port_u16().unwrap_or(80);
    let status = status(host, port, path).map_err(|error| format!("{url}: {error}"))?;
    if status == "200" {
        Ok(())
    } else {
        Err(format!("{url}: status {status}"))
    }
}

fn status(host: &str, port: u16, path: &str) -> io::Result<String> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (name, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return exchange(stream, &format!("{host}:{port}"), path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, authority: &str, path: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    match start.strip_prefix(b"HTTP/1.1 ").map(std::str::from_utf8) {
        Some(Ok(status)) => Ok(status.to_owned()),
        _ => Err(io::Error::other("the answer is no HTTP/1.1")),
    }
}

const EXAMPLE: &str = "http://127.0.0.1:9901";
const PATIENCE: Duration = Duration::from_secs(2);
