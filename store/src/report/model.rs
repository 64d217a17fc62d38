//! The plots of predictions: calibration curves and how scores are spread.

use sidetrack_analysis::answer::ModelResult;
use sidetrack_analysis::figures::short;

use super::plot::{Plot, color};
use super::svg::Frame;

/// The share of positives by score, of each variant.
pub(super) fn calibration(model: &ModelResult, variants: &[String]) -> Option<Plot> {
    let mut drawn = model.variants.iter().filter(|variant| !variant.calibration.is_empty());
    drawn.clone().next()?;
    let positive = model.positive.as_deref().unwrap_or("positive");
    let title = "Calibration of scores".to_owned();
    let caption = format!(
        "The share of labels that are {positive}, by score, with its 95 % interval by unit. Dashed: a \
         calibrated model."
    );
    let mut frame = Frame::new((0.0, 1.0), (0.0, 1.0), &title, &caption);
    frame.line([(0.0, 0.0), (1.0, 1.0)].into_iter(), "zero");
    let mut rows = Vec::new();
    for variant in &mut drawn {
        let class = color(&variant.variant, variants);
        let bins = variant.calibration.iter();
        let (low, high): (Vec<_>, Vec<_>) =
            bins.clone().map(|bin| ((bin.score, bin.ci[0]), (bin.score, bin.ci[1]))).unzip();
        frame.band(&low, &high, &class);
        frame.line(bins.clone().map(|bin| (bin.score, bin.share)), &class);
        let error = variant.ece.map(|ece| format!(" ECE {}", short(ece, 2))).unwrap_or_default();
        frame.named(&format!("{}{error}", variant.variant), &class);
        rows.extend(bins.map(|bin| {
            [
                variant.variant.clone(),
                format!("{} to {}", short(bin.from, 3), short(bin.to, 3)),
                bin.predictions.to_string(),
                short(bin.score, 3),
                short(bin.share, 3),
                format!("{} to {}", short(bin.ci[0], 3), short(bin.ci[1], 3)),
            ]
        }));
    }
    let axis = |value: f64| short(value, 2);
    let svg = frame.done(&axis, &axis);
    let columns =
        ["variant", "scores", "predictions", "mean score", "share of positives", "interval"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}

/// How the scores of each variant are spread.
pub(super) fn scores(model: &ModelResult, variants: &[String]) -> Option<Plot> {
    let percent = |part: u64, all: u64| {
        let (part, all) = (float(part), float(all));
        if all > 0.0 { 100.0 * part / all } else { 0.0 }
    };
    let mut curves = Vec::new();
    let (mut top, mut rows) = (0.0f64, Vec::new());
    for variant in model.variants.iter().filter(|variant| !variant.scores.is_empty()) {
        let all = variant.scores.iter().map(|bin| bin.positives + bin.negatives).sum();
        let mut curve = Vec::new();
        for bin in &variant.scores {
            let share = percent(bin.positives + bin.negatives, all);
            top = top.max(share);
            curve.extend([(bin.from, share), (bin.to, share)]);
            rows.push([
                variant.variant.clone(),
                format!("{} to {}", short(bin.from, 3), short(bin.to, 3)),
                bin.positives.to_string(),
                bin.negatives.to_string(),
                format!("{} %", short(share, 3)),
            ]);
        }
        curves.push((variant.variant.clone(), curve));
    }
    if curves.is_empty() {
        return None;
    }
    let title = "Scores".to_owned();
    let caption = "The share of each variant's labeled predictions by score.".to_owned();
    let mut frame = Frame::new((0.0, 1.0), (0.0, 1.05 * top), &title, &caption);
    for (variant, curve) in curves {
        let class = color(&variant, variants);
        frame.line(curve.into_iter(), &class);
        frame.named(&variant, &class);
    }
    let svg = frame.done(&|x| short(x, 2), &|y| format!("{} %", short(y, 3)));
    let columns = ["variant", "scores", "positives", "negatives", "share"];
    Some(Plot::new(title, caption, svg).numbers(columns, rows))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}
