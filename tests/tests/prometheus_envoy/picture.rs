use anyhow::Result;
use crate::dashboard::Dashboard;
pub(crate) fn draw(d: &Dashboard) -> Result<()> {
    let data = serde_json::json!({"dashboard": d.dashboard, "answers": d.answers, "annotations": d.annotations, "from": d.from, "to": d.to});
    std::fs::write("/tmp/obs/data.json", data.to_string())?;
    Ok(())
}
