//! The report as a page in a real Chromium, and the file for Prometheus.

use std::process::Command;

use crate::crowd::{BASELINE, Crowd, Truth, experiment};
use crate::truth::{ROLLOUT, folder};
use crate::{Folder, number, result};

fn reported() -> Folder {
    let fancy = Truth { latency: 48.5, accuracy: 0.912, revenue: 2.2, ..BASELINE };
    let mut written = Crowd::new(6000, vec![BASELINE, fancy]).write(&experiment(ROLLOUT), true);
    written.log += "<script>alert(1)</script>\n";
    let folder = folder(ROLLOUT, &written);
    let (code, _, error) = folder.report(&[
        "--outcomes",
        "outcomes.csv",
        "--html",
        "report.html",
        "--prometheus-out",
        "ab.prom",
        "--guardrail",
        "latency_p95:100ms",
        "--value-per",
        "accuracy=0.02",
    ]);
    assert_eq!(code, 0, "{error}");
    folder
}

/// Chromium, wherever the distribution or the user has it.
fn chromium() -> String {
    let names = std::env::var("SIDETRACK_CHROMIUM")
        .into_iter()
        .chain(["chromium", "chromium-browser", "google-chrome"].map(str::to_owned));
    let runs = |name: &String| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    names
        .into_iter()
        .find(runs)
        .expect("no Chromium: run scripts/setup.sh tests, or set SIDETRACK_CHROMIUM")
}

fn browse(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let profile = folder.path().join("profile");
    let page = format!("file://{}", folder.path().join("page.html").display());
    let output = Command::new(chromium())
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn the_page_is_whole_in_a_browser() {
    let folder = reported();
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
    // A frame as wide as a phone, and a word on what does not fit in it: Chromium's own window is never that narrow.
    let probe = "<script>addEventListener('load', () => { const f = document.querySelector('iframe'); const d = f.contentDocument; \
        document.title = 'width ' + d.documentElement.scrollWidth + ' plots ' + d.querySelectorAll('figure svg').length; \
        document.body.append(d.querySelector('#verdict').textContent); });</script>";
    let inside = html.replace('&', "&amp;").replace('"', "&quot;");
    folder.write("page.html", format!("<!doctype html><body><iframe style=\"width:390px;height:800px;border:0\" srcdoc=\"{inside}\"></iframe>{probe}"));
    let (dom, log) = browse(&folder, &["--dump-dom"]);
    assert!(
        dom.contains("<title>width 390 plots 4</title>"),
        "{}",
        dom.split_once("</title>").unwrap().0
    );
    assert!(
        dom.ends_with("</html>\n")
            && dom.contains("Promote fancy (exploratory): it is better than plain"),
        "{dom}"
    );
    assert!(!log.contains("CONSOLE"), "{log}");
    folder.write("page.html", &html);
    for (name, size) in
        [("desktop.png", "--window-size=1200,2400"), ("phone.png", "--window-size=500,3600")]
    {
        browse(&folder, &[size, &format!("--screenshot={}", folder.path().join(name).display())]);
        assert!(std::fs::metadata(folder.path().join(name)).unwrap().len() > 20_000, "{name}");
    }
    if let Ok(keep) = std::env::var("SIDETRACK_KEEP") {
        for name in ["report.html", "desktop.png", "phone.png"] {
            std::fs::copy(folder.path().join(name), format!("{keep}/{name}")).unwrap();
        }
    }
}

#[test]
fn prometheus_gets_accuracy_and_value() {
    let folder = reported();
    let text = std::fs::read_to_string(folder.path().join("ab.prom")).unwrap();
    let value = |start: &str| -> f64 {
        let line =
            text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let analysis = folder.analysis(&["--outcomes", "outcomes.csv"]);
    let accuracy = value("ab_test_model_accuracy{experiment=\"forecast\",model_name=\"fancy\"}");
    assert!((accuracy - number(&result(&analysis, "accuracy")["value"])).abs() < 1e-12);
    assert!(
        (value(
            "ab_test_business_impact{experiment=\"forecast\",model_name=\"plain\",metric_type=\"revenue\"}"
        ) - 2.0)
            .abs()
            < 0.1
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with(".sidetrack"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
