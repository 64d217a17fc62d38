//! `analyze prometheus` against a server that answers as Prometheus does.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::truth::ROLLOUT;
use crate::{Folder, number};

/// Answers so many queries, each by the metric that it asks for, and says what was asked.
fn server(
    answer: fn(&str) -> String,
    queries: usize,
) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming().take(queries) {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).unwrap() > 2 {}
            let query = head.lines().next().unwrap().to_owned();
            let body = answer(&query);
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            asked.push(query);
        }
        asked
    });
    (url, asked)
}

fn vector(samples: &[(&str, &str)]) -> String {
    let samples: Vec<String> = samples
        .iter()
        .map(|(labels, value)| {
            format!(r#"{{"metric":{{{labels}}},"value":[1795424400.5,"{value}"]}}"#)
        })
        .collect();
    format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#,
        samples.join(",")
    )
}

#[test]
fn counters_say_what_they_can_and_no_more() {
    let answer = |query: &str| {
        if query.contains("ab_test_requests_total") {
            // Pooled, the candidate seems to fail more; within each phase both fail alike.
            return vector(&[
                (r#""model_name":"plain","phase":"canary","status":"success""#, "9900.2"),
                (r#""model_name":"plain","phase":"canary","status":"error""#, "99.8"),
                (r#""model_name":"fancy","phase":"canary","status":"success""#, "495"),
                (r#""model_name":"fancy","phase":"canary","status":"error""#, "5"),
                (r#""model_name":"plain","phase":"production","status":"success""#, "4500"),
                (r#""model_name":"plain","phase":"production","status":"error""#, "500"),
                (r#""model_name":"fancy","phase":"production","status":"success""#, "4500"),
                (r#""model_name":"fancy","phase":"production","status":"error""#, "500"),
                (r#""model_name":"fancy","phase":"production","status":"aborted""#, "7"),
            ]);
        }
        if query.contains("_bucket") {
            return vector(&[
                (r#""model_name":"plain","le":"0.05""#, "50"),
                (r#""model_name":"plain","le":"0.1""#, "90"),
                (r#""model_name":"plain","le":"0.2""#, "100"),
                (r#""model_name":"plain","le":"+Inf""#, "100"),
            ]);
        }
        vector(&[(r#""model_name":"fancy""#, "12")])
    };
    let folder = Folder::new();
    folder.write("e.json", ROLLOUT);
    let (url, asked) = server(answer, 3);
    let (code, out, error) =
        folder.text(&["analyze", "prometheus", "e.json", "--url", &url, "--since", "2h", "--json"]);
    assert_eq!(code, 0, "{error}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    let asked = asked.join().unwrap();
    assert!(
        asked[0].starts_with("GET /api/v1/query?query=") && asked[0].contains("7200s"),
        "{asked:?}"
    );
    assert!(number(&found["candidates"][0]["diff"]).abs() < 1e-3, "{found:#}");
    assert_eq!(
        (&found["candidates"][0]["phases"], &found["decision"]),
        (&2.into(), &serde_json::Value::Null)
    );
    assert!((number(&found["variants"][0]["latency_p95"]) - 0.15).abs() < 1e-12);
    assert_eq!(
        (&found["variants"][1]["aborted"], &found["variants"][1]["fallbacks"]),
        (&7.into(), &12.into())
    );
    let (url, _) = server(answer, 3);
    let (_, text, _) = folder.text(&["analyze", "prometheus", "e.json", "--url", &url]);
    assert!(
        text.contains("Assumes independent requests") && text.contains("not a decision"),
        "{text}"
    );
}

#[test]
fn a_server_that_is_none_is_told() {
    let folder = Folder::new();
    folder.write("e.json", ROLLOUT);
    for (answer, what) in [
        ((|_| "<html>".to_owned()) as fn(&str) -> String, "not an answer of Prometheus"),
        (
            |_| r#"{"status":"error","error":"parse error"}"#.to_owned(),
            "Prometheus rejected the query: parse error",
        ),
        (|_| vector(&[]), "has no series ab_test_requests_total for forecast"),
    ] {
        let (url, asked) = server(answer, 1);
        let (code, _, error) = folder.text(&["analyze", "prometheus", "e.json", "--url", &url]);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(what), "{error}");
        asked.join().unwrap();
    }
}
