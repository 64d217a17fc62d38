//! Requests that wait for their bodies while the experiment changes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::dynamic::{Source, Stand};

const BODY: &str = r#"{"user_id": "anna"}"#;

/// The forecast with the unit in the body and all users on the candidate, with more keys.
fn in_body(more: Value) -> String {
    let mut changes = json!({
        "unit": [{"body": "/user_id"}],
        "variants": [
            {"name": "old", "cluster": "old-cluster"},
            {"name": "new", "cluster": "new-cluster", "weight": 100},
        ],
    });
    for (key, value) in more.as_object().unwrap() {
        changes[key] = value.clone();
    }
    forecast_with(changes).to_string()
}

/// A request whose body has begun.
async fn begin(stand: &Stand) -> TcpStream {
    let mut stream = TcpStream::connect(stand.addr).await.unwrap();
    let head = format!(
        "POST {FORECAST} HTTP/1.1\r\nhost: models.test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{}",
        BODY.len(),
        &BODY[..5]
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn complete(stream: &mut TcpStream) -> String {
    stream.write_all(&BODY.as_bytes()[5..]).await.unwrap();
    let mut answer = Vec::new();
    // Where a listener drains, Envoy closes the connection only after five seconds.
    let read = async {
        while !answer.contains(&b'}') {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "no answer");
        }
    };
    timeout(Duration::from_secs(10), read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// 20 requests wait on both workers. No one of them reaches the candidate when it has been taken
/// out of the experiment before their bodies are complete.
async fn waiting_requests_follow_the_newest_file(source: Source) {
    let all = in_body(json!({}));
    let zero = json!([
        {"name": "old", "cluster": "old-cluster"},
        {"name": "new", "cluster": "new-cluster", "weight": 0},
    ]);
    let mut stand = Stand::start_rendered(source, &all, all.clone(), 600).await;
    for (number, changes) in
        [json!({"enabled": false}), json!({"variants": zero})].iter().enumerate()
    {
        let all = in_body(json!({"salt": format!("salt-{number}")}));
        stand.publish(all.clone()).await;
        stand.expect_hash(&all).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(begin(&stand).await);
        }
        // All of them wait, and none is answered.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let update = in_body(changes.clone());
        stand.publish(update.clone()).await;
        stand.expect_hash(&update).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stand.models.iter().for_each(sidetrack_lab::ModelStub::clear);
        for stream in &mut streams {
            let answer = complete(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("x-ab-variant: old\r\n"), "{answer}");
        }
        let counts = stand.models.each_ref().map(|model| model.requests().len());
        assert_eq!(counts, [20, 0], "{update}");
    }
    stand.envoy.stop().await.unwrap();
}

#[tokio::test]
async fn waiting_requests_follow_the_newest_watched_file() {
    waiting_requests_follow_the_newest_file(Source::Watched).await;
}

#[tokio::test]
async fn waiting_requests_follow_the_newest_file_inside_a_listener() {
    waiting_requests_follow_the_newest_file(Source::Listener).await;
}
