//! The filter's names in trailers and in informational responses, over HTTP/1.1.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::caller::PATIENCE;
use super::stand::Stand;

/// Names of the filter, and one that is not, as lines of a header or of trailers.
pub(super) const LINES: &str = "x-ab-cluster: forged\r\nX-AB-Variant: forged\r\nx-other: 1\r\n\
     x-ab-cluster: again\r\nx-ab-token: forged\r\n";

/// Sends a request with trailers, and returns all bytes that come back.
async fn send(stand: &Stand, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(stand.addr("plain").await?).await?;
    let head = format!("POST {path} HTTP/1.1\r\nhost: models.test\r\nx-user-id: 1\r\n");
    let body = "connection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n";
    stream.write_all(format!("{head}{body}{LINES}\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8(answer)?)
}

/// An experiment whose variants are all on one cluster, and one that names the others of the stand.
fn experiments() -> Value {
    let variants: Vec<Value> = ["http2", "longest", "closed", "empty", "missing"]
        .map(|cluster| json!({"name": cluster, "cluster": cluster, "weight": 1}))
        .to_vec();
    let rest = [vec![json!({"name": "old", "cluster": "http1"})], variants].concat();
    let experiment = |name: &str, variants: &[Value]| {
        json!({
            "name": name,
            "match": {"path": {"prefix": format!("/{name}/")}},
            "unit": [{"header": "x-user-id"}],
            "baseline": "old",
            "variants": variants,
        })
    };
    let same = ["old", "new"].map(|name| json!({"name": name, "cluster": "http1"}));
    let mut matched = experiment("matched", &same);
    matched["variants"][1]["weight"] = json!(50);
    json!({"experiments": [matched, experiment("rest", &rest)]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_names_pass_in_no_trailers() -> Result<()> {
    let stand = Stand::start(&experiments(), true).await?;
    for path in ["/matched/trailers", "/other/trailers"] {
        let answer = send(&stand, path).await?;
        // The model returns in its body what it has received as trailers, and then its own.
        let (_, rest) = answer.split_once("received:").unwrap_or_default();
        let (received, trailers) = rest.split_once("\r\n0\r\n").unwrap_or_default();
        for part in [received, trailers] {
            ensure!(part.contains("x-other: 1"), "{path}: {answer}");
            ensure!(!part.to_lowercase().contains("x-ab-"), "{path}: {answer}");
        }
    }
    Ok(())
}

/// The filter gets no informational response, and nor do the routes. Envoy passes on those that the
/// client waits for, if `proxy_100_continue` says so, and drops the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn informational_responses_of_a_model_stay_in_the_proxy() -> Result<()> {
    let stand = Stand::start(&experiments(), true).await?;
    for path in ["/matched/hints-100", "/matched/hints-102", "/matched/hints-103"] {
        let answer = send(&stand, path).await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        ensure!(!answer.contains("forged"), "{path}: {answer}");
    }
    Ok(())
}
