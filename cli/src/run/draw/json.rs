//! One JSON object per line. The key `event` says what it is: `started`, `state`, or one of the events.

use serde_json::json;

use super::State;
use crate::moment;
use crate::run::folder::Folder;
use crate::run::follow::Follower;
use crate::run::supervise::Supervisor;

pub(super) fn started(
    follower: &Follower,
    supervisor: &Supervisor,
    folder: &Folder,
    store: Option<&str>,
) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&json!({
        "at": moment::now().to_string(),
        "event": "started",
        "file": follower.name(),
        "url": format!("http://{}", supervisor.addr),
        "admin": format!("http://{}", supervisor.admin),
        "envoy": supervisor.version,
        "pid": supervisor.envoy().map(sidetrack_lab::Envoy::pid),
        "exposures": folder.exposures(),
        "store": store,
    }))?)
}

pub(super) fn state(
    states: &[State],
    follower: &Follower,
    supervisor: &Supervisor,
    store_problem: Option<&str>,
) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&json!({
        "at": moment::now().to_string(),
        "event": "state",
        "config": follower.plan().hash.short(),
        "problem": follower.problem(),
        "running": supervisor.envoy().is_some(),
        "pid": supervisor.envoy().map(sidetrack_lab::Envoy::pid),
        "store_problem": store_problem,
        "experiments": states,
    }))?)
}
