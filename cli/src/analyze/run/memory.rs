//! `--memory` and `--temp`: how much memory the units may take, and where the rest goes.

use std::fs;
use std::path::PathBuf;

use clap::Args as Arguments;
use sidetrack_analysis::Spill;

/// If the memory of the machine is unknown.
const UNKNOWN: u64 = 1 << 30;

/// The memory for units.
#[derive(Arguments)]
pub(super) struct MemoryArgs {
    /// Memory for units, as in 1GiB; what does not fit goes to temporary files, and the result is the
    /// same [default: half of the machine's or the container's]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// The folder for temporary files [default: the system's]
    #[arg(long, value_name = "DIR")]
    temp: Option<PathBuf>,
}

impl MemoryArgs {
    /// When units go to temporary files, and where.
    pub(super) fn spill(&self) -> Spill {
        spill_into(
            self.memory.unwrap_or_else(default),
            self.temp.clone().unwrap_or_else(std::env::temp_dir),
        )
    }
}

/// The same without options.
pub(super) fn spill() -> Spill {
    spill_into(default(), std::env::temp_dir())
}

/// Files without names (on Unix), so they are gone when the command ends, however it ends.
fn spill_into(memory: u64, folder: PathBuf) -> Spill {
    let name = folder.display().to_string();
    Spill::new(memory, name, move || tempfile::tempfile_in(&folder))
}

/// The memory for units without the option.
fn default() -> u64 {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    half(&text("/proc/meminfo"), &limits.map(text)).unwrap_or(UNKNOWN)
}

/// Half of the memory that there is, by `/proc/meminfo` and the limits of the control group, in bytes.
fn half(meminfo: &str, limits: &[String]) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|total| total.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let total = total.and_then(|total| total.checked_mul(1024));
    let limits = limits.iter().filter_map(|limit| limit.trim().parse::<u64>().ok());
    total.into_iter().chain(limits).min().map(|least| least / 2)
}

/// Reads a size in bytes.
fn size(text: &str) -> Result<u64, String> {
    let large = text.strip_suffix("GiB").and_then(|number| number.parse::<u64>().ok());
    let large = large.and_then(|number| number.checked_mul(1 << 30));
    let size = large.or_else(|| sidetrack::quantity::bytes(text)).filter(|size| *size > 0);
    size.ok_or_else(|| {
        "not a size; expected a whole number with MiB or GiB, as in 512MiB or 4GiB".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_the_machine_and_the_container_have() {
        let of = |meminfo: &str, limits: &[&str]| {
            half(meminfo, &limits.iter().map(|limit| (*limit).to_owned()).collect::<Vec<_>>())
        };
        let machine = "MemTotal:       16000000 kB\nMemFree:         1000 kB\n";
        assert_eq!(of(machine, &["", ""]), Some(8_192_000_000));
        assert_eq!(of(machine, &["max\n", ""]), Some(8_192_000_000));
        assert_eq!(of(machine, &["1073741824\n", ""]), Some(1 << 29));
        assert_eq!(of(machine, &["", "9223372036854771712\n"]), Some(8_192_000_000));
        assert_eq!(of("", &["", ""]), None);
    }

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!((size("1GiB"), size("512MiB")), (Ok(1 << 30), Ok(1 << 29)));
        for bad in ["", "1", "GiB", "1GB", "-1GiB", "0MiB", "1.5GiB", "99999999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
