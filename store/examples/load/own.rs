//! A store in a process of its own: this program once more.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sidetrack_store::{Access, Catalog, ExperimentFile, Limits, Server, Store};

use super::Failure;

/// The argument of that process.
pub(super) const SERVE: &str = "serve-here";
/// The name of its experiment.
pub(super) const EXPERIMENT: &str = "forecast";

const FILE: &str = r#"{"experiments": [{"name": "forecast", "salt": "one", "unit": [{"header": "x-user-id"}],
    "baseline": "plain", "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}],
    "analysis": {"metrics": ["accuracy"]}}]}"#;

/// Serves a new store in this folder until stdin ends.
pub(super) async fn serve(folder: &str) -> Result<(), Failure> {
    let node = serde_json::from_str(FILE)?;
    let (plan, analyses) =
        sidetrack_analysis::plan::parse(&node).map_err(|problems| format!("{problems:?}"))?;
    let file = ExperimentFile { plan, analyses, text: FILE.to_owned() };
    let store = Store::open(Path::new(folder), Catalog::new(vec![file])?, Limits::default())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let server = Server::start(store, listener, Access::local())?;
    let end = || std::io::copy(&mut File::open("/dev/stdin")?, &mut std::io::sink());
    tokio::task::spawn_blocking(end).await??;
    server.stop().await;
    Ok(())
}

/// The process. Dropping it ends it and removes its folder.
pub(super) struct Own {
    pub(super) addr: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Own {
    pub(super) fn start() -> Result<Self, Failure> {
        // Below the target folder: a temporary folder may be in memory.
        let program = std::env::current_exe()?;
        let folder = tempfile::tempdir_in(program.parent().ok_or("no folder")?)?;
        let mut command = Command::new(&program);
        command.arg(SERVE).arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        Ok(Self { addr: line.trim().parse()?, child, _folder: folder })
    }

    /// Its processor time, by record, and its memory.
    pub(super) fn usage(&self, records: u64) -> Result<String, Failure> {
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let stat = of("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        // User and system time in hundredths of a second, fields 14 and 15 of proc(5).
        let seconds: f64 = (ticks(12) + ticks(13)) / 100.0;
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let each = seconds * 1e6 / records.max(1) as f64;
        let status = of("status")?;
        let memory = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let (now, most) = (memory("VmRSS:"), memory("VmHWM:"));
        Ok(format!(
            "{seconds:.1} s of processor time, {each:.1} µs a record; {now} now, at most {most}"
        ))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The end of its stdin ends it.
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}
