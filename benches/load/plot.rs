//! What many calls took, as an SVG: for each kind of call a line from the quickest to the longest on
//! a logarithmic scale, a box from the median to 99 %. It must not measure anything.

use std::fmt::Write as _;

use super::tally::Quantiles;

/// Pixels.
const LABELS: f64 = 290.0;
const WIDTH: f64 = 620.0;
const ROW: f64 = 20.0;
const HEAD: f64 = 56.0;

/// The picture of `rows`, with what stands above it.
pub fn svg(title: &str, rows: &[Quantiles]) -> String {
    let times = rows.iter().flat_map(|row| [row.shortest, row.longest]);
    let (low, high) = times.fold((f64::MAX, f64::MIN), |(low, high), time| {
        (low.min(time), high.max(time))
    });
    // Whole powers of ten around what there is.
    let (first, last) = match rows.is_empty() {
        true => (0, 1),
        false => decades(low, high),
    };
    let place = |time: f64| {
        let part = (time.max(1e-3).log10() - f64::from(first)) / f64::from(last - first);
        LABELS + part.clamp(0.0, 1.0) * WIDTH
    };
    let height = HEAD + ROW * rows.len() as f64 + 16.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\">{1}</text>\n",
        LABELS + WIDTH + 40.0,
        escaped(title)
    );
    for decade in first..=last {
        let time = 10f64.powi(decade);
        let x = place(time);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{HEAD}\" y2=\"{:.1}\" stroke=\"#ccc\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{time} ms</text>",
            height - 12.0,
            HEAD - 8.0
        );
    }
    for (n, row) in rows.iter().enumerate() {
        let middle = HEAD + ROW * (n as f64 + 0.5);
        let [shortest, median, nine, most, longest] = [
            row.shortest,
            row.median,
            row.ninety,
            row.ninety_nine,
            row.longest,
        ]
        .map(place);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <line x1=\"{shortest:.1}\" x2=\"{longest:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#36c\"/>\
             <rect x=\"{median:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" fill=\"#9be\" stroke=\"#36c\"/>\
             <line x1=\"{nine:.1}\" x2=\"{nine:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#36c\"/>",
            LABELS - 8.0,
            middle + 4.0,
            escaped(&row.name),
            middle - 5.0,
            (most - median).max(1.0),
            middle - 5.0,
            middle + 5.0
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The powers of ten that hold `low` and `high`.
fn decades(low: f64, high: f64) -> (i32, i32) {
    let first = low.max(1e-3).log10().floor() as i32;
    let last = high.max(1e-3).log10().ceil() as i32;
    (first, last.max(first + 1))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
