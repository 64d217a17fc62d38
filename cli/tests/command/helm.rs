//! `render helm`: the files of the chart. `tests/tests/mesh/` has the real helm.

use super::*;

const OPTIONS: [&str; 6] = [
    "--gateway",
    "istio-ingress/gateway",
    "--host",
    "predictor.example.com",
    "--namespace",
    "models",
];

#[test]
fn the_chart_has_the_file_as_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("chart");
    let out = out.to_str().unwrap();
    let render = |more: &[&str]| {
        run(&[&["render", "helm", "simple.yaml", "--out", out], &OPTIONS[..], more].concat(), b"")
    };
    let output = render(&["--sha256", &"0a".repeat(32)]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let read =
        |file: &str| std::fs::read_to_string(folder.path().join("chart").join(file)).unwrap();
    let values: serde_json::Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let kept: serde_json::Value = serde_saphyr::from_str(&read("experiment.yaml")).unwrap();
    let file: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(data().join("simple.yaml")).unwrap())
            .unwrap();
    assert_eq!(kept, file);
    assert_eq!(values["image"]["sha256"], "0a".repeat(32));
    let schema: serde_json::Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    let own = json(&["schema"], b"");
    assert_eq!(schema["properties"]["experiments"], own["properties"]["experiments"]);
    assert_eq!(schema["properties"]["settings"], own["properties"]["settings"]);
    let template = read("templates/manifests.yaml");
    for action in [
        "pluginConfig:\n    {{- include \"sidetrack.configuration\" . | nindent 4 }}",
        "url: {{ .Values.image.url | quote }}",
        "{{- with .Values.image.sha256 }}",
        "{{- with .Values.labels }}",
    ] {
        assert!(template.contains(action), "{action}\n{template}");
    }
    assert!(!template.contains("sidetrack-mark"), "{template}");
    // A file of somebody else is not replaced.
    let again = render(&["--url", "oci://other/image:1"]);
    assert_eq!(code(&again), 2, "{}", stdout(&again));
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
}

#[test]
fn what_cannot_work_is_refused() {
    for (options, words) in [
        (&["--route", "envoyfilter", "--port", "80"][..], "--route envoyfilter"),
        (&["--chart-version", "1.2"], "must be a version such as 1.2.3"),
    ] {
        let output =
            run(&[&["render", "helm", "simple.yaml"], &OPTIONS[..], options].concat(), b"");
        assert_eq!(code(&output), 2, "{}", stdout(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
