//! The core against a second implementation in Python: the draw, and who gets which variant.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on may stop")]
#![expect(clippy::disallowed_types, reason = "the other implementation is a Python program")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sidetrack::config;
use sidetrack::decide::{Gate, Outcome, Reason, World, decide};
use sidetrack::draw::{Draw, Purpose};
use sidetrack::plan::Plan;
use sidetrack::quantity::Timestamp;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn python(script: &str) -> Command {
    let mut python = Command::new("python3");
    python.arg("-B").arg(golden(script));
    python
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_vectors_are_what_the_script_writes() {
    let run = python("draw.py").arg("--check").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn every_draw_is_the_one_of_the_vectors() {
    let text = std::fs::read_to_string(golden("draw.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(vectors.len() >= 300, "only {} vectors", vectors.len());
    for vector in &vectors {
        let purpose = match vector["purpose"].as_str().unwrap() {
            "arm1" => Purpose::Arm,
            "layer1" => Purpose::Layer,
            "mirror1" => Purpose::Mirror,
            "probe1" => Purpose::Probe,
            "exposure1" => Purpose::Exposure,
            other => panic!("unknown purpose {other}"),
        };
        let draw = Draw::new(purpose, vector["salt"].as_str().unwrap());
        let unit = bytes(vector["unit"].as_str().unwrap());
        assert_eq!(
            format!("{:016x}", draw.draw(&unit)),
            vector["draw"].as_str().unwrap(),
            "{vector}"
        );
        assert_eq!(
            u64::from(draw.bucket(&unit).get()),
            vector["bucket"].as_u64().unwrap(),
            "{vector}"
        );
    }
}

/// A plan draws everything that it draws for its own purpose, and the layer from the layer's name.
#[test]
fn a_plan_draws_each_thing_for_its_purpose() {
    let text = std::fs::read_to_string(golden("draw.json")).unwrap();
    let vectors: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut checked = [0_u32; 5];
    for vector in &vectors {
        let salt = vector["salt"].as_str().unwrap();
        let purpose = vector["purpose"].as_str().unwrap();
        let is_name =
            salt.len() <= 63 && salt.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if purpose == "layer1" && !is_name {
            continue;
        }
        let (own, layer) = if purpose == "layer1" { ("another", salt) } else { (salt, "another") };
        let file = json!({"experiments": [{
            "name": "golden", "salt": own, "unit": [{"header": "x-user-id"}], "baseline": "old",
            "variants": [{"name": "old"}, {"name": "new", "weight": 30}],
            "layer": {"name": layer, "from": 0, "to": 50}, "mirror": {"cluster": "shadow"},
        }]});
        let plan = config::parse_json(file.to_string().as_bytes()).unwrap();
        let experiment = plan.experiments.first().unwrap();
        let (number, draw) = match purpose {
            "arm1" => (0, &experiment.arm),
            "layer1" => (1, &experiment.layer.as_ref().unwrap().draw),
            "mirror1" => (2, &experiment.mirror.as_ref().unwrap().draw),
            "probe1" => (3, &experiment.probe),
            "exposure1" => (4, &experiment.exposure),
            other => panic!("unknown purpose {other}"),
        };
        let unit = bytes(vector["unit"].as_str().unwrap());
        assert_eq!(
            format!("{:016x}", draw.draw(&unit)),
            vector["draw"].as_str().unwrap(),
            "{vector}"
        );
        checked[number] += 1;
    }
    assert!(checked.iter().all(|&count| count >= 30), "{checked:?}");
}

/// Made by `hashlib.sha256(b"exposure1\0financial-2026-11\x004711").hexdigest()[:32]`.
#[test]
fn the_pseudonym_in_the_access_log_is_half_a_digest() {
    let draw = Draw::new(Purpose::Exposure, "financial-2026-11");
    assert_eq!(draw.pseudonym(b"4711"), "16a6ad3f82c8485f8bde5936af2c9ff6");
}

/// 10 000 units of the kinds that people use, and of some that they should not.
fn units() -> Vec<Vec<u8>> {
    (0..10_000_u64)
        .map(|n| {
            let scrambled = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match n % 8 {
                0 => n.to_string().into_bytes(),
                1 => format!("user-{n:08}").into_bytes(),
                2 => format!("{scrambled:016x}-{n:04x}").into_bytes(),
                3 => format!("person.{n}@example.com").into_bytes(),
                4 => format!("Zoë 用户 {n}").into_bytes(),
                5 => format!("a \"quoted\", {n}").into_bytes(),
                6 => [&[0xff, 0xfe, 0x80][..], n.to_string().as_bytes()].concat(),
                _ => [format!("{n}\0").as_bytes(), &[b'x'; 100]].concat(),
            }
        })
        .collect()
}

/// What the core decides for each unit, as `sidetrack assign` writes it.
fn by_the_core(plan: &Plan, units: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let experiment = plan.experiments.first().unwrap();
    let mut lines = vec![b"unit,bucket,variant,phase".to_vec()];
    for unit in units {
        let request = vec![("x-user-id", unit.as_slice())];
        let entropy = || -> u64 { panic!("a hash needs no randomness") };
        let mut world = World { now: Timestamp::new(0), entropy, gate: &|_, _| Gate::Closed };
        let Outcome::Decided(decision) = decide(plan, &request, &mut world, &mut ()) else {
            panic!("no decision for {unit:?}")
        };
        assert_eq!((decision.reason, decision.served), (Reason::Hash, decision.assigned));
        let quote = unit.iter().any(|byte| b",\"\r\n".contains(byte));
        let field = if quote {
            let doubled: Vec<u8> = unit
                .iter()
                .flat_map(|&b| std::iter::repeat_n(b, 1 + usize::from(b == b'"')))
                .collect();
            [&b"\""[..], &doubled, b"\""].concat()
        } else {
            unit.clone()
        };
        let variant = &experiment.variants[decision.assigned].name;
        let rest = format!(",{},{variant},", decision.bucket.unwrap());
        lines.push([field, rest.into_bytes()].concat());
    }
    lines
}

#[test]
fn ten_thousand_units_get_the_same_variants_from_both_implementations() {
    let plan = config::parse_json(&std::fs::read(golden("assign.json")).unwrap()).unwrap();
    let units = units();
    let mut stdin = tempfile::NamedTempFile::new().unwrap();
    stdin.write_all(&units.join(&b'\n')).unwrap();
    let run = python("assign.py")
        .arg(golden("assign.json"))
        .stdin(File::open(stdin.path()).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(run.status.success());
    let ours = by_the_core(&plan, &units);
    let theirs: Vec<&[u8]> =
        run.stdout.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n').collect();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
    }
    for variant in ["model-0", "model-a", "model-b"] {
        let name = format!(",{variant},");
        let some =
            ours.iter().any(|line| line.windows(name.len()).any(|part| part == name.as_bytes()));
        assert!(some, "nobody got {variant}: the comparison would prove nothing");
    }
}
