//! The dashboard's picture for the docs, drawn in a real browser from what Prometheus answered.
//!
//! `UPDATE=1` puts it into docs/images. What it shows differs from run to run, so it is not compared; that nothing in it is empty
//! is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::dashboard::Dashboard;

const WIDTH: u32 = 1300;
/// More than a reader should have to load.
const LARGEST: u64 = 300_000;
/// A browser takes its time on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) async fn draw(dashboard: &Dashboard) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let template = fs::read_to_string(root.join("tests/grafana/picture.html"))?;
    let data = json!({
        "dashboard": dashboard.dashboard, "answers": dashboard.answers, "annotations": dashboard.annotations,
        "from": dashboard.from, "to": dashboard.to,
    });
    // No answer may end the script that holds it.
    let data = data.to_string().replace('<', "\\u003c");
    let dir = tempfile::Builder::new().prefix("sidetrack-picture-").tempdir()?;
    let page = dir.path().join("dashboard.html");
    fs::write(&page, template.replace("DATA</script>", &format!("{data}</script>")))?;

    let drawn = String::from_utf8(browse(dir.path(), &page, &["--dump-dom".to_owned()]).await?)?;
    let attribute = |name: &str| {
        let start = drawn.find(&format!("data-{name}=\""))? + name.len() + 7;
        drawn[start..].split('"').next()
    };
    let panels = dashboard.dashboard["panels"].as_array().context("panels")?;
    let panels = panels.iter().filter(|panel| panel["type"] != "row").count();
    ensure!(attribute("empty") == Some(""), "the page did not draw: {:?}", attribute("empty"));
    ensure!(
        attribute("drawn") == Some(&panels.to_string()),
        "{:?} of {panels} panels drawn",
        attribute("drawn")
    );

    let height = attribute("height").context("a height")?;
    let picture = dir.path().join("dashboard.png");
    let options =
        [format!("--window-size={WIDTH},{height}"), format!("--screenshot={}", picture.display())];
    browse(dir.path(), &page, &options).await?;
    is_a_picture(&picture, height.parse()?)?;
    let committed = root.join("docs/images/dashboard.png");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(root.join("docs/images"))?;
        fs::copy(&picture, &committed)?;
    }
    ensure!(committed.is_file(), "docs/images/dashboard.png is missing; UPDATE=1 writes it");
    ensure!(fs::metadata(&committed)?.len() <= LARGEST, "{} is too large", committed.display());
    Ok(())
}

/// A PNG of the right size, and with more in it than a background.
fn is_a_picture(file: &Path, height: u32) -> Result<()> {
    let bytes = fs::read(file).context("the browser wrote no picture")?;
    ensure!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG");
    let number =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    ensure!((number(16), number(20)) == (WIDTH, height), "{} × {}", number(16), number(20));
    let size = u64::try_from(bytes.len())?;
    ensure!((60_000..=LARGEST).contains(&size), "a picture of {size} bytes");
    Ok(())
}

/// Opens the page in a browser without a window, and returns what it printed.
async fn browse(dir: &Path, page: &Path, options: &[String]) -> Result<Vec<u8>> {
    let mut command = Command::new(browser()?);
    // Neither a sandbox nor a graphics card is to be had in many containers; the page is our own.
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output =
        timeout(DEADLINE, command.output()).await.context("the browser does not end")??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn browser() -> Result<PathBuf> {
    let given = std::env::var_os("SIDETRACK_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    let mut found = given.into_iter().chain(found);
    found.find(|file| file.is_file()).context("chromium is missing: run scripts/setup.sh tests")
}
