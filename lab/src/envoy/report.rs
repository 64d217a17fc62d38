//! Diagnostics of a running Envoy: the configuration, the nonzero statistics, the log's tail.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Envoy;
use super::files::tail;

/// Statistics about traffic and configuration, without the admin port's own traffic.
const INTERESTING: &str =
    r"^(wasm|sidetrack|cluster\.|http\.|extension_config|listener_manager|vhost)";
const MAX_STATS: usize = 150;
const MAX_LOG_LINES: usize = 80;

impl Envoy {
    /// The path of the log file, which exists as long as this process.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.files.log_path()
    }

    /// Everything that Envoy has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.files.log()
    }

    /// The last `lines` lines of the log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    /// All diagnostics for a failing test. It succeeds even if Envoy has exited.
    pub async fn report(&self) -> String {
        let running = if self.is_running() { "running" } else { "NOT RUNNING" };
        let config =
            std::fs::read_to_string(self.files.config()).unwrap_or_else(|error| error.to_string());
        let stats = match self.stats(INTERESTING).await {
            Ok(stats) => nonzero(&stats),
            Err(error) => format!("{error:#}"),
        };
        format!(
            "=== Envoy {} ({running}), admin {} ===\n--- configuration ---\n{}\n--- nonzero statistics ---\n{}\n\
             --- log ---\n{}\n===",
            self.pid,
            self.admin_addr(),
            config.trim_end(),
            stats,
            self.log_tail(MAX_LOG_LINES),
        )
    }
}

fn nonzero(stats: &BTreeMap<String, i64>) -> String {
    let lines: Vec<String> = stats
        .iter()
        .filter(|(name, value)| **value != 0 && !name.starts_with("http.admin."))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let mut text = lines.get(..MAX_STATS).unwrap_or(&lines).join("\n");
    if lines.len() > MAX_STATS {
        text.push_str(&format!("\n… and {} more", lines.len() - MAX_STATS));
    }
    text
}
