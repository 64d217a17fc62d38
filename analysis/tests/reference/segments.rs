//! The results by segment beside those of the reference.

use serde_json::Value;

use super::{agree, by_variant};

/// Results by segment.
pub(crate) fn segmented(found: &Value, want: &Value, name: &str) {
    let empty = Vec::new();
    let want = want.as_array().unwrap_or(&empty);
    assert_eq!(found.as_array().unwrap().len(), want.len(), "{name}");
    for (found, want) in found.as_array().unwrap().iter().zip(want) {
        let place = format!("{name}: by {}", want["dimension"]);
        for (key, wanted) in
            [("dimension", "dimension"), ("values", "values"), ("recorded_later", "later")]
        {
            agree(&found[key], &want[wanted], &format!("{place}: {key}"));
        }
        let rows = found["segments"].as_array().unwrap().iter().map(|row| {
            serde_json::json!({
                "value": row["value"], "kind": row["kind"], "units": by_variant(&row["units"]),
                "split": row["split_p_value"], "split_adjusted": row["split_p_adjusted"],
            })
        });
        fields(&rows.collect(), &want["segments"], &format!("{place}: segments"));
        for metric in found["metrics"].as_array().unwrap() {
            let place = format!("{place}: {}", metric["name"]);
            let want = &want["metrics"][metric["name"].as_str().unwrap()];
            let cells = metric["segments"].as_array().unwrap().iter().map(|segment| {
                let of = |it: &Value| {
                    serde_json::json!({
                        "diff": it["diff"], "ci": it["ci"], "lift": it["relative_lift"],
                        "lift_ci": it["relative_lift_ci"], "p": it["p_value"],
                        "p_adjusted": it["p_adjusted"],
                    })
                };
                segment["candidates"].as_array().unwrap().iter().map(of).collect::<Value>()
            });
            fields(&cells.collect(), &want["segments"], &place);
            let candidates = metric["candidates"].as_array().unwrap().iter().map(|it| {
                serde_json::json!({
                    "statistic": it["statistic"], "df": it["df"], "p": it["p_value"],
                    "p_adjusted": it["p_adjusted"], "merged": it["merged_diff"],
                    "merged_ci": it["merged_ci"], "disagrees": it["disagrees"],
                })
            });
            fields(&candidates.collect(), &want["candidates"], &place);
        }
        let metrics = found["metrics"].as_array().unwrap().len();
        assert_eq!(metrics, want["metrics"].as_object().unwrap().len(), "{place}");
    }
}

/// Asserts that the fields which are found agree, in lists of any depth.
fn fields(found: &Value, want: &Value, place: &str) {
    match found {
        Value::Array(all) => {
            assert_eq!(all.len(), want.as_array().unwrap().len(), "{place}");
            for (index, (found, want)) in all.iter().zip(want.as_array().unwrap()).enumerate() {
                fields(found, want, &format!("{place}[{index}]"));
            }
        }
        _ => {
            for (key, found) in found.as_object().unwrap() {
                agree(found, &want[key], &format!("{place}: {key}"));
            }
        }
    }
}
