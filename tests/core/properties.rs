//! What must hold for every experiment file and every unit: over random plans, and over a million units.
//!
//! The big runs use fixed ids, so they pass always or never. Their chi-square limit is the one that a fair draw
//! exceeds once in a million (z = 4.75).

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on may stop"
)]

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};
use sidetrack::config;
use sidetrack::decide::{Decision, Gate, Outcome, Reason, World, decide};
use sidetrack::draw::{Draw, Purpose};
use sidetrack::plan::Plan;
use sidetrack::quantity::{Bucket, Timestamp};

const BUCKETS: u32 = Bucket::COUNT;

// ---- Plans and how they are asked ------------------------------------------------------------------------------

/// A candidate: its name, the width of its span and its weight, in buckets.
#[derive(Clone, Debug)]
struct Candidate {
    name: String,
    width: u32,
    weight: u32,
}

/// Buckets as the percentage that a file would hold.
fn percent(buckets: u32) -> Value {
    json!(f64::from(buckets) / 10_000.0)
}

fn variants(candidates: &[Candidate]) -> Vec<Value> {
    let mut variants = vec![json!({"name": "0-baseline"})];
    variants.extend(candidates.iter().map(
        |c| json!({"name": c.name, "weight": percent(c.weight), "reserve": percent(c.width)}),
    ));
    variants
}

fn experiment(variants: Vec<Value>) -> Value {
    json!({
        "name": "property", "salt": "property-1", "unit": [{"header": "x-user-id"}],
        "baseline": "0-baseline", "variants": variants,
    })
}

fn plan(experiments: &[Value]) -> Plan {
    let file = json!({ "experiments": experiments }).to_string();
    config::parse_json(file.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{file}"))
}

fn plan_of(candidates: &[Candidate]) -> Plan {
    plan(&[experiment(variants(candidates))])
}

fn decision(plan: &Plan, headers: &[(&str, &[u8])], now: u64) -> Decision {
    let entropy = || -> u64 { panic!("a hash needs no randomness") };
    let mut world = World { now: Timestamp::new(now), entropy, gate: &|_, _| Gate::Closed };
    match decide(plan, &headers.to_vec(), &mut world, &mut ()) {
        Outcome::Decided(decision) => decision,
        other => panic!("{other:?}"),
    }
}

fn assigned_at<'p>(plan: &'p Plan, unit: &[u8], now: u64) -> &'p str {
    let decision = decision(plan, &[("x-user-id", unit)], now);
    &plan.experiments[decision.experiment].variants[decision.assigned].name
}

fn assigned<'p>(plan: &'p Plan, unit: &[u8]) -> &'p str {
    assigned_at(plan, unit, 0)
}

fn bucket(number: u32) -> Bucket {
    Bucket::new(number).unwrap()
}

// ---- Random plans ----------------------------------------------------------------------------------------------

/// One to five candidates whose spans fit into 100 percent.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let names = prop::collection::btree_set("[A-Za-z1-9._-]{1,12}", 1..=5);
    (names, prop::collection::vec(0..=BUCKETS, 5), prop::collection::vec(0..=100_u32, 5)).prop_map(
        |(names, mut cuts, parts)| {
            cuts.sort_unstable();
            let widths =
                cuts.iter().scan(0, |before, &cut| Some(cut - std::mem::replace(before, cut)));
            let candidate = |((name, width), part): ((String, u32), u32)| {
                let weight = u32::try_from(u64::from(width) * u64::from(part) / 100).unwrap();
                Candidate { name, width, weight }
            };
            names.into_iter().zip(widths).zip(parts).map(candidate).collect()
        },
    )
}

fn shuffled_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    candidates().prop_flat_map(|candidates| Just(candidates).prop_shuffle())
}

fn unit() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u64>().prop_map(|n| n.to_string().into_bytes()),
        "\\PC{1,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..100),
    ]
}

fn units() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(unit(), 100)
}

fn settings() -> ProptestConfig {
    ProptestConfig {
        cases: 100,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn reordering_the_variants_moves_nobody(
        (sorted, shuffled) in candidates().prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle())),
        baseline_at in 0..6_usize,
        units in units(),
    ) {
        let one = plan_of(&sorted);
        let mut reordered = variants(&shuffled);
        let baseline = reordered.remove(0);
        reordered.insert(baseline_at.min(reordered.len()), baseline);
        let other = plan(&[experiment(reordered)]);
        for unit in &units {
            prop_assert_eq!(assigned(&one, unit), assigned(&other, unit));
        }
    }

    #[test]
    fn a_weight_within_its_span_moves_units_only_between_that_candidate_and_the_baseline(
        before in shuffled_candidates(), which in any::<prop::sample::Index>(), part in 0..=100_u32,
        units in units(),
    ) {
        let mut after = before.clone();
        let changed = which.get_mut(&mut after);
        changed.weight = u32::try_from(u64::from(changed.width) * u64::from(part) / 100).unwrap();
        let (name, new) = (changed.name.clone(), changed.weight);
        let old = which.get(&before).weight;
        let (from, to) = if new > old { ("0-baseline", name.as_str()) } else { (name.as_str(), "0-baseline") };
        let (before, after) = (plan_of(&before), plan_of(&after));
        for unit in &units {
            let (was, is) = (assigned(&before, unit), assigned(&after, unit));
            prop_assert!(was == is || (was == from && is == to), "{was} became {is}, {old} -> {new} of {name}");
        }
    }

    #[test]
    fn every_candidate_holds_exactly_its_weight_and_only_inside_its_span(candidates in shuffled_candidates()) {
        let plan = plan_of(&candidates);
        let experiment = plan.experiments.first().unwrap();
        let sidetrack::rollout::InForce::Weights(weights, _) = experiment.schedule.at(Timestamp::new(0)) else {
            panic!("no weights")
        };
        let mut by_name = candidates.clone();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        let mut start = 0;
        for candidate in by_name {
            let index = experiment.variant(candidate.name.as_bytes());
            let ends = [start, start + candidate.weight, start + candidate.width];
            for number in ends.iter().flat_map(|&end| [end.wrapping_sub(1), end, end.wrapping_add(1)]) {
                if number < BUCKETS {
                    let inside = (start..start + candidate.weight).contains(&number);
                    let holds = experiment.layout.candidate(bucket(number), weights);
                    prop_assert_eq!(holds == index, inside, "bucket {} and {:?}", number, candidate);
                }
            }
            start += candidate.width;
        }
    }

    #[test]
    fn scaling_all_weights_within_their_spans_moves_nobody_between_candidates(
        candidates in shuffled_candidates(), parts in 1..=10_u32, units in units(),
    ) {
        let smaller: Vec<Candidate> = candidates
            .iter()
            .map(|c| Candidate { weight: c.weight * parts / 10, ..c.clone() })
            .collect();
        let (small, large) = (plan_of(&smaller), plan_of(&candidates));
        for unit in &units {
            let (was, is) = (assigned(&small, unit), assigned(&large, unit));
            prop_assert!(was == is || was == "0-baseline", "{was} became {is}");
        }
    }

    #[test]
    fn a_rollout_only_adds_units_while_a_weight_grows_and_never_swaps_two_candidates(
        candidates in shuffled_candidates(),
        steps in prop::collection::vec(prop::collection::vec(0..=100_u32, 5), 1..6),
        units in units(),
    ) {
        // The widths are the most that a phase may give; without a reserve the spans follow the largest phase.
        let weights: Vec<Vec<u32>> = steps
            .iter()
            .map(|step| candidates.iter().zip(step)
                .map(|(c, part)| u32::try_from(u64::from(c.width) * u64::from(*part) / 100).unwrap()).collect())
            .collect();
        let phases: Vec<Value> = weights.iter().enumerate().map(|(i, weights)| {
            let given: serde_json::Map<String, Value> = candidates.iter().zip(weights)
                .map(|(c, weight)| (c.name.clone(), percent(*weight))).collect();
            json!({"name": format!("phase-{i}"), "for": "1h", "weights": given})
        }).collect();
        let mut names = vec![json!({"name": "0-baseline"})];
        names.extend(candidates.iter().map(|c| json!({"name": c.name})));
        let mut file = experiment(names);
        file["rollout"] = json!({"start": "1970-01-01T10:00:00Z", "phases": phases});
        let plan = plan(&[file]);
        const HOUR: u64 = 3_600_000;
        // Without a reserve a span is as wide as the largest weight of all phases.
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| candidates[a].name.cmp(&candidates[b].name));
        let mut starts = vec![0; candidates.len()];
        order.iter().fold(0, |start, &who| {
            starts[who] = start;
            start + weights.iter().map(|step| step[who]).max().unwrap()
        });
        let holder = |bucket: u32, step: &[u32]| {
            let holds = |who: &usize| (starts[*who]..starts[*who] + step[*who]).contains(&bucket);
            (0..candidates.len()).find(holds).map_or("0-baseline", |who| candidates[who].name.as_str())
        };
        for unit in &units {
            let before = decision(&plan, &[("x-user-id", unit)], 10 * HOUR - 1);
            prop_assert_eq!((before.reason, before.assigned.index()), (Reason::NotStarted, 0));
            let mut was: Option<&str> = None;
            for (i, step) in weights.iter().enumerate() {
                let begins = (10 + i as u64) * HOUR;
                let is = assigned_at(&plan, unit, begins);
                let drawn = decision(&plan, &[("x-user-id", unit)], begins).bucket.unwrap();
                prop_assert_eq!(is, holder(drawn.get(), step), "the bucket's holder, and nobody else");
                prop_assert_eq!(is, assigned_at(&plan, unit, begins + HOUR - 1), "the same all through a phase");
                if let Some(was) = was && was != is {
                    prop_assert!(was == "0-baseline" || is == "0-baseline", "{was} became {is}");
                    let moved = if was == "0-baseline" { is } else { was };
                    let who = candidates.iter().position(|c| c.name == moved).unwrap();
                    let grew = step[who] > weights[i - 1][who];
                    prop_assert_eq!(grew, was == "0-baseline", "{} became {}", was, is);
                }
                was = Some(is);
            }
            let last = (10 + weights.len() as u64) * HOUR;
            prop_assert_eq!(was, Some(assigned_at(&plan, unit, last + 1000 * HOUR)), "the last phase stays in force");
        }
    }

    #[test]
    fn overriding_some_units_leaves_the_others_where_they_were(
        candidates in shuffled_candidates(), forced in prop::collection::btree_set("[a-z]{1,3}", 1..20),
        units in units(), short in prop::collection::vec("[a-z]{1,3}", 100),
    ) {
        let to = candidates[0].name.clone();
        let before = plan_of(&candidates);
        let mut file = experiment(variants(&candidates));
        let chosen: serde_json::Map<String, Value> = forced.iter().map(|u| (u.clone(), json!(to))).collect();
        file["overrides"] = json!({ "units": chosen });
        let after = plan(&[file]);
        for unit in units.into_iter().chain(short.into_iter().map(String::into_bytes)) {
            // A candidate of weight 0 is out of reach for an override without a token.
            if candidates[0].weight > 0 && forced.iter().any(|name| name.as_bytes() == unit) {
                let decision = decision(&after, &[("x-user-id", &unit)], 0);
                prop_assert_eq!(decision.reason, Reason::Override);
                prop_assert_eq!(assigned(&after, &unit), &to);
            } else {
                prop_assert_eq!(assigned(&before, &unit), assigned(&after, &unit));
            }
        }
    }

    #[test]
    fn a_unit_keeps_its_variant_whatever_else_the_requests_carry(
        candidates in shuffled_candidates(), unit in "[!-:<-~]{1,40}",
        others in prop::collection::vec(("x-[a-z]{5}", "[ -~]{0,20}", any::<u64>()), 20),
    ) {
        let mut file = experiment(variants(&candidates));
        file["unit"] = json!([{"header": "x-user-id"}, {"cookie": "sid"}]);
        let plan = plan(&[file]);
        let first = decision(&plan, &[("x-user-id", unit.as_bytes())], 0);
        for (name, value, now) in &others {
            let headers: [(&str, &[u8]); 3] =
                [(name, value.as_bytes()), (":path", value.as_bytes()), ("x-user-id", unit.as_bytes())];
            prop_assert_eq!(decision(&plan, &headers, *now), first);
        }
        let cookie = format!("a=b; sid={unit}");
        let by_cookie = decision(&plan, &[("cookie", cookie.as_bytes())], 0);
        prop_assert_eq!((by_cookie.assigned, by_cookie.bucket), (first.assigned, first.bucket));
    }

    #[test]
    fn experiments_of_one_layer_never_share_a_unit(cut in 1..1_000_000_u32, units in units()) {
        let member = |name: &str, from: u32, to: u32| {
            let mut file = experiment(vec![json!({"name": "0-baseline"}), json!({"name": "c", "weight": 50})]);
            file["name"] = json!(name);
            file["salt"] = json!(name);
            file["layer"] = json!({"name": "shared", "from": percent(from), "to": percent(to)});
            file
        };
        let (one, two) = (member("one", 0, cut), member("two", cut, BUCKETS));
        let alone = [plan(std::slice::from_ref(&one)), plan(std::slice::from_ref(&two))];
        let both = plan(&[one, two]);
        for unit in &units {
            let part = |plan: &Plan| decision(plan, &[("x-user-id", unit)], 0).reason != Reason::Excluded;
            prop_assert_ne!(part(&alone[0]), part(&alone[1]), "a unit has exactly one slot");
            let taken = decision(&both, &[("x-user-id", unit)], 0);
            prop_assert_eq!(taken.reason, Reason::Hash);
            prop_assert_eq!(taken.experiment.index(), usize::from(!part(&alone[0])));
        }
    }
}

// ---- Big runs --------------------------------------------------------------------------------------------------

/// The chi-square statistic that a fair draw exceeds once in a million (Wilson and Hilferty's approximation).
fn chi_square_limit(degrees: f64) -> f64 {
    let ninth = 2.0 / (9.0 * degrees);
    degrees * (1.0 - ninth + 4.75 * ninth.sqrt()).powi(3)
}

/// Pearson's statistic of counts against the shares that they should have.
fn chi_square(counts: &[u32], shares: &[f64]) -> f64 {
    let total: f64 = counts.iter().map(|&n| f64::from(n)).sum();
    counts
        .iter()
        .zip(shares)
        .map(|(&n, share)| (f64::from(n) - share * total).powi(2) / (share * total))
        .sum()
}

/// Pearson's statistic of independence of two draws' deciles; 81 degrees of freedom.
fn dependence(one: impl Fn(&[u8]) -> u64, other: impl Fn(&[u8]) -> u64) -> f64 {
    let decile = |draw: u64| usize::try_from((u128::from(draw) * 10) >> 64).unwrap();
    let mut table = [[0.0_f64; 10]; 10];
    for n in 0..100_000_u32 {
        let unit = n.to_string();
        table[decile(one(unit.as_bytes()))][decile(other(unit.as_bytes()))] += 1.0;
    }
    let rows = table.map(|row| row.iter().sum::<f64>());
    let column = |j: usize| table.iter().map(|row| row[j]).sum::<f64>();
    let mut statistic = 0.0;
    for (i, row) in table.iter().enumerate() {
        for (j, seen) in row.iter().enumerate() {
            let expected = rows[i] * column(j) / 100_000.0;
            if expected > 0.0 {
                statistic += (seen - expected).powi(2) / expected;
            }
        }
    }
    statistic
}

static INDEPENDENT: LazyLock<f64> = LazyLock::new(|| chi_square_limit(81.0));

#[test]
fn draws_of_two_salts_and_of_two_purposes_are_independent() {
    let arm = |salt| Draw::new(Purpose::Arm, salt);
    let base = arm("experiment-a");
    for (what, other) in [
        ("another salt", arm("experiment-b")),
        ("a longer salt", arm("experiment-a1")),
        ("the layer of that name", Draw::new(Purpose::Layer, "experiment-a")),
        ("another layer", Draw::new(Purpose::Layer, "checkout")),
        ("the mirror", Draw::new(Purpose::Mirror, "experiment-a")),
        ("the probe", Draw::new(Purpose::Probe, "experiment-a")),
    ] {
        let statistic = dependence(|unit| base.draw(unit), |unit| other.draw(unit));
        assert!(statistic < *INDEPENDENT, "{what}: {statistic} against {}", *INDEPENDENT);
    }
}

/// What a simpler product would have drawn: FNV-1a of the id with the salt behind it.
fn fnv1a(unit: &[u8], salt: &str) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    unit.iter().chain(salt.as_bytes()).fold(0xcbf2_9ce4_8422_2325, step)
}

#[test]
fn the_test_of_independence_would_catch_a_weak_hash_or_a_shared_salt() {
    let shared = Draw::new(Purpose::Arm, "experiment-a");
    let same_salt = dependence(|unit| shared.draw(unit), |unit| shared.draw(unit));
    assert!(same_salt > 100.0 * *INDEPENDENT, "{same_salt}");
    let weak = dependence(|unit| fnv1a(unit, "experiment-a"), |unit| fnv1a(unit, "experiment-b"));
    assert!(weak > 100.0 * *INDEPENDENT, "{weak}");
}

#[test]
fn shares_are_right_over_a_million_units_of_every_kind_of_id() {
    let candidates = [("a", 300_000, 250_000), ("b", 100_000, 10_000), ("c", 500_000, 500_000)]
        .map(|(name, width, weight)| Candidate { name: name.to_owned(), width, weight });
    let plan = plan_of(&candidates);
    let experiment = plan.experiments.first().unwrap();
    let sidetrack::rollout::InForce::Weights(weights, _) =
        experiment.schedule.at(Timestamp::new(0))
    else {
        panic!("no weights")
    };
    type Family = (&'static str, fn(u64, &mut Vec<u8>));
    let families: [Family; 5] = [
        ("numbers in a row", |n, out| write(out, format_args!("{n}"))),
        ("padded numbers behind a prefix", |n, out| write(out, format_args!("user-{n:010}"))),
        ("even numbers as eight bytes", |n, out| out.extend((2 * n).to_le_bytes())),
        ("UUIDs that count", |n, out| write(out, format_args!("00000000-0000-7000-8000-{n:012x}"))),
        ("addresses", |n, out| write(out, format_args!("{n}.person@example.com"))),
    ];
    for (family, make) in families {
        let (mut by_variant, mut by_percent) = ([0_u32; 4], [0_u32; 100]);
        let mut unit = Vec::new();
        for n in 0..1_000_000 {
            unit.clear();
            make(n, &mut unit);
            let bucket = experiment.arm.bucket(&unit);
            by_variant[experiment
                .layout
                .candidate(bucket, weights)
                .unwrap_or(experiment.baseline)
                .index()] += 1;
            by_percent[usize::try_from(bucket.get() / 10_000).unwrap()] += 1;
        }
        let shares = chi_square(&by_variant, &[0.24, 0.25, 0.01, 0.5]);
        assert!(shares < chi_square_limit(3.0), "{family}: {by_variant:?}, {shares}");
        let even = chi_square(&by_percent, &[0.01; 100]);
        assert!(even < chi_square_limit(99.0), "{family}: {by_percent:?}, {even}");
    }
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    std::io::Write::write_fmt(out, text).unwrap();
}

#[test]
fn the_test_of_shares_would_catch_one_part_in_a_hundred() {
    // A candidate that gets 25.25 percent of a million instead of 25.
    let statistic = chi_square(&[747_500, 252_500], &[0.75, 0.25]);
    assert!(statistic > chi_square_limit(1.0), "{statistic}");
}

#[test]
fn weight_zero_gets_none_of_the_million_buckets_and_a_hundred_gets_all() {
    for (weight, expected) in [(0, 0), (BUCKETS, BUCKETS)] {
        let plan = plan_of(&[Candidate { name: "a".to_owned(), width: BUCKETS, weight }]);
        let experiment = plan.experiments.first().unwrap();
        let sidetrack::rollout::InForce::Weights(weights, _) =
            experiment.schedule.at(Timestamp::new(0))
        else {
            panic!("no weights")
        };
        let holds = |number: &u32| experiment.layout.candidate(bucket(*number), weights).is_some();
        assert_eq!(u32::try_from((0..BUCKETS).filter(holds).count()).unwrap(), expected);
        let name = if weight == 0 { "0-baseline" } else { "a" };
        assert!((0..100_000_u32).all(|n| assigned(&plan, n.to_string().as_bytes()) == name));
    }
}
