//! A load for a store: exposures over gRPC and outcomes over HTTP, as fast as they are acknowledged; then the verdict.
//!
//! `cargo run --release -p sidetrack-store --example load -- self 20`: seconds, in a process of its own for the store, whose
//! processor time and memory are reported. `… load -- 127.0.0.1:8088 20 forecast` loads a `sidetrack serve` that runs.
//! `… load -- self 20 outcomes` sends only outcomes.

#![expect(clippy::print_stdout, reason = "a program for measurements")]

#[path = "load/own.rs"]
mod own;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Records of a request: what Envoy's 64 KiB of buffer hold.
const BATCH: u64 = 100;
const SENDERS: u64 = 8;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The id of a request as Envoy makes it: a random UUID, so that ids that follow one another are nowhere near each other.
fn request_id(run: u128, number: u64) -> String {
    let mixed = (run ^ u128::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mixed = (mixed ^ (mixed >> 61)).wrapping_mul(0xd6e8_feb8_6659_fd93_2545_f491_4f6c_dd1d);
    let hex = format!("{:032x}", mixed ^ (mixed >> 64));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn record(experiment: &str, run: u128, number: u64) -> LogRecord {
    let user = number.wrapping_mul(2_654_435_761) % 50_000;
    let variant = if user.is_multiple_of(2) { "plain" } else { "fancy" };
    let exposure = format!(
        "trial=b2dee587 config=0a1b2c3d weights=fancy=500000/500000 reason=hash bucket={user} unit={user:032x}"
    );
    let values = [
        ("request_id", request_id(run, number)),
        ("exposure", exposure),
        ("experiment", experiment.to_owned()),
        ("assigned", variant.to_owned()),
        ("served", variant.to_owned()),
        ("phase", "-".to_owned()),
        ("status", "200".to_owned()),
        ("flags", "-".to_owned()),
        ("duration", (number % 90).to_string()),
        ("first_byte", "7".to_owned()),
        ("first_body", "7".to_owned()),
        ("attempts", "1".to_owned()),
        ("rescued", "-".to_owned()),
        ("cluster", variant.to_owned()),
    ];
    let attributes = values.map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_unix_nano = u64::try_from(now.as_nanos()).unwrap_or(0);
    LogRecord { time_unix_nano, attributes: attributes.into(), ..LogRecord::default() }
}

/// What all senders did.
#[derive(Default)]
struct Sums {
    next: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    slowest: AtomicU64,
}

impl Sums {
    fn took(&self, begun: Instant, records: u64) {
        self.acknowledged.fetch_add(records, Ordering::Relaxed);
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(took, Ordering::Relaxed);
    }
}

async fn exposures(
    addr: SocketAddr,
    experiment: String,
    run: u128,
    end: Instant,
    sums: Arc<Sums>,
) -> Result<(), Failure> {
    let mut client = LogsServiceClient::connect(format!("http://{addr}")).await?;
    while Instant::now() < end {
        let first = sums.next.fetch_add(BATCH, Ordering::Relaxed);
        let log_records =
            (first..first + BATCH).map(|number| record(&experiment, run, number)).collect();
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        let begun = Instant::now();
        match client.export(ExportLogsServiceRequest { resource_logs }).await {
            Ok(_) => sums.took(begun, BATCH),
            Err(_) => drop(sums.refused.fetch_add(BATCH, Ordering::Relaxed)),
        }
    }
    Ok(())
}

async fn outcomes(
    addr: SocketAddr,
    run: u128,
    end: Instant,
    sums: Arc<Sums>,
) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(addr).await?;
    let mut answer = vec![0; 1 << 16];
    while Instant::now() < end {
        let first = sums.next.fetch_add(BATCH, Ordering::Relaxed);
        let rows: Vec<String> = (first..first + BATCH)
            .map(|number| {
                format!("{{\"request_id\": \"{}\", \"accuracy\": 1}}", request_id(run, number))
            })
            .collect();
        let body = rows.join("\n");
        let head = format!(
            "POST /v1/outcomes HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/x-ndjson\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let begun = Instant::now();
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let read = stream.read(&mut answer).await?;
        let good = answer.get(..read).is_some_and(|answer| answer.starts_with(b"HTTP/1.1 200"));
        if good {
            sums.took(begun, BATCH);
        } else {
            sums.refused.fetch_add(BATCH, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The verdict of the store, and how long it took.
async fn verdict(addr: SocketAddr, experiment: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!(
        "GET /v1/experiments/{experiment} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    println!("verdict: status {status} after {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut given = std::env::args().skip(1);
    let target = given.next().unwrap_or_else(|| "self".to_owned());
    if target == own::SERVE {
        return own::serve(&given.next().unwrap_or_default()).await;
    }
    let store = (target == "self").then(own::Own::start).transpose()?;
    let addr: SocketAddr = store.as_ref().map_or_else(|| target.parse(), |own| Ok(own.addr))?;
    let seconds: u64 = given.next().unwrap_or_else(|| "20".to_owned()).parse()?;
    let what = given.next().unwrap_or_else(|| own::EXPERIMENT.to_owned());
    let only_outcomes = what == "outcomes";
    let experiment = if only_outcomes { own::EXPERIMENT.to_owned() } else { what };
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (of_exposures, of_outcomes) = (Arc::new(Sums::default()), Arc::new(Sums::default()));
    let mut tasks = Vec::new();
    for _ in 0..if only_outcomes { 1 } else { SENDERS } {
        let sums = Arc::clone(&of_exposures);
        // A verdict needs some exposures.
        let end = if only_outcomes { Instant::now() + Duration::from_secs(1) } else { end };
        tasks.push(tokio::spawn(exposures(addr, experiment.clone(), run, end, sums)));
    }
    for _ in 0..SENDERS / 2 {
        tasks.push(tokio::spawn(outcomes(addr, run, end, Arc::clone(&of_outcomes))));
    }
    for task in tasks {
        task.await??;
    }
    let mut all = 0;
    for (what, sums) in [("exposures", of_exposures), ("outcomes", of_outcomes)] {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        all += count(&sums.acknowledged);
        println!(
            "{what}: {} a second, {} acknowledged, {} refused, slowest answer {} ms",
            count(&sums.acknowledged) / seconds.max(1),
            count(&sums.acknowledged),
            count(&sums.refused),
            count(&sums.slowest)
        );
    }
    if let Some(store) = &store {
        println!("store: {}", store.usage(all)?);
    }
    verdict(addr, &experiment).await?;
    if let Some(store) = &store {
        println!("store: {}", store.usage(all)?);
    }
    Ok(())
}
