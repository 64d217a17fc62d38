//! What `render` refuses.

use super::*;

#[test]
fn failover_and_a_changed_path_exclude_each_other() {
    let text = std::fs::read_to_string(data().join("simple.yaml")).unwrap();
    let changed = text.replace("weight: 30", "weight: 30, path: {replace_prefix: [/a, /b]}");
    let render = |text: &str, options: &[&str]| {
        let arguments = [&["render", "envoy", "-", "--wasm", "sidetrack.wasm"], options].concat();
        run(&arguments, text.as_bytes())
    };
    assert_eq!(code(&render(&text, &["--failover"])), 0);
    assert_eq!(code(&render(&changed, &[])), 0);
    let refused = render(&changed, &["--failover"]);
    assert_eq!((code(&refused), stdout(&refused)), (1, ""));
    assert!(
        stderr(&refused).contains("--failover: new of forecast has a `path`"),
        "{}",
        stderr(&refused)
    );
}
