//! What a report shows of the predictions beside the metrics: counts, calibration, and how scores are spread.

use sidetrack::config::Task;
use sidetrack_stats::float;

use super::linear::Owned;
use super::{Piece, Predictions};
use crate::answer::{CalibrationBin, LabelCount, ModelResult, ModelVariant, ScoreBin};

/// Bins of the calibration curve and of the calibration error.
const BINS: u32 = 10;
/// Bins of the histogram of scores.
const STEPS: u32 = 20;
/// Standard errors of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// A labeled prediction of a variant.
#[derive(Clone, Copy)]
struct Scored {
    bin: u32,
    /// What identifies its unit.
    owner: (usize, u32),
    score: f64,
    label: f64,
}

/// The predictions by variant, from the rows that count, by slot.
pub(crate) fn report(
    predictions: &Predictions,
    slots: &[Vec<Owned>],
    variants: &[&str],
    units: bool,
) -> ModelResult {
    let arms = variants.len().max(1);
    let of = |(arm, name): (usize, &&str)| {
        let rows = slots.iter().skip(arm).step_by(arms).flatten();
        let labeled = rows.map(|row| (row, predictions.row(row.row)));
        let labeled: Vec<(&Owned, Piece)> =
            labeled.filter(|(_, piece)| piece.label.is_finite() && predicted(piece)).collect();
        variant(name, predictions, &labeled, units)
    };
    ModelResult {
        task: predictions.task.as_str().to_owned(),
        positive: predictions.positive.clone(),
        threshold: predictions.threshold,
        predictions: predictions.given.predictions,
        labels: predictions.given.labels,
        labeled: predictions.given.both,
        completed: predictions.given.merged,
        classes: predictions.labels.iter().map(count).collect(),
        variants: variants.iter().enumerate().map(of).collect(),
    }
}

fn count((label, rows): &(String, u64)) -> LabelCount {
    LabelCount { label: label.clone(), rows: *rows }
}

const fn predicted(piece: &Piece) -> bool {
    piece.prediction.is_finite() || piece.score.is_finite()
}

fn variant(
    name: &str,
    predictions: &Predictions,
    labeled: &[(&Owned, Piece)],
    units: bool,
) -> ModelVariant {
    let positives = labeled.iter().filter(|(_, piece)| piece.label > 0.5).count() as u64;
    let by_score = predictions.has_score;
    let error = |piece: &Piece| if by_score { piece.score } else { piece.prediction } - piece.label;
    let errors: Vec<f64> =
        labeled.iter().map(|(_, piece)| error(piece)).filter(|error| error.is_finite()).collect();
    let has_bias = (by_score || predictions.task == Task::Regression) && !errors.is_empty();
    let scored =
        labeled.iter().enumerate().filter(|(_, (_, piece))| by_score && piece.score.is_finite());
    let mut scored: Vec<Scored> = scored
        .map(|(at, (row, Piece { score, label, .. }))| Scored {
            bin: bin(*score, BINS),
            owner: if units { (row.shard, row.cell) } else { (at, 0) },
            score: *score,
            label: *label,
        })
        .collect();
    let scores = histogram(&scored);
    scored.sort_by_key(|scored| (scored.bin, scored.owner));
    let all = float(scored.len() as u64);
    let (mut ece, mut by_chance, mut calibration) = (0.0, 0.0, Vec::new());
    for own in scored.chunk_by(|one, two| one.bin == two.bin) {
        let (found, chance) = calibrated(own);
        let weight = float(found.predictions) / all;
        ece += weight * (found.score - found.share).abs();
        by_chance += weight * chance;
        calibration.push(found);
    }
    let is_scored = !scored.is_empty();
    ModelVariant {
        variant: name.to_owned(),
        labeled: labeled.len() as u64,
        positives: predictions.positive.is_some().then_some(positives),
        bias: has_bias.then(|| rounded(errors.iter().sum::<f64>() / float(errors.len() as u64))),
        ece: is_scored.then(|| rounded(ece)),
        ece_by_chance: is_scored.then(|| rounded(by_chance)),
        calibration,
        scores: if is_scored { scores } else { Vec::new() },
    }
}

/// A bin of the calibration curve, and how far its score and its share are apart by chance, on average.
fn calibrated(own: &[Scored]) -> (CalibrationBin, f64) {
    let predictions = own.len() as u64;
    let many = float(predictions);
    let score = own.iter().map(|one| one.score).sum::<f64>() / many;
    let share = own.iter().map(|one| one.label).sum::<f64>() / many;
    let (mut spread, mut of_chance, mut units) = (0.0, 0.0, 0_u64);
    for unit in own.chunk_by(|one, two| one.owner == two.owner) {
        units += 1;
        let residual: f64 = unit.iter().map(|one| one.label - share).sum();
        let surprise: f64 = unit.iter().map(|one| one.label - one.score).sum();
        spread += residual * residual;
        of_chance += surprise * surprise;
    }
    let variance = spread / (many * many);
    let effective = if variance > 0.0 { share * (1.0 - share) / variance } else { float(units) };
    let bin = own.first().map_or(0, |one| one.bin);
    let found = CalibrationBin {
        from: f64::from(bin) / f64::from(BINS),
        to: f64::from(bin + 1) / f64::from(BINS),
        predictions,
        score: rounded(score),
        share: rounded(share),
        ci: wilson(share, effective).map(rounded),
    };
    // The mean of a normal distribution's distance from its center.
    (found, (2.0 / std::f64::consts::PI * of_chance).sqrt() / many)
}

/// Wilson's 95 % interval of a share of so many independent trials (JASA 22, 1927).
fn wilson(share: f64, trials: f64) -> [f64; 2] {
    let z2 = Z * Z / trials;
    let center = (share + z2 / 2.0) / (1.0 + z2);
    let reach = Z * (share * (1.0 - share) / trials + z2 / (4.0 * trials)).sqrt() / (1.0 + z2);
    [(center - reach).max(0.0), (center + reach).min(1.0)]
}

/// To twelve digits, which every reader of JSON turns into the same bits.
fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

fn histogram(scored: &[Scored]) -> Vec<ScoreBin> {
    let edge = |step: u32| f64::from(step) / f64::from(STEPS);
    let mut bins: Vec<ScoreBin> = (0..STEPS)
        .map(|step| ScoreBin { from: edge(step), to: edge(step + 1), positives: 0, negatives: 0 })
        .collect();
    for one in scored {
        let Some(bin) = bins.get_mut(bin(one.score, STEPS) as usize) else { continue };
        *(if one.label > 0.5 { &mut bin.positives } else { &mut bin.negatives }) += 1;
    }
    bins
}

/// The bin of a score from 0 to 1, of so many of equal width.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 0 to the number of bins"
)]
fn bin(score: f64, bins: u32) -> u32 {
    ((score * f64::from(bins)).floor() as u32).min(bins - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bin_includes_one() {
        assert_eq!([0.0, 0.05, 0.1, 0.999, 1.0].map(|score| bin(score, 10)), [0, 0, 1, 9, 9]);
    }

    #[test]
    fn intervals_are_those_of_wilson() {
        // statsmodels: proportion_confint(30, 100, method="wilson"), and of 0 of 20.
        for ((share, trials), wanted) in [
            ((0.3, 100.0), [0.218_948_852_949_327_56, 0.395_848_546_333_466_67]),
            ((0.0, 20.0), [0.0, 0.161_125_158_052_819_4]),
        ] {
            let found = wilson(share, trials);
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        }
    }

    #[test]
    fn predictions_of_one_unit_are_no_independent_trials() {
        let of = |owner: u32, label: f64| Scored { bin: 4, owner: (0, owner), score: 0.45, label };
        let apart: Vec<Scored> =
            (0..40).map(|unit| of(unit, f64::from(u8::from(unit < 20)))).collect();
        let together: Vec<Scored> =
            (0..40).map(|row| of(row / 10, f64::from(u8::from(row < 20)))).collect();
        let (one, two) = (calibrated(&apart), calibrated(&together));
        assert_eq!((one.0.share, two.0.share, one.0.predictions), (0.5, 0.5, 40));
        let width = |found: &CalibrationBin| found.ci[1] - found.ci[0];
        assert!(width(&two.0) > 2.0 * width(&one.0), "{two:?}");
        assert!(two.1 > 3.0 * one.1);
    }
}
