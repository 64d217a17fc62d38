//! The node: namespaces of this process for networks, mounts, users and processes, and its network.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// Set in the namespaces.
const INSIDE: &str = "SIDETRACK_MESH_NODE";
/// State of all parts. In memory, and private.
pub(super) const FOLDER: &str = "/var/lib/sidetrack-mesh";
/// The address of the control plane.
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The addresses of Services.
pub(super) const SERVICES: &str = "10.96.0.0/16";

/// The first command in the namespaces. The agent keeps its modules in /var/lib/istio, which is not configurable. So a
/// folder in memory, which shows what was there, replaces /var/lib.
const SETUP: &str = r#"set -e
ip link set lo up
there=$PWD
cd /var/lib
mount -t tmpfs tmpfs /var/lib
# The working directory is still the old folder; -c: not the new one of the same name.
for name in *; do
    if [ -d "$name" ]; then
        mkdir "/var/lib/$name"
        mount -c --rbind "./$name" "/var/lib/$name"
    fi
done
cd "$there"
mkdir -p /var/lib/istio /var/lib/sidetrack-mesh
ip addr add 10.244.0.1/32 dev lo
# Pods reach each other by way of the node.
echo 1 > /proc/sys/net/ipv4/ip_forward
# Not exec: the first process of the namespace would ignore Ctrl-C.
"$@"
exit $?
"#;

/// Restarts this process in the namespaces, unless it is there.
pub(super) fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    for tool in ["ip", "mount"] {
        let found =
            Command::new(tool).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ensure!(
            found.is_ok_and(|status| status.success()),
            "`{tool}` is missing: install iproute2 and util-linux"
        );
    }
    let mut why = String::new();
    // A user namespace needs no rights, but some machines forbid it; then root works without.
    for user in [Some("--map-root-user"), None] {
        let mut unshare = Command::new("unshare");
        unshare.args(user).args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ]);
        let mut probe = clone(&unshare);
        let output = probe.args(["sh", "-c", SETUP, "sh", "true"]).stdin(Stdio::null()).output();
        let output = output.context("starting unshare (util-linux)")?;
        if output.status.success() {
            let program = std::env::current_exe()?;
            unshare.args(["sh", "-c", SETUP, "sh"]).arg(program).args(std::env::args_os().skip(1));
            return Err(unshare.env(INSIDE, "1").exec()).context("starting unshare");
        }
        why.push_str(&format!("{unshare:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    bail!(
        "this machine allows neither user namespaces nor, to this user, namespaces for networks and mounts:\n{why}"
    )
}

fn clone(command: &Command) -> Command {
    let mut clone = Command::new(command.get_program());
    clone.args(command.get_args());
    clone
}

/// Runs `ip` with these words.
pub(super) fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
