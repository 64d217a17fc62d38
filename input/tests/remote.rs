//! `s3://` against moto, a server of S3 on loopback.

#![cfg(feature = "remote")]
#![expect(clippy::unwrap_used, reason = "a test that fails may say so abruptly")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sidetrack_analysis::{Input, Settings, Strata, Wanted, analyze};

const FILE: &str = r#"{"experiments": [{"name": "shop", "unit": [{"header": "u"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}]}]}"#;

/// What is put into the server: by boto3, which users have as well.
const PUT: &str = r#"
import boto3, gzip, sys
s3 = boto3.client("s3")
s3.create_bucket(Bucket="logs")
text = open(sys.argv[1], "rb").read()
half = text.index(b"\n", len(text) // 2) + 1
s3.put_object(Bucket="logs", Key="shop/access.log", Body=text[:half])
s3.put_object(Bucket="logs", Key="shop/access.log.1.gz", Body=gzip.compress(text[half:]))
s3.put_object(Bucket="logs", Key="shop/old/access.log", Body=text[:half])
s3.put_object(Bucket="logs", Key="shop/labels.csv", Body=open(sys.argv[2], "rb").read())
"#;

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/moto/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh tests", python.display());
    python
}

/// A free port, which nobody else takes meanwhile, as far as one can know.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(port: u16) -> Server {
    let mut server = Command::new(python());
    server.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
    let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let server = Server(server);
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(120), "moto does not listen");
        std::thread::sleep(Duration::from_millis(100));
    }
    server
}

fn analysis(exposures: &str, outcomes: &str) -> Result<String, String> {
    let words = |error: sidetrack_analysis::Error| {
        let why = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", why.unwrap_or_default())
    };
    let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
    let experiment = plan.experiments.into_iter().next().unwrap();
    let files = sidetrack_input::expand(&[PathBuf::from(exposures)])
        .map_err(|mistake| format!("{mistake}"))?;
    let paths = [PathBuf::from(outcomes)];
    let outcomes = sidetrack_input::outcomes(&paths, &experiment, Wanted::default());
    let input = Input {
        experiment: &experiment,
        strata: &Strata::new(&experiment, "").map_err(words)?,
        config_hash: "",
        logs: &sidetrack_input::logs(&files).map_err(words)?,
        outcomes: Some(&outcomes.map_err(words)?),
    };
    let settings = Settings::planned(None, std::num::NonZero::new(2).unwrap()).unwrap();
    let (found, _) = analyze(input, &settings, &|_, _| {}).map_err(words)?;
    Ok(serde_json::to_string(&found).unwrap())
}

/// The log, and labels of its requests.
fn written(folder: &Path) -> (PathBuf, PathBuf) {
    let (mut log, mut labels) = (String::new(), "request_id,correct\n".to_owned());
    for request in 0..20_000 {
        let unit = request * 31 % 3000;
        let variant = if unit % 2 == 0 { "plain" } else { "fancy" };
        let (minute, second) = (request / 60 % 60, request % 60);
        log += &format!(
            r#"{{"time":"2026-11-23T09:{minute:02}:{second:02}.000Z","request_id":"r{request}","unit":"u{unit}","experiment":"shop","assigned":"{variant}","served":"{variant}","reason":"hash","status":200,"duration":{}}}"#,
            10 + request % 90
        );
        log.push('\n');
        labels += &format!("r{request},{}\n", u8::from(request % 3 > 0));
    }
    let (exposures, outcomes) = (folder.join("access.log"), folder.join("labels.csv"));
    std::fs::write(&exposures, log).unwrap();
    std::fs::write(&outcomes, labels).unwrap();
    (exposures, outcomes)
}

/// Where the files are that the objects are made of.
const FILES: &str = "SIDETRACK_TEST_FILES";

#[test]
fn objects_are_read_as_files_are() {
    // The client takes its endpoint from the environment, so this runs again as a process of its own.
    if let Some(folder) = std::env::var_os(FILES) {
        return read_objects(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let (log, labels) = written(folder.path());
    let port = free_port();
    let _server = start(port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ];
    let mut put = Command::new(python());
    let put = put.args(["-c", PUT]).args([&log, &labels]).envs(variables);
    let put = put.output().unwrap();
    assert!(put.status.success(), "{put:?}");
    let mut again = Command::new(std::env::current_exe().unwrap());
    let again = again.args(["--exact", "objects_are_read_as_files_are", "--nocapture"]);
    let again = again.envs(variables).env(FILES, folder.path()).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"), "{again:?}");
}

fn read_objects(folder: &Path) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let wanted = analysis(&path("access.log"), &path("labels.csv")).unwrap();
    assert!(wanted.contains(r#""read":20000"#), "{wanted}");
    let remote = |exposures: &str| analysis(exposures, "s3://logs/shop/labels.csv");
    for exposures in ["s3://logs/shop/", "s3://logs/shop/access.log*", "s3://logs/s*/access*"] {
        assert_eq!(remote(exposures).as_ref(), Ok(&wanted), "{exposures}");
    }
    let error = remote("s3://logs/none.log").unwrap_err();
    assert_eq!(error, "cannot read s3://logs/none.log: the file does not exist");
    let error = remote("s3://logs/*.parquet").unwrap_err();
    assert_eq!(error, "s3://logs/*.parquet: no object matches the pattern");
    let error = remote("ftp://logs/a.log").unwrap_err();
    assert!(error.contains("an unknown scheme; expected one of: s3, gs, az"), "{error}");
}
