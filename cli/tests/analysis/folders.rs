//! `--exposures FOLDER`: the access logs in it.

use std::io::Write;

use serde_json::Value;

use crate::Folder;
use crate::crowd::{BASELINE, Crowd, experiment};
use crate::truth::{SIMPLE, folder};

fn analysis(folder: &Folder, exposures: &[&str]) -> Value {
    let run = ["analyze", "run", "experiment.json", "--json", "--exposures"];
    let (_, text, error) = folder.text(&[&run[..], exposures].concat());
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{error}"))
}

#[test]
fn a_folder_stands_for_the_access_logs_in_it() {
    let written = Crowd::new(1500, vec![BASELINE, BASELINE]).write(&experiment(SIMPLE), false);
    let folder = folder(SIMPLE, &written);
    let wanted = analysis(&folder, &["access.log"]);
    let lines: Vec<&str> = written.log.split_inclusive('\n').collect();
    let part = |part: usize| lines.chunks(lines.len().div_ceil(4)).nth(part).unwrap().concat();
    folder.write("access.log", part(3));
    folder.write("access.log.1", part(2));
    folder.write("access.log-20261123", part(1));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(part(0).as_bytes()).unwrap();
    folder.write("access.log.2.gz", gzip.finish().unwrap());
    // Neither is read: a hidden file, and a folder with a log's name.
    folder.write(".access.log.swp", "swapped");
    std::fs::create_dir(folder.path().join("old.log")).unwrap();
    folder.write("old.log/access.log", &written.log);
    let found = analysis(&folder, &["."]);
    assert_eq!(found["lines"], wanted["lines"]);
    assert_eq!((&found["variants"], &found["srm"]), (&wanted["variants"], &wanted["srm"]));
    // A pattern that no shell has expanded.
    assert_eq!(analysis(&folder, &["access.lo[g]*"])["lines"], wanted["lines"]);
    // With other paths beside it, and by its path from elsewhere.
    std::fs::rename(folder.path().join("access.log.1"), folder.path().join("moved")).unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(analysis(&folder, &["moved", path])["lines"], wanted["lines"]);
    let (code, _, error) =
        folder.text(&["analyze", "run", "experiment.json", "--exposures", ".", "access.log"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("access.log: the file is given twice"), "{error}");
}

#[test]
fn a_folder_without_logs_is_a_mistake() {
    let folder = Folder::new();
    folder.write("experiment.json", SIMPLE);
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let error = || {
        let run = ["analyze", "run", "experiment.json", "--exposures", "logs"];
        let (code, _, error) = folder.text(&run);
        assert_eq!(code, 1, "{error}");
        error
    };
    let start = "error: --exposures logs: the folder has no access log, a file with .log in its name, and no .parquet file; ";
    assert_eq!(error(), format!("{start}it is empty\n"));
    for name in ["d.csv", "a.txt", "c.csv", "b.json"] {
        folder.write(&format!("logs/{name}"), "");
    }
    assert_eq!(error(), format!("{start}it contains a.txt, b.json, c.csv, …\n"));
}
