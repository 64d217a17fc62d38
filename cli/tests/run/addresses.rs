//! Addresses of services: those of the run itself are refused, https is verified.

use sidetrack_lab::first_free_port;

use crate::running::{Running, wasm};
use crate::subject::{EXPERIMENT, Folder, Live};

#[test]
fn an_endpoint_where_the_run_itself_listens_is_refused() {
    // Other ports than those of tests that run beside this one.
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let free = |from| first_free_port([127, 0, 0, 1].into(), first + from).unwrap().to_string();
    let [listen, admin, store] = [0, 200, 400].map(free);
    for (port, host, words) in [
        (&listen, "127.0.0.1", "where Envoy of this run listens"),
        (&listen, "localhost", "choose another port with --port"),
        (&admin, "127.0.0.1", "where Envoy's admin interface of this run listens"),
        (&store, "127.0.0.1", "where the store of this run listens"),
    ] {
        let folder = Folder::new(EXPERIMENT);
        let endpoint = format!("new={host}:{port}");
        let (admin, store) = (format!("127.0.0.1:{admin}"), format!("127.0.0.1:{store}"));
        let (code, text) = folder.ended(&[
            "run",
            "experiment.yaml",
            "--endpoint",
            "old=127.0.0.1:1",
            "--endpoint",
            &endpoint,
            "--port",
            &listen,
            "--admin",
            &admin,
            "--store-listen",
            &store,
            "--wasm",
            wasm().to_str().unwrap(),
        ]);
        assert_eq!(code, 2, "{endpoint}\n{text}");
        assert!(text.contains("--endpoint: new is ") && text.contains(words), "{endpoint}\n{text}");
        folder.left_nothing();
    }
}

#[test]
fn an_https_service_is_verified_and_gets_its_name() {
    let folder = Folder::new(&EXPERIMENT.replace("weight: 50", "weight: 100"));
    let [own, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap());
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("own.pem", own.cert.pem());
    write("own.key", own.signing_key.serialize_pem());
    write("other.pem", other.cert.pem());
    // A service with TLS that answers only to its own name: the store. The test has no path of it, so it says 404.
    let mut command = folder.command(&["serve", "--store", "service", "experiment.yaml"]);
    command.args(["--listen", "127.0.0.1:0", "--tls-cert", "own.pem", "--tls-key", "own.key"]);
    let mut service = Running::start(&mut command);
    let text = service.read_until("listening on https://127.0.0.1:");
    let rest = text.split("https://127.0.0.1:").nth(1).unwrap().to_owned();
    let rest = if rest.contains('\n') { rest } else { rest + &service.read_until("\n") };
    let port: u16 = rest.lines().next().unwrap().trim().parse().unwrap();
    let endpoint = format!("new=https://localhost:{port}");
    let mut folder = Some(folder);
    for (authority, status) in [("own.pem", 404), ("other.pem", 503)] {
        let options = ["--json", "--interval", "250ms", "--ca-file", authority];
        let mut live = Live::with_candidate(folder.take().unwrap(), &options, &endpoint);
        live.until("in_force");
        let answers = live.send("/predict", 0..5);
        assert!(answers.iter().all(|got| got.status == status), "{authority}: {answers:?}");
        folder = Some(live.stop("TERM"));
    }
}
