//! The tables of `docs/breaker.md`, written from what is tested.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sidetrack::breaker::End;
use sidetrack::names::status;
use sidetrack::outcome::{RULES, Status};

use super::cases::{CASES, Case, Counts, Protocol};

const NOT_COUNTED: &str = "not counted";
const ABANDONED: &str = "abandoned";

fn rules() -> String {
    let mut table = "| what happens | in Envoy's access log | `status` | breaker |\n".to_owned();
    table += "|---|---|---|---|\n";
    for rule in &RULES {
        let status = match rule.outcome.status {
            Some(Status::Success) => status::SUCCESS,
            Some(Status::Error) => status::ERROR,
            Some(Status::Aborted) => status::ABORTED,
            None => NOT_COUNTED,
        };
        let end = match rule.outcome.end {
            End::Completed => "success",
            End::Failed => "failure",
            End::Abandoned => ABANDONED,
            End::Unknown => NOT_COUNTED,
        };
        writeln!(table, "| {} | {} | {status} | {end} |", rule.ending, rule.sign).unwrap();
    }
    table
}

fn protocol(case: &Case) -> &'static str {
    match case.protocol {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
        Protocol::Http3 => "HTTP/3",
        Protocol::Grpc => "gRPC",
        Protocol::GrpcWeb => "grpc-web",
        Protocol::Transcoded => "JSON, transcoded before Sidetrack",
        Protocol::TranscodedBehind => "JSON, transcoded after Sidetrack",
        Protocol::WebSocket => "WebSocket",
        Protocol::Connect => "CONNECT",
        Protocol::Events => "server-sent events",
    }
}

fn endings() -> String {
    let mut table = "| client | ending | flags | `status` | breaker |\n".to_owned();
    table += "|---|---|---|---|---|\n";
    for case in CASES.iter() {
        let flags: Vec<String> = case.flags.split(' ').map(|flag| format!("`{flag}`")).collect();
        let (status, end) = match case.outcome {
            Counts::Success => (status::SUCCESS, "success"),
            Counts::Failure => (status::ERROR, "failure"),
            Counts::Abandoned => (status::ABORTED, ABANDONED),
            Counts::Left => (status::ABORTED, "success"),
            Counts::Nothing => (NOT_COUNTED, NOT_COUNTED),
        };
        let (client, ending) = (protocol(case), case.ending);
        let flags = flags.join(" or ");
        writeln!(table, "| {client} | {ending} | {flags} | {status} | {end} |").unwrap();
    }
    table
}

/// Replaces the text between a pair of marks.
fn replace(page: &str, mark: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let from = page.find(&begin).expect("a mark") + begin.len();
    let to = page.find(&end).expect("a mark");
    format!("{}\n{text}\n{}", &page[..from], &page[to..])
}

#[test]
fn the_page_prints_the_tables_that_are_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/breaker.md");
    let page = fs::read_to_string(&path).unwrap();
    let expected = replace(&replace(&page, "rules", &rules()), "endings", &endings());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert!(page == expected, "docs/breaker.md is outdated; UPDATE=1 writes its tables anew");
    }
}
