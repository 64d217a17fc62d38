//! docs/analysis.md describes every option of `analyze run`.

use crate::Folder;

#[test]
fn each_option_has_a_row_in_the_docs() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/analysis.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, rest) = docs.split_once("\n## Options\n").unwrap();
    let (table, _) = rest.split_once("\n## ").unwrap();
    let (code, help, _) = Folder::new().text(&["analyze", "run", "--help"]);
    assert_eq!(code, 0);
    let options: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches([',', '.', ')', ':']))
        .collect();
    assert!(options.len() > 15, "{help}");
    let inputs = ["--exposures", "--outcomes", "--help"];
    for option in options.iter().filter(|option| !inputs.contains(*option)) {
        assert!(table.contains(&format!("`{option}`")), "{option} is not in the table");
    }
    for input in &inputs[..2] {
        assert!(docs.contains(&format!("(`{input}`)")), "{input}");
    }
}
