//! A proxy that checks nothing: what hyper itself costs, as the baseline that the gateway is measured against.
//!
//! `cargo run --release --example bare -- 127.0.0.1:8081 127.0.0.1:9000` listens on the first address and passes
//! every request to the second. One thread with a runtime of its own and its own upstream connections, which is
//! how a worker of the gateway is built. No header is looked at, nothing is retried, nothing is logged.

use std::cell::RefCell;
use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;

/// Idle connections to the upstream.
struct Pool {
    upstream: SocketAddr,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or("127.0.0.1:8081".to_owned());
    let upstream = arguments.next().unwrap_or("127.0.0.1:9000".to_owned());
    let pool = Rc::new(Pool {
        upstream: upstream.parse()?,
        idle: RefCell::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(listen, pool))
}

async fn serve(listen: String, pool: Rc<Pool>) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = pool.clone();
        let service = service_fn(move |request| pass(pool.clone(), request));
        tokio::task::spawn_local(
            http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn pass(pool: Rc<Pool>, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
    let mut connection = pool.take().await?;
    let response = connection.send_request(request).await?;
    // Ready again when the response has been read; then another request may take it.
    tokio::task::spawn_local(async move {
        if connection.ready().await.is_ok() {
            pool.idle.borrow_mut().push(connection);
        }
    });
    Ok(response)
}

impl Pool {
    async fn take(&self) -> Result<SendRequest<Incoming>, Failure> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            match idle {
                Some(connection) if connection.is_ready() => return Ok(connection),
                Some(_) => {}
                None => break,
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(driver);
        Ok(connection)
    }
}
