//! What goes wrong between us and a server, with stubs that do it on demand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;

/// A server that answers each request with what `answer` makes of its first line, and remembers the requests.
struct Stub {
    uri: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        // Ends with the process; a connection serves one request.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut head, mut length) = (String::new(), 0);
                while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
                    let line = head.lines().last().unwrap().to_ascii_lowercase();
                    length = line
                        .strip_prefix("content-length: ")
                        .map_or(length, |text| text.parse().unwrap());
                }
                reader.take(length).read_to_end(&mut Vec::new()).unwrap();
                let first = head.lines().next().unwrap_or_default().to_owned();
                notes.lock().unwrap().push(head);
                stream.write_all(answer(&first).as_bytes()).ok();
            }
        });
        Self { uri, seen }
    }

    fn plan(&self, environment: &[(&str, &str)]) -> Ran {
        let arguments = ["mlflow", "plan", "--model", "m", "--tracking-uri", &self.uri];
        ran(command(&arguments).envs(environment.iter().copied()))
    }
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn version(number: u32, status: &str, tags: &str) -> String {
    format!(r#"{{"name": "m", "version": "{number}", "status": "{status}", "tags": [{tags}]}}"#)
}

const CANDIDATE: &str = r#"{"key": "ab_test_candidate", "value": "true"}"#;

#[test]
fn what_the_server_says_is_passed_on_with_what_to_do() {
    let cases = [
        (
            "403 Forbidden",
            "Invalid Host header - possible DNS rebinding attack detected",
            "--allowed-hosts",
        ),
        ("401 Unauthorized", "You are not authenticated", "MLFLOW_TRACKING_USERNAME"),
        ("404 Not Found", "<html>nginx</html>", "--tracking-uri"),
        (
            "500 Internal Server Error",
            r#"{"error_code": "INTERNAL_ERROR", "message": "locked"}"#,
            "INTERNAL_ERROR: locked",
        ),
        ("200 OK", "<html>Log in</html>", "not an answer of MLflow: <html>Log in"),
        (
            "302 Found\r\nlocation: https://login.example.com/",
            "",
            "redirect to https://login.example.com/",
        ),
    ];
    for (status, body, words) in cases {
        let stub = Stub::start(move |_| answer(status, body));
        stub.plan(&[]).refused(2, &["GET http://127.0.0.1", "/registered-models/alias", words]);
        assert_eq!(stub.seen.lock().unwrap().len(), 1, "nothing is asked twice");
    }
    let cut = Stub::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned());
    cut.plan(&[]).refused(2, &["GET http://127.0.0.1", "hint:"]);
    // A control character from the wire does not reach the terminal.
    let rude = Stub::start(|_| {
        answer("400 Bad Request", "{\"error_code\": \"X\", \"message\": \"\\u001b[31m\"}")
    });
    rude.plan(&[]).refused(2, &["400 X: \\u{1b}[31m"]);
}

#[test]
fn no_server_and_no_address_are_explained() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = ["mlflow", "plan", "--model", "m"];
    let gone = ran(command(&plan).env("MLFLOW_TRACKING_URI", format!("http://{free}")));
    gone.refused(
        2,
        &[&format!("GET http://{free}/api/2.0/mlflow/registered-models/alias"), "hint:"],
    );
    ran(&mut command(&plan)).refused(2, &["no MLflow server is given", "MLFLOW_TRACKING_URI"]);
    ran(command(&plan).env("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
        .refused(2, &["sqlite:///mlflow.db", "http://"]);
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let name = [("MLFLOW_TRACKING_USERNAME", "bob"), ("MLFLOW_TRACKING_PASSWORD", "hunter2")];
    let token = [("MLFLOW_TRACKING_TOKEN", "s3cr3t")];
    for (environment, header) in [
        (name.to_vec(), Some("authorization: Basic Ym9iOmh1bnRlcjI=")),
        (token.to_vec(), Some("authorization: Bearer s3cr3t")),
        ([&name[..], &token[..]].concat(), Some("authorization: Basic Ym9iOmh1bnRlcjI=")),
        (Vec::new(), None),
    ] {
        let stub = Stub::start(|_| answer("401 Unauthorized", "who are you?"));
        let ran = stub.plan(&environment);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            !["hunter2", "Ym9i", "s3cr3t"].iter().any(|secret| told.contains(secret)),
            "{told}"
        );
        ran.refused(2, &["401: who are you?"]);
        let seen = stub.seen.lock().unwrap()[0].replace("Authorization", "authorization");
        let sent = seen.lines().find(|line| line.starts_with("authorization"));
        assert_eq!(sent, header, "{seen}");
    }
    let uri = "http://bob:hunter2@127.0.0.1:1";
    let ran = ran(&mut command(&["mlflow", "plan", "--model", "m", "--tracking-uri", uri]));
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    ran.refused(2, &["must not contain a user name or password", "MLFLOW_TRACKING_PASSWORD"]);
}

#[test]
fn a_version_that_is_not_ready_is_refused() {
    for (champion, candidate, unready) in
        [("PENDING_REGISTRATION", "READY", 1), ("READY", "FAILED_REGISTRATION", 2)]
    {
        let stub = Stub::start(move |first| {
            if first.contains("/alias") {
                answer("200 OK", &format!(r#"{{"model_version": {}}}"#, version(1, champion, "")))
            } else {
                answer(
                    "200 OK",
                    &format!(r#"{{"model_versions": [{}]}}"#, version(2, candidate, CANDIDATE)),
                )
            }
        });
        stub.plan(&[])
            .refused(1, &[&format!("m version {unready}: the status is "), "must be READY"]);
    }
}

#[test]
fn all_pages_of_candidates_are_read_and_strangers_left_out() {
    let stub = Stub::start(|first| {
        let page = |versions: &[String], token: &str| {
            let versions = versions.join(", ");
            answer(
                "200 OK",
                &format!(r#"{{"model_versions": [{versions}], "next_page_token": "{token}"}}"#),
            )
        };
        if first.contains("/alias") {
            answer("200 OK", &format!(r#"{{"model_version": {}}}"#, version(1, "READY", "")))
        } else if first.contains("page_token=a%2Fb") {
            page(&[version(2, "READY", CANDIDATE), version(9, "READY", "")], "")
        } else {
            page(&[version(10, "READY", CANDIDATE)], "a/b")
        }
    });
    let text = stub.plan(&[]).good();
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("  - name: ")).collect();
    assert_eq!(names, ["\"m-v1\"", "\"m-v2\"", "\"m-v10\""], "{text}");
}
