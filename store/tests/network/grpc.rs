//! OTLP over gRPC: each refusal has the status by which a sender knows whether to send again.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use sidetrack_store::{Access, Limits, Server};
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request as Call, Status};
use tonic_types::StatusExt as _;

use crate::served::{EXPERIMENT, JSON, Request, START, Served};

/// printf %s secret | sha256sum
pub(crate) const DIGEST: [u8; 32] = [
    0x2b, 0xb8, 0x0d, 0x53, 0x7b, 0x1d, 0xa3, 0xe3, 0x8b, 0xd3, 0x03, 0x61, 0xaa, 0x85, 0x56, 0x86,
    0xbd, 0xe0, 0xea, 0xcd, 0x71, 0x62, 0xfe, 0xf6, 0xa2, 0x5f, 0xe9, 0x7b, 0xf5, 0x27, 0xa2, 0x5b,
];

fn record(id: &str) -> LogRecord {
    let attributes = Request::new(id, "u").fields().into_iter().map(|(key, text)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..KeyValue::default()
    });
    LogRecord { attributes: attributes.collect(), ..LogRecord::default() }
}

fn export(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    }
}

/// Records with a text that makes them large, and compresses well.
fn large(bytes: usize) -> ExportLogsServiceRequest {
    let mut record = record("large");
    let value = Some(AnyValue { value: Some(Value::StringValue("a".repeat(bytes))) });
    record.attributes.push(KeyValue { key: "more".to_owned(), value, ..KeyValue::default() });
    export(vec![record])
}

impl Served {
    fn channel(&self) -> Channel {
        let channel = Channel::from_shared(self.url.clone()).unwrap();
        self.runtime.block_on(channel.connect()).unwrap()
    }

    fn send_gzip(
        &self,
        request: ExportLogsServiceRequest,
    ) -> Result<ExportLogsServiceResponse, Status> {
        let client = LogsServiceClient::new(self.channel());
        let mut client = client.send_compressed(CompressionEncoding::Gzip);
        let answer = self.runtime.block_on(client.export(request));
        answer.map(tonic::Response::into_inner)
    }

    fn send_plain(
        &self,
        request: impl tonic::IntoRequest<ExportLogsServiceRequest>,
    ) -> Result<ExportLogsServiceResponse, Status> {
        let mut client = LogsServiceClient::new(self.channel());
        let answer = self.runtime.block_on(client.export(request));
        answer.map(tonic::Response::into_inner)
    }
}

/// After how many seconds a sender may try again; OTLP's senders do not try again after `RESOURCE_EXHAUSTED` without it.
fn retry(status: &Status) -> Option<u64> {
    let details = status.get_error_details();
    details.retry_info().and_then(|info| info.retry_delay).map(|delay| delay.as_secs())
}

fn small() -> Access {
    Access { max_body: 100 << 10, ..Access::local() }
}

#[test]
fn plain_and_compressed_messages_are_stored_and_repeats_are_not() {
    let served = Served::new();
    assert_eq!(
        served.send_plain(export(vec![record("a"), record("b")])).unwrap().partial_success,
        None
    );
    assert_eq!(
        served.send_gzip(export(vec![record("b"), record("c")])).unwrap().partial_success,
        None
    );
    let count = |result: &str| {
        served.metric(&format!("sidetrack_store_exposures_total{{result=\"{result}\"}}"))
    };
    assert_eq!((count("stored"), count("repeated")), (3, 1));
    // What is rejected must not be sent again, so the call as a whole succeeds.
    let mut malformed = record("d");
    malformed.attributes.retain(|attribute| attribute.key != "status");
    let partial = served.send_plain(export(vec![malformed, record("e")])).unwrap().partial_success;
    let partial = partial.expect("no partial success");
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("status is \"missing\""), "{partial:?}");
    assert_eq!(served.send_plain(export(Vec::new())).unwrap().partial_success, None);
}

#[test]
fn a_message_that_is_too_large_is_refused_for_good() {
    let served = Served::with(&[EXPERIMENT], Limits::default(), small());
    for error in [
        served.send_plain(large(200 << 10)).unwrap_err(),
        // A few hundred bytes that become too many.
        served.send_gzip(large(200 << 10)).unwrap_err(),
        served.send_gzip(large(50 << 20)).unwrap_err(),
    ] {
        assert_eq!((error.code(), retry(&error)), (Code::ResourceExhausted, None), "{error:?}");
        assert!(error.message().contains("larger than"), "{error:?}");
    }
    // What is within the limit when it is decompressed is stored.
    served.send_gzip(large(90 << 10)).unwrap();
    served.send_plain(large(90 << 10)).unwrap();
}

#[test]
fn tokens_are_required_and_wrong_ones_are_refused_for_good() {
    let access = Access { token_sha256: Some(DIGEST), ..Access::local() };
    let served = Served::with(&[EXPERIMENT], Limits::default(), access);
    let call = |token: Option<&str>| {
        let mut call = Call::new(export(vec![record("a")]));
        if let Some(token) = token {
            call.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        served.send_plain(call)
    };
    for token in [None, Some("Bearer secre"), Some("Bearer secrets"), Some("secret")] {
        let error = call(token).unwrap_err();
        assert_eq!((error.code(), retry(&error)), (Code::Unauthenticated, None), "{token:?}");
    }
    call(Some("Bearer secret")).unwrap();
}

/// Calls any path with any body as a client of gRPC would.
fn call(
    served: &Served,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, Option<String>) {
    use http_body_util::{BodyExt as _, Full};
    use tonic::codegen::Service as _;
    served.runtime.block_on(async {
        let mut request = tonic::codegen::http::Request::post(format!("{}{path}", served.url))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = tonic::body::Body::new(Full::new(tonic::codegen::Bytes::from(body)));
        let mut channel =
            Channel::from_shared(served.url.clone()).unwrap().connect().await.unwrap();
        std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
        let answer = channel.call(request.body(body).unwrap()).await;
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        let text = |headers: &tonic::codegen::http::HeaderMap| {
            let code = headers.get("grpc-status").and_then(|code| code.to_str().ok());
            code.map(str::to_owned)
        };
        let early = text(answer.headers());
        let body = answer.into_body().collect().await.unwrap();
        (status, early.or_else(|| body.trailers().and_then(text)))
    })
}

const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

#[test]
fn what_is_no_call_is_refused_for_good() {
    let served = Served::new();
    let logs = EXPORT.replace("Export", "Import");
    let gzip = [("grpc-encoding", "gzip")];
    let unimplemented = Some("12".to_owned());
    assert_eq!(call(&served, &logs, &[], vec![0; 5]), (200, unimplemented.clone()));
    assert_eq!(
        call(&served, "/other.Service/Export", &[], vec![0; 5]),
        (200, unimplemented.clone())
    );
    assert_eq!(
        call(&served, EXPORT, &[("grpc-encoding", "zstd")], vec![1, 0, 0, 0, 0]).1,
        unimplemented
    );
    // 3 is INVALID_ARGUMENT, 13 INTERNAL; neither is sent again.
    assert_eq!(call(&served, EXPORT, &gzip, vec![1, 0, 0, 0, 2, 7, 7]).1.as_deref(), Some("3"));
    for broken in [
        vec![],
        vec![0, 0, 0],
        vec![0, 255, 255, 255, 255],
        vec![0, 0, 0, 0, 2, 255, 255],
        vec![9; 40],
    ] {
        let (status, code) = call(&served, EXPORT, &[], broken.clone());
        let code: u32 = code.unwrap().parse().unwrap();
        assert!(status == 200 && [3, 13].contains(&code), "{broken:?}: {code}");
    }
    // An empty message is an empty request.
    assert_eq!(call(&served, EXPORT, &[], vec![0; 5]).1.as_deref(), Some("0"));
    served.send_plain(export(vec![record("a")])).unwrap();
}

/// A field of protobuf that is a message.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(content);
    bytes
}

#[test]
fn what_is_small_in_a_body_is_not_large_in_memory() {
    const MANY: usize = 1 << 19;
    let served = Served::new();
    let records = [0x12, 0].repeat(MANY);
    let attributes = field(0x12, &[0x32, 0].repeat(14 * MANY));
    let values = [0x0a, 0].repeat(14 * MANY);
    let nested = field(0x12, &field(0x2a, &field(0x32, &values)));
    // Protobuf is read where it is: what is no exposure takes no memory.
    for scope in [records, attributes, nested] {
        let message = field(0x0a, &field(0x12, &scope));
        let answer = served.post("/v1/logs", "application/x-protobuf", &message);
        assert_eq!(answer.status, 200, "{answer:?}");
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let call = call(&served, EXPORT, &[], [&[0], length.as_slice(), &message].concat());
        assert_eq!(call.1.as_deref(), Some("0"));
    }
    assert!(served.store.info().unwrap().trials.is_empty());
    let message = |records: &str| {
        format!(r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{records}]}}]}}]}}"#)
    };
    let many = |one: &str, number: usize| vec![one; number].join(",");
    let attributes = format!(r#"{{"attributes": [{}]}}"#, many("{}", 5 * MANY));
    for records in [many("{}", 2 * MANY), many("[]", 2 * MANY), attributes] {
        let answer = served.post("/v1/logs", JSON, message(&records));
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert_eq!(served.post("/v1/logs", JSON, message(&many("{}", 1000))).status, 200);
    // A large body of what proxies send is taken.
    let many: Vec<LogRecord> = (0..5000).map(|number| record(&number.to_string())).collect();
    assert_eq!(served.send_plain(export(many)).unwrap().partial_success, None);
}

const LENGTH: usize = (16 << 20) - 1024;

#[test]
fn a_record_without_a_time_is_rejected_and_the_time_of_its_arrival_is_one() {
    let served = Served::new();
    let without = |id: &str| {
        let mut record = record(id);
        record.attributes.retain(|attribute| attribute.key != "time");
        record
    };
    let partial = served.send_plain(export(vec![without("a")])).unwrap().partial_success;
    let partial = partial.expect("it is taken for one of 1970");
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("time is \"missing\""), "{partial:?}");
    let observed = LogRecord { observed_time_unix_nano: START * 1_000_000, ..without("b") };
    assert_eq!(served.send_plain(export(vec![observed])).unwrap().partial_success, None);
    assert_eq!(served.store.live("forecast").unwrap().requests, 1);
}

#[test]
fn the_digest_of_no_text_is_no_token() {
    let served = Served::new();
    let empty = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ];
    let access = Access { token_sha256: Some(empty), ..Access::local() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _inside = served.runtime.enter();
    let error = Server::start(Arc::clone(&served.store), listener, access).unwrap_err();
    assert!(error.to_string().contains("empty text"), "{error}");
}

#[test]
fn bodies_of_all_protocols_share_their_room() {
    let served = Served::new();
    let address = served.url.strip_prefix("http://").unwrap();
    let mut waiting = Vec::new();
    let mut announce = || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /v1/outcomes HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: {LENGTH}\r\n\r\n"
        )
        .unwrap();
        waiting.push(stream);
    };
    // 512 MiB are announced, and none sent: what does not arrive takes no room.
    (0..32).for_each(|_| announce());
    std::thread::sleep(Duration::from_millis(100));
    served.send_plain(export(vec![record("a")])).unwrap();
    // All but their last bytes of 256 MiB.
    let part = vec![b'a'; LENGTH - 10];
    waiting.iter_mut().take(16).for_each(|stream| stream.write_all(&part).unwrap());
    let mut refused = None;
    for _ in 0..400 {
        match served.send_plain(export(vec![record("a")])) {
            Ok(_) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("gRPC has room of its own");
    assert_eq!(
        (refused.code(), retry(&refused)),
        (Code::ResourceExhausted, Some(1)),
        "{refused:?}"
    );
    let answer = served.post("/v1/outcomes", "text/csv", "request_id,a\nb,1\n");
    assert_eq!(answer.status, 503, "{answer:?}");
    // A client that goes away leaves its room.
    drop(waiting);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while served.send_plain(export(vec![record("a")])).is_err() {
        assert!(std::time::Instant::now() < end, "the room stays taken");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn records_that_wait_are_bounded_and_the_sender_learns_when_to_try_again() {
    let served = Served::new();
    // Another writer of the database holds all commits up.
    let database = rusqlite::Connection::open(served.store.path().join("store.sqlite")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let rows: String = (0..99_990).map(|number| format!("r-{number},1\n")).collect();
    let url = format!("{}/v1/outcomes", served.url);
    let first = std::thread::spawn(move || {
        let body = format!("request_id,a\n{rows}");
        let sent = ureq::post(url).header("content-type", "text/csv").send(body);
        sent.map(|answer| answer.status().as_u16())
    });
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while served.metric("sidetrack_store_waiting") < 99_990 {
        assert!(std::time::Instant::now() < end, "the rows do not wait");
        std::thread::sleep(Duration::from_millis(5));
    }
    let batch: Vec<LogRecord> = (0..20).map(|number| record(&number.to_string())).collect();
    let error = served.send_plain(export(batch.clone())).unwrap_err();
    assert_eq!((error.code(), retry(&error)), (Code::ResourceExhausted, Some(1)), "{error:?}");
    let answer =
        served.post("/v1/outcomes", "text/csv", format!("request_id,a\n{}", "x,1\n".repeat(20)));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(served.metric("sidetrack_store_refused_total"), 2);
    database.execute_batch("COMMIT").unwrap();
    // It is stored, unless the other writer was there for longer than the store waits.
    match first.join().unwrap() {
        Ok(status) => assert_eq!(status, 200),
        Err(error) => assert!(error.to_string().contains("503"), "{error}"),
    }
    // The room of the rows is free a moment after their answer.
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while served.send_plain(export(batch.clone())).is_err() {
        assert!(std::time::Instant::now() < end, "the room stays taken");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn many_calls_at_once_on_one_connection_all_succeed() {
    let served = Served::new();
    let channel = served.channel();
    served.runtime.block_on(async {
        // More than the streams that the server takes at once; the client waits with the others.
        let calls = (0..300).map(|number| {
            let mut client = LogsServiceClient::new(channel.clone());
            tokio::spawn(
                async move { client.export(export(vec![record(&number.to_string())])).await },
            )
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
    });
    assert_eq!(served.metric("sidetrack_store_exposures_total{result=\"stored\"}"), 300);
}

#[test]
fn a_server_that_stops_answers_what_it_has_and_then_is_unavailable() {
    let mut served = Served::new();
    let channel = served.channel();
    let server = served.take_server();
    let (answers, store) = served.runtime.block_on(async {
        let calls: Vec<_> = (0..50)
            .map(|number| {
                let mut client = LogsServiceClient::new(channel.clone());
                tokio::spawn(async move {
                    client.export(export(vec![record(&number.to_string())])).await
                })
            })
            .collect();
        let mut answers = Vec::new();
        let mut calls = calls.into_iter();
        answers.push(calls.next().unwrap().await.unwrap());
        server.stop().await;
        for call in calls {
            answers.push(call.await.unwrap());
        }
        let mut client = LogsServiceClient::new(channel.clone());
        answers.push(client.export(export(vec![record("late")])).await);
        (answers, std::sync::Arc::clone(&served.store))
    });
    assert!(answers.first().unwrap().is_ok(), "{answers:?}");
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        // What the client of gRPC makes of a connection that ends; OTLP sends these again.
        assert!(
            [Code::Unavailable, Code::Cancelled, Code::Unknown].contains(&error.code()),
            "{error:?}"
        );
    }
    assert!(answers.last().unwrap().is_err());
    let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count();
    let stored = store.info().unwrap().trials[0].exposures;
    assert!(stored >= i64::try_from(acknowledged).unwrap(), "{stored} of {acknowledged}");
}

#[test]
fn a_page_of_another_site_cannot_pass_as_a_proxy() {
    let served = Served::new();
    let host = ("host", "evil.example.com");
    let grpc = ("content-type", "application/grpc");
    // Its script may set the content type, but a browser without TLS speaks HTTP/1.1 only.
    for path in ["/v1/experiments", EXPORT] {
        for method in ["GET", "POST"] {
            let answer = served.send(method, path, &[host, grpc], &[0; 5]);
            let is_refused = answer.status == 403 || answer.text.is_empty();
            assert!(is_refused, "{method} {path}: {answer:?}");
        }
    }
    assert_eq!(served.get("/v1/experiments").status, 200);
    let count = served.metric("sidetrack_store_exposures_total{result=\"stored\"}");
    assert_eq!(count, 0);
    // A proxy calls by the name of a cluster.
    assert_eq!(
        call(&served, EXPORT, &[("host", "sidetrack_store")], vec![0; 5]).1.as_deref(),
        Some("0")
    );
}
