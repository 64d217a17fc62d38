//! A frame with two axes, and what is drawn into it. Colors are classes, so that the page decides them, light or dark.

use std::fmt::Write as _;

/// The drawing's size; the page scales it.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 28.0;

/// How many shapes a line has at most.
const SHAPES_OF_A_LINE: usize = 5;

/// How many letters of a name a legend has.
const LONGEST_NAME: usize = 40;

/// The height of a row of the legend.
const LEGEND_ROW: f64 = 16.0;

/// A plot being drawn.
pub(super) struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    body: String,
    legend: Vec<(String, String)>,
    title: String,
    description: String,
    /// The lower axis is time, in milliseconds.
    time: bool,
}

impl Frame {
    /// A frame for these ranges, with a title and a description for screen readers.
    pub(super) fn new(x: (f64, f64), y: (f64, f64), title: &str, description: &str) -> Self {
        let widen =
            |(low, high): (f64, f64)| if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        Self {
            x: widen(x),
            y: widen(y),
            body: String::new(),
            legend: Vec::new(),
            title: title.to_owned(),
            description: description.to_owned(),
            time: false,
        }
    }

    /// The same, with time on the lower axis.
    pub(super) fn over_time(x: (f64, f64), y: (f64, f64), title: &str, description: &str) -> Self {
        Self { time: true, ..Self::new(x, y, title, description) }
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
        let points: Vec<(f64, f64)> = points.collect();
        let text = self.points(points.iter().copied());
        write!(self.body, r#"<polyline class="line {class}" points="{text}"/>"#).ok();
        let step = points.len().div_ceil(SHAPES_OF_A_LINE).max(1);
        for point in points.iter().skip(step / 2).step_by(step) {
            let shape = shape(class, self.at(*point));
            self.body += &shape;
        }
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
        // A longer one would leave the drawing; the table of numbers has it whole.
        let mut short: String = name.chars().take(LONGEST_NAME).collect();
        if short.len() < name.len() {
            short.push('…');
        }
        self.legend.push((short, class.to_owned()));
    }

    /// The whole drawing, with these labels on the axes.
    pub(super) fn done(self, x: &dyn Fn(f64) -> String, y: &dyn Fn(f64) -> String) -> String {
        let places = self.places();
        // Further rows of the legend are above the first one.
        let top = places.first().map_or(0.0, |(_, y)| y - 11.0);
        let mut out = format!(
            r#"<svg viewBox="0 {top} {WIDTH} {}" role="img"><title>{}</title><desc>{}</desc>"#,
            HEIGHT - top,
            escaped(&self.title),
            escaped(&self.description)
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
                at.clamp(LEFT + 14.0, WIDTH - 36.0),
                HEIGHT - 8.0,
                escaped(&x(value))
            )
            .ok();
        }
        out += &self.body;
        for ((name, class), (at, y)) in self.legend.iter().zip(places) {
            write!(
                out,
                r#"<line class="line {class}" x1="{at:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/>{}<text class="key" x="{:.1}" y="{:.1}">{}</text>"#,
                at + 14.0, shape(class, (at + 7.0, y)), at + 18.0, y + 4.0, escaped(name)
            )
            .ok();
        }
        out + "</svg>"
    }

    /// Where each name of the legend begins, in rows from the bottom up, which grow above the drawing.
    fn places(&self) -> Vec<(f64, f64)> {
        let (mut at, mut row) = (LEFT, 0.0);
        let mut places = Vec::new();
        for (name, _) in &self.legend {
            // A letter is about seven wide.
            let length: f64 = name.chars().map(|_| 6.6).sum::<f64>() + 18.0;
            if at > LEFT && at + length > WIDTH {
                (at, row) = (LEFT, row + 1.0);
            }
            places.push((at, row));
            at += length + 12.0;
        }
        places.iter().map(|(at, own)| (*at, 11.0 - LEGEND_ROW * (row - own))).collect()
    }
}

/// A shape that tells the line of this class from others without its color; the first class has none.
fn shape(class: &str, (x, y): (f64, f64)) -> String {
    let drawn = match class {
        "c1" => "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
        "c2" => "M-3-3h6v6h-6z",
        "c3" => "M0-4l3.6 6.4h-7.2z",
        "c4" => "M0-4l4 4-4 4-4-4z",
        "c5" => "M-3-3l6 6M3-3l-6 6",
        _ => return String::new(),
    };
    format!(r#"<path class="shape {class}" transform="translate({x:.1} {y:.1})" d="{drawn}"/>"#)
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
pub(crate) fn escaped(text: &str) -> String {
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
    fn lines_differ_in_more_than_their_color() {
        let mut frame = Frame::new((0.0, 9.0), (0.0, 9.0), "", "");
        for class in ["c0", "c1", "c2", "c2 dashed", "zero"] {
            frame.line((0..10).map(|i| (f64::from(i), f64::from(i))), class);
        }
        let count = |class: &str| frame.body.matches(&format!("shape {class}\"")).count();
        assert_eq!(["c0", "c1", "c2"].map(count), [0, 5, 5]);
        assert_eq!(frame.body.matches("shape").count(), 10);
    }

    #[test]
    fn a_legend_that_is_too_wide_has_several_rows() {
        let mut frame = Frame::new((0.0, 1.0), (0.0, 1.0), "", "");
        frame.named("a", "c0");
        frame.named(&"b".repeat(10), "c1");
        let places = |frame: &Frame| {
            let text = |(x, y): &(f64, f64)| format!("{x:.1} {y:.1}");
            frame.places().iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(places(&frame), ["52.0 11.0", "88.6 11.0"]);
        frame.named(&"c".repeat(45), "c2");
        assert_eq!(places(&frame), ["52.0 -5.0", "88.6 -5.0", "52.0 11.0"]);
        let drawn = frame.done(&|_| String::new(), &|_| String::new());
        assert!(drawn.starts_with(r#"<svg viewBox="0 -16 420 266""#), "{drawn}");
    }

    #[test]
    fn names_cannot_break_out() {
        let mut frame = Frame::new((0.0, 1.0), (0.0, 1.0), "a\"b", "</desc>");
        frame.named("<script>", "c0");
        let drawn = frame.done(&|_| "<".to_owned(), &|_| "&".to_owned());
        assert!(
            !drawn.contains("<script>")
                && drawn.contains("a&quot;b")
                && drawn.contains("<desc>&lt;/desc&gt;</desc>")
                && drawn.contains("&lt;script&gt;")
        );
    }
}
