//! The description of the interface, against the server: Schemathesis makes requests from it and judges the answers.
//!
//! `SIDETRACK_LONG=1` gives it ten minutes.

use std::path::Path;
use std::process::Command;

use sidetrack_store::{Access, Limits};

use crate::grpc::DIGEST;
use crate::served::{CSV, EXPERIMENT, JSON, Request, Served};

#[test]
fn all_answers_are_as_described() {
    let limits = Limits { max_metrics: 1_000_000, ..Limits::default() };
    let access = Access { token_sha256: Some(DIGEST), ..Access::local() };
    let mut served = Served::with(&[EXPERIMENT], limits, access);
    served.token = Some("Bearer secret".to_owned());
    served.expose(&[
        Request::new("a", "u-1"),
        Request { reason: "breaker_open", ..Request::new("b", "u-2") },
    ]);
    let rows = r#"[{"request_id": "a", "source": "baseline", "x": 1}, {"request_id": "a", "source": "mirror", "x": 2}]"#;
    served.put("/v1/predictions", JSON, rows);
    served.put("/v1/outcomes", CSV, "request_id,accuracy\na,1\nb,0\n");
    let (seconds, examples) =
        if std::env::var_os("SIDETRACK_LONG").is_some() { ("600", "2000") } else { ("40", "15") };
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/store/bin/schemathesis");
    let output = Command::new(&program)
        .args(["run", &format!("{}/openapi.json", served.url), "--checks", "all"])
        .args(["--header", "authorization: Bearer secret", "--max-time", seconds])
        .args(["--max-examples", examples, "--continue-on-failure", "--no-color"])
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; run scripts/setup.sh tests", program.display())
        });
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    // All operations were there. How many requests are made depends on the machine.
    let operations = served.read("/openapi.json")["paths"].as_object().unwrap().len();
    // All but the description itself.
    let operations = operations - 1;
    assert!(report.contains(&format!("{operations} selected / {operations} total")), "{report}");
    let made = report.lines().find_map(|line| line.trim().split_once(" generated"));
    let made: u64 = made.unwrap().0.parse().unwrap_or_else(|error| panic!("{error}: {report}"));
    assert!(made > 20, "{report}");
    // It still works.
    assert_eq!(served.get("/readyz").text, "ready\n");
}
