//! A frame with two axes, and what is drawn into it. Colors are classes, so that the page decides them, light or dark.

use std::fmt::Write as _;

/// The drawing's size; the page scales it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 28.0;

/// A plot being drawn.
pub(super) struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    body: String,
    legend: Vec<(String, String)>,
    label: String,
    /// The lower axis is time, in milliseconds.
    time: bool,
}

impl Frame {
    /// A frame for these ranges. `label` describes it for screen readers.
    pub(super) fn new(x: (f64, f64), y: (f64, f64), label: &str) -> Self {
        let widen =
            |(low, high): (f64, f64)| if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        Self {
            x: widen(x),
            y: widen(y),
            body: String::new(),
            legend: Vec::new(),
            label: label.to_owned(),
            time: false,
        }
    }

    /// The same, with time on the lower axis.
    pub(super) fn over_time(x: (f64, f64), y: (f64, f64), label: &str) -> Self {
        Self { time: true, ..Self::new(x, y, label) }
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let part =
            |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(-0.02, 1.02);
        let (px, py) = (part(x, self.x), part(y, self.y));
        (LEFT + px * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - py * (HEIGHT - TOP - BOTTOM))
    }

    fn points(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let text = |point| {
            let (x, y) = self.at(point);
            format!("{x:.1},{y:.1}")
        };
        points.map(text).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn line(&mut self, points: impl Iterator<Item = (f64, f64)>, class: &str) {
        let points = self.points(points);
        write!(self.body, r#"<polyline class="line {class}" points="{points}"/>"#).ok();
    }

    /// The area between a lower and an upper line.
    pub(super) fn band(&mut self, low: &[(f64, f64)], high: &[(f64, f64)], class: &str) {
        let points = self.points(low.iter().copied().chain(high.iter().rev().copied()));
        write!(self.body, r#"<polygon class="band {class}" points="{points}"/>"#).ok();
    }

    /// A line across at this height.
    pub(super) fn level(&mut self, y: f64, class: &str) {
        self.line([(self.x.0, y), (self.x.1, y)].into_iter(), class);
    }

    /// A line upright.
    pub(super) fn upright(&mut self, x: f64, class: &str) {
        self.line([(x, self.y.0), (x, self.y.1)].into_iter(), class);
    }

    /// A short mark on the lower axis.
    pub(super) fn tick(&mut self, x: f64, class: &str) {
        let (x, y) = self.at((x, self.y.0));
        write!(
            self.body,
            r#"<line class="line {class}" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{y:.1}"/>"#,
            y - 9.0
        )
        .ok();
    }

    pub(super) fn named(&mut self, name: &str, class: &str) {
        self.legend.push((name.to_owned(), class.to_owned()));
    }

    /// The whole drawing, with these labels on the axes.
    pub(super) fn done(self, x: &dyn Fn(f64) -> String, y: &dyn Fn(f64) -> String) -> String {
        let mut out = format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            escaped(&self.label)
        );
        for value in ticks(self.y, 4) {
            let (_, at) = self.at((self.x.0, value));
            write!(
                out,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/><text class="y" x="{:.1}" y="{:.1}">{}</text>"#,
                WIDTH - RIGHT, LEFT - 6.0, at + 4.0, escaped(&y(value))
            )
            .ok();
        }
        let marks = if self.time { moments(self.x) } else { ticks(self.x, 3) };
        for value in marks {
            let (at, _) = self.at((value, self.y.0));
            write!(
                out,
                r#"<text class="x" x="{:.1}" y="{:.1}">{}</text>"#,
                at.clamp(LEFT + 14.0, WIDTH - 30.0),
                HEIGHT - 8.0,
                escaped(&x(value))
            )
            .ok();
        }
        out += &self.body;
        let mut at = LEFT;
        for (name, class) in &self.legend {
            // A letter is about seven wide.
            let length: f64 = name.chars().map(|_| 6.6).sum();
            write!(
                out,
                r#"<line class="line {class}" x1="{at:.1}" x2="{:.1}" y1="11" y2="11"/><text class="key" x="{:.1}" y="15">{}</text>"#,
                at + 14.0, at + 18.0, escaped(name)
            )
            .ok();
            at += length + 30.0;
        }
        out + "</svg>"
    }
}

/// About so many round numbers within a range.
pub(super) fn ticks((low, high): (f64, f64), about: u32) -> Vec<f64> {
    let rough = (high - low) / f64::from(about);
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|round| round * power)
        .find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let mut value = (low / step).ceil() * step;
    let mut ticks = Vec::new();
    while value <= high + step * 1e-9 {
        // No minus zero.
        ticks.push(if value.abs() < step * 1e-9 { 0.0 } else { value });
        value += step;
    }
    ticks
}

/// Round moments within a span of milliseconds: full minutes, hours, days.
fn moments((low, high): (f64, f64)) -> Vec<f64> {
    const MINUTES: [f64; 14] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 360.0, 720.0, 1440.0, 2880.0, 10_080.0,
    ];
    let fits = |step: &f64| (high - low) / (step * 60_000.0) <= 4.0;
    let Some(step) = MINUTES.into_iter().find(fits) else { return ticks((low, high), 3) };
    let step = step * 60_000.0;
    let first = (low / step).ceil() * step;
    (0..5u8).map(|i| first + f64::from(i) * step).take_while(|moment| *moment <= high).collect()
}

/// Text for XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 10.0), 4), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(ticks((-0.013, 0.041), 4), [0.0, 0.02, 0.04]);
        assert!(ticks((1.0, 1.0), 4).is_empty() && ticks((0.0, f64::INFINITY), 4).is_empty());
    }

    #[test]
    fn moments_are_full_hours() {
        let hour = 3_600_000.0;
        assert_eq!(moments((0.1 * hour, 6.05 * hour)), [2.0 * hour, 4.0 * hour, 6.0 * hour]);
        assert_eq!(moments((0.0, 24.0 * 28.0 * hour)).len(), 5);
        assert!(moments((0.0, 1e15)).len() > 1);
    }

    #[test]
    fn names_cannot_break_out() {
        let mut frame = Frame::new((0.0, 1.0), (0.0, 1.0), "a\"b");
        frame.named("<script>", "c0");
        let drawn = frame.done(&|_| "<".to_owned(), &|_| "&".to_owned());
        assert!(
            !drawn.contains("<script>")
                && drawn.contains("a&quot;b")
                && drawn.contains("&lt;script&gt;")
        );
    }
}
