//! WebSockets through a rendered bootstrap, over HTTP/1.1 and over HTTP/2.

use bytes::Bytes;
use h2::ext::Protocol;

use super::*;

/// A server that upgrades each connection to a WebSocket and then returns the bytes that it gets.
async fn echoing_websocket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_head(&mut stream).await;
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                              sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                stream.write_all(switch.as_bytes()).await.ok();
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_websocket_passes_if_upgrades_are_allowed() {
    let endpoint = new_at(echoing_websocket().await);
    for (options, status) in [(&["--upgrade", "websocket"][..], " 101 "), (&[], " 403 ")] {
        let proxy = Rendered::start(&file(), &[&["--endpoint", &endpoint], options].concat()).await;
        let mut stream = TcpStream::connect(proxy.addr).await.unwrap();
        let request = "GET /infer HTTP/1.1\r\nhost: a\r\nx-user-id: 1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.lines().next().unwrap().contains(status), "{options:?}: {head}");
        if status == " 101 " {
            assert!(head.contains("x-ab-variant: new"), "{head}");
            stream.write_all(b"\x81\x05hello").await.unwrap();
            let mut frame = [0; 7];
            timeout(DEADLINE, stream.read_exact(&mut frame)).await.unwrap().unwrap();
            assert_eq!(&frame, b"\x81\x05hello");
        }
    }
}

/// Over HTTP/2, a WebSocket is an extended CONNECT (RFC 8441), which Envoy turns into an upgrade.
#[tokio::test]
async fn a_websocket_over_http2_passes_if_upgrades_are_allowed() {
    let endpoint = new_at(echoing_websocket().await);
    let options = ["--endpoint", &endpoint, "--upgrade", "websocket"];
    let proxy = Rendered::start(&file(), &options).await;
    let stream = TcpStream::connect(proxy.addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    // Whether extended CONNECT is allowed is in the server's settings, which come first.
    let mut client = client.ready().await.unwrap();
    let begun = Instant::now();
    while !client.is_extended_connect_protocol_enabled() {
        assert!(begun.elapsed() < DEADLINE, "Envoy does not allow extended CONNECT");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut request = hyper::Request::builder()
        .method("CONNECT")
        .uri(format!("http://{}/infer", proxy.addr))
        .header("x-user-id", "1")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (response, mut upload) = client.send_request(request, false).unwrap();
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-ab-variant"], "new");
    upload.send_data(Bytes::from_static(b"\x81\x05hello"), false).unwrap();
    let mut body = response.into_body();
    let mut echoed = Vec::new();
    while echoed.len() < 7 {
        let data = timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        echoed.extend_from_slice(&data);
    }
    assert_eq!(echoed, b"\x81\x05hello");
    connection.abort();
}
