use super::*;

fn edited(text: &str, change: impl FnOnce(&mut Draft<'_>)) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(if text.starts_with('{') { "file.json" } else { "file.yaml" });
    std::fs::write(&path, text).unwrap();
    let source = Source::read(&path).unwrap();
    let loaded = source.good().unwrap();
    let mut draft = Draft::new(&source, &loaded).unwrap();
    change(&mut draft);
    draft.finish().map(|edited| edited.text).map_err(|error| error.to_string())
}

fn number(number: &str) -> Node {
    Node::Number(number.to_owned())
}

const BLOCK: &str = "\
# ä test
experiments:
  - name: e          # the name
    unit: [{header: u}]
    baseline: old    # for now
    variants:
      - name: old
        cluster: one
      - name: new    # 'quoted': here
        weight: 30   # percent
        reserve: 50
        cluster: two
";

#[test]
fn a_number_is_replaced_and_all_else_stays() {
    let text = edited(BLOCK, |draft| {
        draft.set("experiments[0].variants[1]", "weight", &number("12.5"), "name");
    });
    assert_eq!(text.unwrap(), BLOCK.replace("weight: 30", "weight: 12.5"));
}

#[test]
fn a_key_is_added_below_another_one_and_a_removed_one_with_a_comment_becomes_one() {
    let text = edited(BLOCK, |draft| {
        draft.set("experiments[0].variants[0]", "weight", &number("0"), "name");
        draft.remove("experiments[0].variants[1]", "weight");
        draft.remove("experiments[0].variants[1]", "reserve");
        draft.set("experiments[0]", "baseline", &Node::Text("new".to_owned()), "name");
        draft.set("experiments[0]", "salt", &Node::Text("e 2".to_owned()), "name");
    });
    let expected = BLOCK
        .replace("- name: old\n", "- name: old\n        weight: 0\n")
        .replace(
            "        weight: 30   # percent\n        reserve: 50\n",
            "        # weight: 30   # percent\n",
        )
        .replace("baseline: old", "baseline: new")
        .replace("# the name\n", "# the name\n    salt: \"e 2\"\n");
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn a_key_moves_with_the_comment_behind_it() {
    let shift = |file: &str| {
        edited(file, |draft| {
            let [old, new] = [0, 1].map(|at| format!("experiments[0].variants[{at}]"));
            draft.shift("weight", &new, &old, &number("0"), "name");
            draft.remove(&new, "reserve");
            draft.set("experiments[0]", "baseline", &Node::Text("new".to_owned()), "name");
        })
    };
    let rest = |file: &str| {
        file.replace("        weight: 30   # percent\n        reserve: 50\n", "")
            .replace("baseline: old", "baseline: new")
    };
    let expected =
        rest(BLOCK).replace("- name: old\n", "- name: old\n        weight: 0  # percent\n");
    assert_eq!(shift(BLOCK).unwrap(), expected);
    // In flow style, the comment goes behind the line, or behind what is there.
    for (old, then) in [
        ("- {name: old, cluster: one}\n", "- {name: old, weight: 0, cluster: one}  # percent\n"),
        ("- {name: old} # now\n", "- {name: old, weight: 0} # now; percent\n"),
    ] {
        let file = BLOCK.replace("- name: old\n        cluster: one\n", old);
        let file = file.replace("        cluster: two\n", "");
        let file = if old.contains("cluster") {
            file.replace("reserve: 50\n", "reserve: 50\n        cluster: two\n")
        } else {
            file
        };
        assert_eq!(shift(&file).unwrap(), rest(&file).replace(old, then));
    }
    // Nothing to move: the value is set.
    let file = BLOCK.replace("   # percent", "");
    assert_eq!(shift(&file).unwrap(), expected.replace("  # percent", ""));
}

#[test]
fn flow_style_and_json_are_edited_as_well() {
    let flow = "experiments: [{name: e, unit: [{header: u}], baseline: old, variants: [{name: old}, \
                {name: new, weight: 30, cluster: x}]}]\n";
    let flow = flow.replace("{name: old}", "{name: old, cluster: y}");
    let text = edited(&flow, |draft| {
        draft.remove("experiments[0].variants[1]", "weight");
        draft.set("experiments[0].variants[0]", "weight", &number("0"), "name");
        draft.set("experiments[0]", "baseline", &Node::Text("new".to_owned()), "name");
    });
    let expected = flow
        .replace("{name: new, weight: 30, cluster: x}", "{name: new, cluster: x}")
        .replace("{name: old, cluster: y}", "{name: old, weight: 0, cluster: y}")
        .replace("baseline: old", "baseline: new");
    assert_eq!(text.unwrap(), expected);
    let json = r#"{"experiments": [{
  "name": "e", "unit": [{"header": "u"}],
  "baseline": "old",
  "variants": [{"name": "old"}, {"weight": 30, "name": "new"}]}]}
"#;
    let text = edited(json, |draft| {
        draft.set("experiments[0].variants[1]", "weight", &number("40"), "name");
        draft.set("experiments[0]", "salt", &Node::Text("two".to_owned()), "name");
    });
    let expected = json
        .replace("\"weight\": 30", "\"weight\": 40")
        .replace("\"name\": \"e\"", "\"name\": \"e\", \"salt\": \"two\"");
    assert_eq!(text.unwrap(), expected);
}

#[test]
fn lines_with_crlf_stay_so() {
    let text = BLOCK.replace('\n', "\r\n");
    let new = edited(&text, |draft| {
        draft.set("experiments[0].variants[1]", "weight", &number("31"), "name");
    });
    assert_eq!(new.unwrap(), text.replace("weight: 30", "weight: 31"));
}

#[test]
fn what_cannot_be_edited_is_an_error_and_never_another_file() {
    let shared =
        BLOCK.replace("cluster: one", "cluster: &c one").replace("cluster: two", "cluster: *c");
    let error = edited(&shared, |draft| {
        draft.set("experiments[0].variants[1]", "cluster", &Node::Text("two".to_owned()), "name");
    });
    assert!(error.unwrap_err().contains("cannot be edited in place"));
    // The problems of the intended file come first.
    let error = edited(BLOCK, |draft| {
        draft.set("experiments[0].variants[1]", "weight", &number("60"), "name");
    });
    assert!(error.unwrap_err().contains("reserve-too-small"));
}

#[test]
fn a_block_becomes_a_comment_with_all_its_lines() {
    let text = format!(
        "{BLOCK}    analysis:\n      metrics: [accuracy]\n      # Raised by evidence.\n      steps:\n      - {{weight: 5, min_for: 1d}}\n\n      - weight: 30\n        min_for: 7d\n      guardrails: [error_rate:0.5pt]\n"
    );
    let new = edited(&text, |draft| {
        draft.comment_out("experiments[0].analysis", "steps", "Done.");
    });
    let expected = text.replace("      # Raised by evidence.\n      steps:\n      - {weight: 5, min_for: 1d}\n\n      - weight: 30\n        min_for: 7d\n",
        "      # Done.\n      # Raised by evidence.\n      # steps:\n      # - {weight: 5, min_for: 1d}\n\n      # - weight: 30\n      #   min_for: 7d\n");
    assert_eq!(new.unwrap(), expected);
}
