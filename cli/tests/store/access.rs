//! Who may use the store: loopback, tokens, TLS, hosts, limits.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::server::Folder;
use crate::traffic::{EXPERIMENT, START, Traffic, otlp};
use crate::verdict::JSON;

/// printf %s secret | sha256sum
const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn certificate(folder: &Folder) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    folder.write("cert.pem", made.cert.pem());
    folder.write("key.pem", made.signing_key.serialize_pem());
}

#[test]
fn other_machines_need_tls_and_a_token() {
    let folder = Folder::new(EXPERIMENT);
    certificate(&folder);
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let token = ["--token-sha256", DIGEST];
    let open = ["--listen", "0.0.0.0:0"];
    for (more, missing) in [
        (vec![], "--tls-cert, --tls-key and --token-sha256"),
        (token.to_vec(), "--tls-cert and --tls-key"),
        (tls.to_vec(), "needs --token-sha256"),
    ] {
        let error = folder.try_serve(&[&open[..], &more].concat()).err().expect("it starts");
        assert!(error.starts_with("Some(2)") && error.contains(missing), "{error}");
    }
    folder.serve(&[&open[..], &tls, &token].concat()).stop();
    for (name, content, words) in [
        ("key.pem", "no key", "--tls-key: key.pem has no private key in PEM"),
        ("cert.pem", "no certificate", "--tls-cert: cert.pem has no certificate in PEM"),
    ] {
        let before = std::fs::read(folder.path().join(name)).unwrap();
        folder.write(name, content);
        let error = folder.try_serve(&[&open[..], &tls, &token].concat()).err().expect("it starts");
        assert!(error.starts_with("Some(2)") && error.contains(words), "{error}");
        folder.write(name, before);
    }
    // A key of another certificate, and a file that does not exist.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    folder.write("key.pem", other.signing_key.serialize_pem());
    let error = folder.try_serve(&[&open[..], &tls, &token].concat()).err().expect("it starts");
    assert!(error.contains("key.pem is not the key of the certificate cert.pem"), "{error}");
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    let error = folder.try_serve(&[&open[..], &tls, &token].concat()).err().expect("it starts");
    assert!(error.contains("cannot read key.pem: the file does not exist"), "{error}");
}

/// A certificate that signs itself is accepted if it is named, and if it is not that of an authority.
#[test]
fn a_store_with_its_own_certificate_is_asked_over_tls() {
    let steps =
        r#""planned_units": 100000, "steps": [{"weight": 40, "min_for": "1d"}, {"weight": 50}]"#;
    let file = EXPERIMENT.replace(r#""planned_units": 100000"#, steps);
    let folder = Folder::new(&file);
    // The same in YAML, in which `advance` can leave a comment.
    folder.write("experiment.yaml", format!("# A test.\n{file}"));
    let make = |is_ca: IsCa, host: &str| {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        folder.write("cert.pem", params.self_signed(&key).unwrap().pem());
        folder.write("key.pem", key.serialize_pem());
    };
    let ask = |named: bool| {
        let server = folder.serve(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
        let url = server.url.replace("127.0.0.1", "localhost");
        let mut command = folder.command(&["advance", "experiment.yaml", "--dry-run", "--store"]);
        command.arg(&url);
        if named {
            command.env("SSL_CERT_FILE", folder.path().join("cert.pem"));
        }
        let output = command.output().unwrap();
        server.stop();
        let [text, error] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        (output.status.code(), text, error)
    };
    make(IsCa::ExplicitNoCa, "localhost");
    let (code, text, error) = ask(true);
    assert_eq!(code, Some(4), "{error}");
    assert!(text.contains("Hold"), "{text}{error}");
    let (code, _, error) = ask(false);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("the server's certificate comes from an unknown authority"), "{error}");
    assert!(error.contains("SSL_CERT_FILE"), "{error}");
    // As `openssl req -x509` makes it without further options.
    make(IsCa::Ca(BasicConstraints::Unconstrained), "localhost");
    let (code, _, error) = ask(true);
    assert_eq!(code, Some(2), "{error}");
    let words = "the server's certificate is that of an authority, and not of a server";
    assert!(error.contains(words) && error.contains("CA:FALSE"), "{error}");
    make(IsCa::ExplicitNoCa, "store.example.com");
    let (_, _, error) = ask(true);
    assert!(error.contains("the server's certificate is for another host"), "{error}");
}

#[test]
fn a_token_is_required_of_all_but_probes() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&["--token-sha256", DIGEST]);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 200);
    let with = |token: &str| {
        server.send("GET", "/v1/experiments", &[("authorization", token)], &[]).unwrap().status
    };
    assert_eq!(with("Bearer secret"), 200);
    assert_eq!(with("bearer secret"), 200);
    for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "Basic secret", "secret", DIGEST] {
        assert_eq!(with(wrong), 401, "{wrong}");
    }
    let answer = server.get("/metrics");
    assert_eq!((answer.status, answer.kind.as_str()), (401, "application/problem+json"));
    let body = otlp(&Traffic::new(EXPERIMENT, START).lines(1));
    assert_eq!(server.post("/v1/logs", JSON, body).status, 401);
}

#[test]
fn a_page_of_another_site_cannot_reach_a_store_without_a_token() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&[]);
    let of =
        |host: &str| server.send("GET", "/v1/experiments", &[("host", host)], &[]).unwrap().status;
    assert_eq!(of("localhost:8088"), 200);
    assert_eq!(of("127.0.0.1"), 200);
    assert_eq!(of("[::1]:80"), 200);
    assert_eq!(of("evil.example.com"), 403);
    assert_eq!(of("localhost.evil.example.com:8088"), 403);
    // A form of another site has no such content type.
    let answer = server.post("/v1/outcomes", "text/plain", "request_id,correct\na,1\n");
    assert_eq!(answer.status, 415, "{answer:?}");
}

#[test]
fn bodies_rates_and_metrics_are_limited() {
    let folder = Folder::new(EXPERIMENT);
    let server = folder.serve(&["--max-body", "100KiB", "--max-rate", "100", "--max-metrics", "3"]);
    let mut traffic = Traffic::new(EXPERIMENT, START);
    let large = server.post("/v1/logs", JSON, otlp(&traffic.lines(500)));
    assert_eq!((large.status, large.kind.as_str()), (413, "application/problem+json"), "{large:?}");
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zipped, &vec![b' '; 1 << 20]).unwrap();
    let headers = [("content-type", JSON), ("content-encoding", "gzip")];
    let bomb = server.send("POST", "/v1/logs", &headers, &zipped.finish().unwrap()).unwrap();
    assert_eq!(bomb.status, 413, "{bomb:?}");
    let row = r#"{"request_id": "a", "one": 1, "two": 2}"#;
    assert_eq!(server.post("/v1/outcomes", JSON, row).json()["accepted"], 1);
    let row = r#"[{"request_id": "a", "three": 1, "four": 2}, {"request_id": "a", "three": 3}]"#;
    let answer = server.post("/v1/outcomes", JSON, row).json();
    assert_eq!(answer["accepted"], 1, "{answer}");
    assert!(
        answer["rejected"][0]["message"].as_str().unwrap().contains("--max-metrics"),
        "{answer}"
    );
    let mut refused = None;
    for _ in 0..60 {
        let answer = server.post("/v1/logs", JSON, otlp(&traffic.lines(50)));
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("no limit of the rate");
    assert_eq!((refused.status, refused.retry_after), (429, Some(1)), "{refused:?}");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.post("/v1/logs", JSON, otlp(&traffic.lines(50))).status, 200);
}
