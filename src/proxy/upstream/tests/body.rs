//! Request bodies that stream, and those that break off.

use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::*;

/// What a miniature proxy's upstream said, and what became of the request's body.
type Outcome = (Result<u16, UpstreamError>, Arc<BodyState>);

/// A proxy that streams the body of one request upstream, and a client's connection to it.
async fn streaming(
    upstream: Arc<Upstream>,
    limit: Option<u64>,
    idle: Duration,
) -> (TcpStream, oneshot::Receiver<Outcome>) {
    let (tell, told) = oneshot::channel();
    let tell = Arc::new(std::sync::Mutex::new(Some(tell)));
    let address = hyper_server(false, move |request| {
        let (upstream, tell) = (Arc::clone(&upstream), tell.lock().unwrap().take().unwrap());
        async move {
            let body = StreamBody::new(request.into_body(), limit, idle);
            let state = Arc::clone(body.state());
            let mut request = get("/upload").map(|_| RequestBody::Stream(body));
            *request.method_mut() = http::Method::POST;
            let (result, kept) = match upstream.send(request).await {
                Ok(sent) => (Ok(sent.response.status().as_u16()), Some(sent)),
                Err(error) => (Err(error), None),
            };
            drop(kept);
            let _ = tell.send((result, state));
            Response::new(http_body_util::Empty::<bytes::Bytes>::new())
        }
    })
    .await;
    (TcpStream::connect(address).await.unwrap(), told)
}

#[tokio::test]
async fn a_body_streams_through_without_its_trailers() {
    let (tell, told) = oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let address = raw(move |mut socket, _| {
        let tell = tell.lock().unwrap().take().unwrap();
        async move {
            let head = head(&mut socket).await.unwrap();
            let mut body = vec![0; "5\r\nhello\r\n0\r\n\r\n".len()];
            socket.read_exact(&mut body).await.unwrap();
            socket
                .write_all(b"HTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            let _ = tell.send((head, String::from_utf8(body).unwrap()));
            rest(&mut socket).await;
        }
    })
    .await;
    let (upstream, _) = upstream(&config(&[&format!("http://{address}")]));
    let (mut client, outcome) =
        streaming(Arc::clone(&upstream), Some(5), Duration::from_secs(10)).await;
    let text = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    client.write_all(text.as_bytes()).await.unwrap();
    let (result, state) = outcome.await.unwrap();
    assert_eq!(
        (result.unwrap(), state.bytes(), state.fault()),
        (201, 5, None)
    );
    let (head, body) = told.await.unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(idle(&upstream), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(10);
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases = [
        (
            "5\r\nhello\r\n5\r\nhello\r\n",
            Some(9),
            LONG,
            false,
            BodyFault::TooLarge,
            Reason::BodyTooLarge,
        ),
        (
            "5\r\nhello\r\n",
            None,
            SHORT,
            false,
            BodyFault::Idle,
            Reason::AmbiguousRequest,
        ),
        (
            "5\r\nhel",
            None,
            LONG,
            true,
            BodyFault::Broken,
            Reason::AmbiguousRequest,
        ),
        (
            "zz\r\n",
            None,
            LONG,
            false,
            BodyFault::Broken,
            Reason::AmbiguousRequest,
        ),
    ];
    for (body, limit, silence, close, fault, reason) in cases {
        let (tell, told) = oneshot::channel();
        let tell = std::sync::Mutex::new(Some(tell));
        let address = raw(move |mut socket, _| {
            let tell = tell.lock().unwrap().take().unwrap();
            async move {
                head(&mut socket).await;
                let _ = tell.send(rest(&mut socket).await);
            }
        })
        .await;
        let mut config = config(&[&format!("http://{address}")]);
        // a client's silence is never taken for the upstream's
        config.response_timeout = if silence == SHORT { SHORT / 2 } else { LONG };
        let (upstream, witness) = upstream(&config);
        let (mut client, outcome) = streaming(Arc::clone(&upstream), limit, silence).await;
        client
            .write_all(format!("{chunked}{body}").as_bytes())
            .await
            .unwrap();
        if close {
            client.shutdown().await.unwrap();
        }
        let (result, state) = outcome.await.unwrap();
        let error = result.unwrap_err();
        assert!(
            matches!(error, UpstreamError::RequestBody(f) if f == fault),
            "{body:?}: {error}"
        );
        assert_eq!((error.reason(), state.fault()), (reason, Some(fault)));
        assert!(
            !told.await.unwrap().ends_with("0\r\n\r\n"),
            "must not look whole upstream"
        );
        witness.open_is(0).await;
        assert!(witness.ejected.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_body_known_to_be_too_large_is_not_begun() {
    let (upstream, witness) = upstream(&config(&[&format!("http://{}", numbering().await)]));
    let (mut client, outcome) = streaming(upstream, Some(9), Duration::from_secs(10)).await;
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n")
        .await
        .unwrap();
    let error = outcome.await.unwrap().0.unwrap_err();
    assert!(matches!(error, UpstreamError::BodyTooLarge), "{error}");
    assert_eq!(
        (error.reason(), error.written()),
        (Reason::BodyTooLarge, false)
    );
    assert_eq!(witness.open.load(SeqCst), 0);
}

#[tokio::test]
async fn an_early_answer_is_taken_and_its_connection_is_not() {
    let address = raw(|mut socket, _| async move {
        head(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        // reads nothing and stays open, so that only our side can end it
        std::future::pending::<()>().await;
    })
    .await;
    let (upstream, witness) = upstream(&config(&[&format!("http://{address}")]));
    let (mut client, outcome) =
        streaming(Arc::clone(&upstream), None, Duration::from_secs(10)).await;
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello")
        .await
        .unwrap();
    assert_eq!(outcome.await.unwrap().0.unwrap(), 403);
    witness.open_is(0).await;
    assert_eq!(idle(&upstream), 0);
}

#[tokio::test]
async fn an_upstream_that_takes_no_more_of_a_body_is_not_waited_for() {
    let address = raw(|socket, _| async move {
        let _keep = socket;
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = config(&[&format!("http://{address}")]);
    config.response_timeout = Duration::from_millis(100);
    let (upstream, witness) = upstream(&config);
    let (client, outcome) = streaming(Arc::clone(&upstream), None, Duration::from_secs(60)).await;
    let (_, mut client) = client.into_split();
    tokio::spawn(async move {
        let _ = client
            .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while client.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let error = outcome.await.unwrap().0.unwrap_err();
    assert!(matches!(error, UpstreamError::Timeout), "{error}");
    witness.open_is(0).await;
}
