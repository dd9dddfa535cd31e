//! Bar charts as SVG text. Pure; [`figures`](crate::figures) says what is drawn.
//!
//! Groups of bars side by side, a bar per subject in a colour of its own, its value above it. White background, so that
//! they can be read on a dark page too.

use std::fmt::Write as _;

use crate::subject::Subject;
use crate::table::number;

/// A chart.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) groups: Vec<Group>,
}

/// Bars that are compared with each other.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) bars: Vec<(Subject, f64)>,
}

const BAR: f64 = 30.0;
const GAP: f64 = 22.0;
const LEFT: f64 = 12.0;
const TOP: f64 = 62.0;
const HEIGHT: f64 = 200.0;
const BOTTOM: f64 = 34.0;

impl Chart {
    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let bars = self.groups.iter().map(|group| group.bars.len() as f64).sum::<f64>();
        let plot = bars * BAR + (self.groups.len() as f64 + 1.0) * GAP;
        let (width, height) = ((plot + 2.0 * LEFT).max(440.0), TOP + HEIGHT + BOTTOM);
        let values = self.groups.iter().flat_map(|group| group.bars.iter().map(|(_, value)| *value));
        let most = values.fold(0.0, f64::max);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\">\n\
             <title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" fill=\"#1a1a1a\">{title}</text>\n",
            title = escape(&self.title),
        );
        self.legend(&mut out);
        let mut x = LEFT + GAP;
        for group in &self.groups {
            let begin = x;
            for (subject, value) in &group.bars {
                bar(&mut out, x, *subject, *value, most);
                x += BAR;
            }
            let (middle, y) = (f64::midpoint(begin, x), TOP + HEIGHT + 18.0);
            let label = escape(&group.label);
            put(
                &mut out,
                format_args!("<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#1a1a1a\">{label}</text>"),
            );
            x += GAP;
        }
        let y = TOP + HEIGHT;
        put(
            &mut out,
            format_args!("<path d=\"M{LEFT} {y}H{}\" stroke=\"#1a1a1a\" fill=\"none\"/>\n</svg>", width - LEFT),
        );
        out
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for subject in Subject::ALL {
            if !self.groups.iter().any(|group| group.bars.iter().any(|(of, _)| *of == subject)) {
                continue;
            }
            let colour = colour(subject);
            put(out, format_args!("<rect x=\"{x}\" y=\"31\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"));
            put(out, format_args!("<text x=\"{}\" y=\"40\" fill=\"#1a1a1a\">{subject}</text>", x + 14.0));
            x += 75.0;
        }
    }
}

fn bar(out: &mut String, x: f64, subject: Subject, value: f64, most: f64) {
    // Never invisible: a small value is a value.
    let height = if most > 0.0 { (value / most * HEIGHT).max(1.0) } else { 1.0 };
    let (y, colour) = (TOP + HEIGHT - height, colour(subject));
    put(
        out,
        format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\" fill=\"#444444\">{}</text>",
            BAR - 2.0,
            x + BAR / 2.0 - 1.0,
            y - 3.0,
            escape(&number(value)),
        ),
    );
}

/// Told apart by people who see colours differently too.
fn colour(subject: Subject) -> &'static str {
    match subject {
        Subject::Direct => "#9a9a9a",
        Subject::Ours => "#d55e00",
        Subject::HaProxy => "#0072b2",
        Subject::Nginx => "#009e73",
        Subject::Envoy => "#cc79a7",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(out, "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::{Chart, Group, escape};
    use crate::subject::Subject;

    #[test]
    fn text_cannot_end_what_it_stands_in() {
        assert_eq!(escape("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }

    #[test]
    fn the_largest_bar_has_the_full_height_and_the_others_their_share() {
        let bars = vec![(Subject::Direct, 50.0), (Subject::Ours, 25.0), (Subject::Envoy, 0.0)];
        let text = Chart { title: "a < b".to_owned(), groups: vec![Group { label: "c".to_owned(), bars }] }.text();
        let heights: Vec<&str> = text.split("height=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(heights.ends_with(&["200.0", "100.0", "1.0"]), "{heights:?}");
        assert!(text.contains("a &lt; b") && !text.contains("haproxy"), "only who is in it is in the legend: {text}");
    }

    #[test]
    fn a_chart_of_zeros_divides_by_nothing() {
        let bars = vec![(Subject::Ours, 0.0)];
        let text = Chart { title: String::new(), groups: vec![Group { label: String::new(), bars }] }.text();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
