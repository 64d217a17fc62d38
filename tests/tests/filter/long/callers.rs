//! Hostile clients: their requests are refused or served, other clients are not affected, and their
//! copies of the filter's headers never reach a model or choose a cluster.

use std::net::SocketAddr;
use std::time::Duration;

use sidetrack_lab::{Client, Request, send_raw};
use sidetrack_tests::world::{World, run};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::frames::{Frames, Said};
use super::stand::{PATIENCE, VAULT, file, size, stage, unharmed, until};

/// What callers write where only the filter may write.
const FORGED: &str = "forged";

/// Requests as bytes on the wire, each with what it is.
fn raw() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |what: &str, bytes: &[u8]| all.push((what.to_owned(), bytes.to_vec()));
    let head = "Host: models.test\r\nx-user-id: 7\r\nConnection: close\r\n";
    let inner = format!(
        "GET /smuggled HTTP/1.1\r\nHost: a\r\nx-ab-cluster: {VAULT}\r\nx-ab-variant: {FORGED}\r\n\r\n"
    );

    // Two lengths, or two ideas of where the body ends.
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4, 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x4\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n",
        "Transfer-Encoding:\n chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{head}{lengths}\r\n0\r\n\r\n{inner}");
        add(&format!("lengths {lengths:?}"), request.as_bytes());
    }
    // Two requests in one write: the second is a request of its own, with all that this means.
    add(
        "pipelined",
        format!("GET / HTTP/1.1\r\nHost: a\r\nx-user-id: 7\r\n\r\n{inner}").as_bytes(),
    );
    add("trailers", format!("POST / HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-ab-cluster: {VAULT}\r\nx-ab-variant: {FORGED}\r\n\r\n").as_bytes());

    // The filter's names, in every spelling.
    for name in [
        "experiment",
        "variant",
        "assigned",
        "phase",
        "cluster",
        "mirror",
        "force",
        "token",
        "debug",
    ] {
        let value = if ["cluster", "mirror"].contains(&name) { VAULT } else { FORGED };
        let (upper, prefix) = (name.to_uppercase(), "x-ab-");
        for line in [
            format!("{prefix}{name}: {value}\r\n"),
            format!("X-AB-{upper}: {value}\r\n"),
            format!("x-Ab-{name}:{value}\r\nx-aB-{name}:\t {value} \t\r\n"),
            format!("{prefix}{name} : {value}\r\n"),
            format!("{prefix}{name}\t: {value}\r\n"),
            format!(" {prefix}{name}: {value}\r\n"),
            format!("a: b\r\n {prefix}{name}: {value}\r\n"),
            format!("a: b\n{prefix}{name}: {value}\n"),
            format!("a: b\r{prefix}{name}: {value}\r\n"),
            format!("{prefix}{name}\0: {value}\r\n"),
            format!("\0{prefix}{name}: {value}\r\n"),
            format!("{prefix}{name}: \r\n {value}\r\n"),
            format!("x%2dab%2d{name}: {value}\r\n"),
            format!("{prefix}{name};: {value}\r\n"),
            format!(
                "Connection: {prefix}{name}, x-ab-variant, x-ab-cluster\r\n{prefix}{name}: {value}\r\n"
            ),
            format!("{prefix}{name}: {value}\r\n").repeat(40),
        ] {
            add(
                &format!("spelling {line:.60?}"),
                format!("GET / HTTP/1.1\r\n{head}{line}\r\n").as_bytes(),
            );
        }
    }

    // Targets and methods.
    for line in [
        "GET http://a/ HTTP/1.1",
        "GET //a/../%2e%2e/ HTTP/1.1",
        "GET /?user=%&user=%4&%=%%%zz HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\x7f\x01 HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.0",
        "GET / HTTP/9.9",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT a:443 HTTP/1.1",
        "x-ab-cluster / HTTP/1.1",
        "PRI * HTTP/2.0",
        "",
    ] {
        add(&format!("line {line:?}"), format!("{line}\r\n{head}\r\n").as_bytes());
    }
    add(
        "giant query",
        format!("GET /?{} HTTP/1.1\r\n{head}\r\n", "user=%41&".repeat(6_000)).as_bytes(),
    );
    add(
        "endless query",
        format!("GET /?{} HTTP/1.1\r\n{head}\r\n", "a".repeat(200_000)).as_bytes(),
    );
    add(
        "cookies",
        format!("GET / HTTP/1.1\r\n{head}Cookie: {}\r\n\r\n", "sid=7; ".repeat(1_000)).as_bytes(),
    );
    add(
        "cookie lines",
        format!("GET / HTTP/1.1\r\n{head}{}\r\n", "Cookie: a=b\r\n".repeat(90)).as_bytes(),
    );
    add(
        "many headers",
        format!("GET / HTTP/1.1\r\n{head}{}\r\n", "x-user-id: 8\r\n".repeat(5_000)).as_bytes(),
    );
    add(
        "huge header",
        format!("GET / HTTP/1.1\r\n{head}x-other: {}\r\n\r\n", "y".repeat(300_000)).as_bytes(),
    );
    for unit in [&b"\xff\xfe\x80"[..], b"a\0b", b"a\x01b", b"\xc3(", b"\r", b"\x7f"] {
        let request =
            [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-user-id: ", unit, b"\r\n\r\n"];
        add(&format!("unit {}", unit.escape_ascii()), &request.concat());
        let cookie =
            [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: sid=", unit, b"\r\n\r\n"];
        add(&format!("cookie {}", unit.escape_ascii()), &cookie.concat());
    }

    // Bodies for the JSON pointer.
    let deep = "[".repeat(60_000);
    for body in [
        deep.clone(),
        "{\"user\":".repeat(5_000),
        format!("{deep}{}", "]".repeat(60_000)),
        format!("{{\"user\": {{\"id\": \"{}\"}}}}", "\\u0041".repeat(10_000)),
        format!("{{\"user\": {{\"id\": 1{}}}}}", "0".repeat(60_000)),
        "{\"user\": {\"id\": 1}} and more".to_owned(),
        "\u{feff}{}".to_owned(),
        "x".repeat(300_000),
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        add(&format!("body {body:.30?}"), request.as_bytes());
    }
    // Bodies that stop early: their streams end with the connection.
    for length in [10_usize, 65_536, 65_537, 1 << 40] {
        add(
            &format!("half of {length}"),
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{{\"us")
                .as_bytes(),
        );
    }
    all
}

/// Every request that a model received has the filter's headers, and no others of these names.
fn models_saw_nothing_forged(world: &World) {
    for (cluster, stub) in &world.real().stubs {
        for seen in stub.requests() {
            for (name, value) in &seen.headers {
                assert!(
                    value != FORGED.as_bytes() || !name.contains("ab-"),
                    "{cluster} was sent {name}: {seen:?}"
                );
                let known = ["x-ab-experiment", "x-ab-variant"].contains(&name.as_str());
                assert!(!name.starts_with("x-ab-") || known, "{cluster} was sent {name}: {seen:?}");
            }
            let variants: Vec<&[u8]> = seen.header_values("x-ab-variant").collect();
            assert_eq!(variants, [cluster.as_bytes()], "{seen:?}");
        }
    }
}

/// The statuses of the answers in what came back.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("HTTP/1.").skip(1).filter_map(|rest| rest.get(2..5)?.parse().ok());
    lines.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_write_on_the_wire() {
    run(stage(), |stage| async move {
        let world = stage.start(&file(50)).await;
        let addr = world.real().addr;
        for _ in 0..size(1, 20) {
            let mut under_way = JoinSet::new();
            for (what, bytes) in raw() {
                under_way.spawn(async move {
                    let answer = tokio::time::timeout(PATIENCE, send_raw(addr, &bytes)).await;
                    (what, answer.expect("no hang").unwrap())
                });
            }
            let answers = under_way.join_all().await;
            let (mut served, mut refused) = (0, 0);
            for (what, answer) in &answers {
                for status in statuses(answer) {
                    // 501: a transfer coding that Envoy does not know.
                    let fine = [200, 501].contains(&status) || (400..500).contains(&status);
                    assert!(fine, "{what}: {}", answer.escape_ascii());
                    if status == 200 { served += 1 } else { refused += 1 }
                }
                let told = answer.windows(FORGED.len()).any(|part| part == FORGED.as_bytes());
                assert!(!told, "{what}: {}", answer.escape_ascii());
            }
            println!("{} kinds: {served} answers of models, {refused} of Envoy", answers.len());
            assert!(served > 50 && refused > 50, "the suite sends only one kind of request");
            models_saw_nothing_forged(&world);
            world.real().stubs.values().for_each(|stub| stub.clear());
        }
        unharmed(&world).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_put_into_frames() {
    run(stage(), |stage| async move {
        let world = stage.start(&file(50)).await;
        let addr = world.real().addr;
        let plain: [(&[u8], &[u8]); 4] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"models.test"),
            (b":path", b"/"),
        ];
        let long = vec![b'u'; 50_000];
        let many = "sid=7; ".repeat(1_000).into_bytes();
        let odd: Vec<Vec<(&[u8], &[u8])>> = vec![
            vec![(b"x-user-id", b"a\0b")],
            vec![(b"x-user-id", b"a\r\nx-ab-cluster: vault")],
            vec![(b"x-user-id", b"\xff\xfe\x80\xc3(")],
            vec![(b"x-user-id", &long)],
            vec![(b"x-user-id", b"1"), (b"x-user-id", b"2"), (b"x-user-id", b"\xff")],
            vec![(b"cookie", &many), (b"cookie", b"sid="), (b"cookie", b"\xff;\xff=\xff")],
            vec![(b"x-ab-cluster", b"vault"), (b"x-ab-assigned", b"forged"), (b"x-user-id", b"1")],
            vec![(b"X-AB-CLUSTER", b"vault")],
            vec![(b"x-ab-cluster\0", b"vault")],
            vec![(b"x-ab-cluster ", b"vault")],
            vec![(b"x-ab-cluster: vault\r\nx", b"y")],
            vec![(b":x-ab-cluster", b"vault")],
            vec![(b":path", b"/again"), (b":authority", b"vault")],
            vec![(b"", b"")],
            vec![(b"transfer-encoding", b"chunked")],
            vec![(b"connection", b"x-ab-variant")],
            vec![(b"content-length", b"5")],
            vec![(b"content-length", b"99999999999999999999")],
            vec![(b"te", b"trailers"), (b"host", b"vault")],
        ];
        let mut said = Vec::new();
        for lines in odd {
            for body in [
                None,
                Some(&b"{\"user\": {\"id\": \"\xff\x00\"}}"[..]),
                Some(b"{\"user\": {\"id\": 1}}"),
            ] {
                let mut frames = Frames::new();
                let mut all: Vec<(&[u8], &[u8])> = plain.iter().chain(&lines).copied().collect();
                let length = body.unwrap_or_default().len().to_string();
                if let Some(body) = body {
                    all.push((b"content-length", length.as_bytes()));
                    frames.headers(1, false, &all);
                    frames.data(1, false, &body[..3]);
                    frames.data(1, true, &body[3..]);
                } else {
                    frames.headers(1, true, &all);
                }
                said.push(
                    frames
                        .send(addr, PATIENCE)
                        .await
                        .unwrap_or_else(|| panic!("a hang: {lines:?}")),
                );
            }
        }
        // Data for a stream that is over, and for one that never was.
        for stream in [1, 3] {
            let mut frames = Frames::new();
            frames.headers(1, true, &plain);
            frames.data(stream, true, b"{}");
            said.push(frames.send(addr, PATIENCE).await.expect("no hang"));
        }
        let count = |wanted| said.iter().filter(|said| **said == wanted).count();
        println!(
            "answered {}, reset {}, closed {}",
            count(Said::Headers),
            count(Said::Reset),
            count(Said::Closed)
        );
        assert!(count(Said::Headers) > 10 && count(Said::Headers) < said.len(), "{said:?}");
        models_saw_nothing_forged(&world);
        unharmed(&world).await;
    })
    .await;
}

/// Streams that begin and are reset at once, on many connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets() {
    let (connections, streams) = size((10, 200), (100, 5_000));
    run(stage(), move |stage| async move {
        let world = stage.start(&file(50)).await;
        world.real().stubs.values().for_each(|stub| stub.record(false));
        let addr = world.real().addr;
        let mut floods = JoinSet::new();
        for _ in 0..connections {
            floods.spawn(async move {
                let mut frames = Frames::new();
                for n in 0..streams {
                    let (stream, user) = (2 * n + 1, n.to_string());
                    let held = n % 2 == 0;
                    let mut lines: Vec<(&[u8], &[u8])> = vec![
                        (b":method", b"POST"),
                        (b":scheme", b"http"),
                        (b":authority", b"models.test"),
                        (b":path", b"/"),
                    ];
                    // Every second one waits for its body when it is reset.
                    lines.push(if held {
                        (b"content-length", b"50")
                    } else {
                        (b"x-user-id", user.as_bytes())
                    });
                    frames.headers(stream, !held, &lines);
                    frames.reset(stream);
                }
                frames.send(addr, Duration::from_secs(5)).await
            });
        }
        let client = Client::new(addr).with_timeout(PATIENCE);
        let mut served = 0;
        while floods.try_join_next().is_none() || !floods.is_empty() {
            let answer = client.send(Request::get("/").header("x-user-id", "bystander")).await.unwrap();
            assert_eq!(answer.status, 200);
            served += 1;
        }
        // Those that waited for no body were decided, and each is counted when it ends; so the
        // flood has been where the filter could go wrong. Envoy hangs up on whoever has reset 500
        // streams.
        let least = u64::from(connections * streams.min(400) / 4);
        let reached = || async { world.metric("ab_test_requests_total", &[("status", "aborted")]).await };
        until("the flood has reached the filter", || async { reached().await >= Some(least) }).await;
        println!(
            "{} streams to reset, {:?} of them after their decision; {served} bystanders were served meanwhile",
            connections * streams,
            reached().await
        );
        unharmed(&world).await;
    })
    .await;
}

/// Bodies that arrive a byte at a time and never end: only their own requests wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_never_come() {
    let callers = size(100, 900);
    run(stage(), move |stage| async move {
        let world = stage.start(&file(50)).await;
        let real = world.real();
        let mut slow = Vec::new();
        for n in 0..callers {
            slow.push(slowly(real.addr, n).await);
        }
        let under_way = || async {
            real.envoy
                .stats(r"^http\.predictors\.downstream_rq_active$")
                .await
                .unwrap()
                .values()
                .sum::<i64>()
        };
        until("all of them wait", || async { under_way().await == callers }).await;
        let client = Client::new(real.addr).with_timeout(PATIENCE);
        for n in 0..100 {
            for stream in &mut slow {
                if n % 25 == 0 {
                    stream.write_all(b" ").await.unwrap();
                }
            }
            let by_body = Request::post("/", format!("{{\"user\": {{\"id\": {n}}}}}"));
            assert_eq!(client.send(by_body).await.unwrap().status, 200);
        }
        assert_eq!(under_way().await, callers, "they still wait");
        assert_eq!(
            world.received("old") + world.received("new"),
            100,
            "nobody asked a model for them"
        );
        drop(slow);
        unharmed(&world).await;
    })
    .await;
}

async fn slowly(addr: SocketAddr, n: i64) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = 100 + n;
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}
