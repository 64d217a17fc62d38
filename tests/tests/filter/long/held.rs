//! A client that opens many requests whose bodies never come, each with large headers that cost it
//! a few bytes (HPACK). As many wait as the bound on their size allows, the others continue, and
//! other clients are served.

use sidetrack_lab::{Client, Request};
use sidetrack_tests::world::run;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::frames::Frames;
use super::stand::{file, no_crash, served, stage, under_load, unharmed, until};

const CONNECTIONS: u32 = 5;
/// On each of them.
const STREAMS: u32 = 1000;

/// Requests of 55 KB of headers each that announce a body and never send it.
fn requests() -> Frames {
    let mut frames = Frames::new();
    let pad = "p".repeat(3900);
    let lines: [(&[u8], &[u8]); 5] = [
        (b":method", b"POST"),
        (b":path", b"/"),
        (b":scheme", b"http"),
        (b":authority", b"models.test"),
        (b"content-length", b"100"),
    ];
    for number in 0..STREAMS {
        frames.repeated(2 * number + 1, &lines, (b"x-pad", pad.as_bytes()), 14, number == 0);
    }
    frames
}

#[tokio::test]
async fn bodies_that_never_come_are_bounded_by_the_size_of_their_headers() {
    run(stage().with_workers(1), |stage| async move {
        let world = under_load(&stage, &file(30)).await;
        let addr = world.real().addr;
        let client = Client::new(addr);
        let others = || async {
            for user in 0..20 {
                let request = Request::get("/").header("x-user-id", format!("user-{user}"));
                let answer = client.send(request).await.unwrap();
                assert!(served(&answer), "{answer:?}");
            }
        };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = TcpStream::connect(addr).await.unwrap();
            connection.write_all(requests().bytes()).await.unwrap();
            connections.push(connection);
            others().await;
        }
        let sum = |pattern: &'static str| {
            let stats = world.real().envoy.stats(pattern);
            async { stats.await.unwrap().values().sum::<i64>() }
        };
        let all = i64::from(CONNECTIONS * STREAMS);
        let waits = || async {
            let active = sum(r"^http\.predictors\.downstream_rq_active$").await;
            active - sum(r"^cluster\..*\.upstream_rq_(active|pending_active)$").await
        };
        until("all of them have arrived", || async {
            sum(r"^http\.predictors\.downstream_rq_active$").await >= all
        })
        .await;
        // 256 MiB of headers of 55 KB.
        let waiting = waits().await;
        assert!((4500..4950).contains(&waiting), "{waiting} requests wait");
        others().await;
        no_crash(&world);
        drop(connections);
        unharmed(&world).await;
    })
    .await;
}
