//! Roots of monotone functions.

/// Where `f` crosses from negative to positive between `low` and `high`, to the last digit, by bisection.
///
/// Bisection, because it needs no derivative and cannot fail; a root costs fifty evaluations, and roots are rare.
pub(crate) fn rising(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..2000 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if f(middle) < 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
