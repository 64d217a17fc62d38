//! Runs, which store analyses.
//!
//! A run is written in several steps, and the server or the command may fail after any of them. So a
//! run is found again by the digest of its analysis, and repeated steps add no duplicates: MLflow keeps
//! one value of a metric per time and step, accepts equal parameters, and replaces tags and files.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, refused};
use crate::fault::Fault;
use crate::words::visible;

/// The tag with the digest of the analysis.
pub(crate) const DIGEST: &str = "ab_test.analysis_sha256";
/// What one call may carry: 1000 metrics, 100 parameters, 100 tags.
const METRICS: usize = 1000;
const PARAMS: usize = 100;

/// An experiment of MLflow's, which is a folder of runs.
#[derive(Deserialize)]
pub(crate) struct Folder {
    pub(crate) experiment_id: String,
    #[serde(default)]
    lifecycle_stage: String,
}

/// A run.
#[derive(Deserialize)]
pub(crate) struct Run {
    pub(crate) info: Info,
}

#[derive(Deserialize)]
pub(crate) struct Info {
    pub(crate) run_id: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    artifact_uri: String,
}

impl Run {
    pub(crate) fn finished(&self) -> bool {
        self.info.status == "FINISHED"
    }
}

/// The contents of a run.
pub(crate) struct Record {
    pub(crate) name: String,
    /// In milliseconds, as all times here.
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) metrics: Vec<(String, f64)>,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) tags: Vec<(String, String)>,
}

impl Client {
    /// The folder of this name, if there is one.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<Option<Folder>> {
        #[derive(Deserialize)]
        struct Found {
            experiment: Folder,
        }
        let found = match self.get("experiments/get-by-name", &[("experiment_name", name)]) {
            Ok(Found { experiment }) => experiment,
            Err(error) if refused(&error, &["RESOURCE_DOES_NOT_EXIST"]) => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.lifecycle_stage == "deleted" {
            let text = format!(
                "the MLflow experiment {} is deleted\n  \
                 hint: restore it, or choose another with --experiment",
                visible(name)
            );
            return Err(Fault(text).into());
        }
        Ok(Some(found))
    }

    /// The folder of this name, created if missing.
    pub(crate) fn folder_or_new(&self, name: &str) -> anyhow::Result<Folder> {
        if let Some(folder) = self.folder(name)? {
            return Ok(folder);
        }
        match self.post("experiments/create", &json!({"name": name})) {
            // Another client has created it in the meantime.
            Err(error) if refused(&error, &["RESOURCE_ALREADY_EXISTS"]) => {
                self.folder(name)?.with_context(|| {
                    format!(
                        "the MLflow experiment {} was created and deleted at the same time",
                        visible(name)
                    )
                })
            }
            made => made,
        }
    }

    /// The first run with this tag, if there is one.
    pub(crate) fn run_with(
        &self,
        folder: &Folder,
        tag: &str,
        value: &str,
    ) -> anyhow::Result<Option<Run>> {
        self.found(folder, &format!("tags.`{tag}` = '{value}'"))
    }

    /// The same, of the runs that are not finished.
    pub(crate) fn unfinished_run_with(
        &self,
        folder: &Folder,
        tag: &str,
        value: &str,
    ) -> anyhow::Result<Option<Run>> {
        let filter = format!("tags.`{tag}` = '{value}' AND attributes.status = 'RUNNING'");
        self.found(folder, &filter)
    }

    fn found(&self, folder: &Folder, filter: &str) -> anyhow::Result<Option<Run>> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            runs: Vec<Run>,
        }
        let search = json!({
            "experiment_ids": [folder.experiment_id],
            "filter": filter,
            "order_by": ["attributes.start_time ASC"],
            "max_results": 1,
        });
        let Found { runs } = self.post("runs/search", &search)?;
        Ok(runs.into_iter().next())
    }

    /// A new run, which so far contains only the tags by which it is found again.
    pub(crate) fn new_run(
        &self,
        folder: &Folder,
        record: &Record,
        tags: &[(&str, &str)],
    ) -> anyhow::Result<Run> {
        #[derive(Deserialize)]
        struct Made {
            run: Run,
        }
        let tag = |(key, value): &(&str, &str)| json!({"key": key, "value": value});
        let body = json!({
            "experiment_id": folder.experiment_id,
            "run_name": record.name,
            "start_time": record.from,
            "tags": tags.iter().map(tag).collect::<Vec<_>>(),
        });
        self.post("runs/create", &body).map(|Made { run }| run)
    }

    /// Deletes a run. MLflow keeps it in its bin.
    pub(crate) fn delete_run(&self, run: &Run) -> anyhow::Result<()> {
        self.post::<Value>("runs/delete", &json!({"run_id": run.info.run_id})).map(|_| ())
    }

    /// Writes everything but the files.
    pub(crate) fn write(&self, run: &Run, record: &Record) -> anyhow::Result<()> {
        let pairs = |pairs: &[(String, String)]| -> Vec<Value> {
            pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        let metric = |(key, value): &(String, f64)| json!({"key": key, "value": value, "timestamp": record.to, "step": 0});
        let metrics: Vec<Value> = record.metrics.iter().map(metric).collect();
        let batches = metrics.chunks(METRICS).map(|some| ("metrics", some));
        let (params, tags) = (pairs(&record.params), pairs(&record.tags));
        let batches = batches.chain(params.chunks(PARAMS).map(|some| ("params", some)));
        for (kind, some) in batches.chain(tags.chunks(PARAMS).map(|some| ("tags", some))) {
            self.post::<Value>("runs/log-batch", &json!({"run_id": run.info.run_id, kind: some}))?;
        }
        Ok(())
    }

    /// Stores a file with the run. `false` when its files are not kept by the server, so that only MLflow's own client
    /// with access to the store could write them.
    pub(crate) fn store(&self, run: &Run, name: &str, content: &[u8]) -> anyhow::Result<bool> {
        let Some(place) = run.info.artifact_uri.strip_prefix("mlflow-artifacts:") else {
            return Ok(false);
        };
        // With a host (mlflow-artifacts://host/1/…) it names the server once more.
        let path = place
            .strip_prefix("//")
            .map_or(place, |rest| rest.split_once('/').map_or("", |(_, path)| path));
        self.put(&format!("{}/{name}", path.trim_matches('/')), content)?;
        Ok(true)
    }

    /// Marks a run as complete.
    pub(crate) fn finish(&self, run: &Run, to: u64) -> anyhow::Result<()> {
        let body = json!({"run_id": run.info.run_id, "status": "FINISHED", "end_time": to});
        self.post::<Value>("runs/update", &body).map(|_| ())
    }
}
