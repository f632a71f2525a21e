//! The last day as two small charts. They stretch to any width, so their text is beside the drawing and not in it.

use std::fmt::Write as _;

use gha_slurm_overview::Point;
use maud::{Markup, html};

use crate::time::duration;

const WIDTH: usize = 960;
const HEIGHT: f64 = 100.0;

/// How many jobs were waiting, and how long those that a runner took had waited.
pub(super) fn day(points: &[Point]) -> Markup {
    let depth: Vec<Option<u64>> = points.iter().map(|point| Some(point.waiting)).collect();
    let waits: Vec<Option<u64>> = points.iter().map(|point| point.median_wait).collect();
    let most = |values: &[Option<u64>]| values.iter().flatten().copied().max().unwrap_or(0);
    let (deepest, longest) = (most(&depth), most(&waits));
    let waiting = points.last().map_or(0, |point| point.waiting);
    html! {
        div.parts.pair {
            (panel(
                "Waiting for a runner, last 24 h",
                &format!("{waiting} now, {deepest} at most"),
                &figure("depth", &depth, deepest, &deepest.to_string()),
            ))
            (panel(
                "Time to a runner, last 24 h",
                &if longest == 0 && waits.iter().all(Option::is_none) { "no job started".to_owned() }
                    else { format!("median per quarter of an hour, {} at most", duration(longest)) },
                &figure("wait", &waits, longest, &duration(longest)),
            ))
        }
    }
}

fn panel(title: &str, words: &str, figure: &Markup) -> Markup {
    html! {
        section.panel {
            header { h2 { (title) } p { (words) } }
            (figure)
        }
    }
}

fn figure(class: &str, values: &[Option<u64>], most: u64, top: &str) -> Markup {
    html! {
        div.chart aria-hidden="true" {
            p.axis { span { (top) } }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" {
                path.rule d={ "M0 .5H" (WIDTH) "M0 50H" (WIDTH) "M0 99.5H" (WIDTH) } {}
                path class=(class) d=(outline(values, most)) {}
            }
            p.axis { span { "24 h ago" } span { "12 h" } span { "now" } }
        }
    }
}

/// Steps of equal width; where there is no value, nothing.
fn outline(values: &[Option<u64>], most: u64) -> String {
    let mut path = String::new();
    let step = WIDTH / values.len().max(1);
    let mut open = false;
    for (value, left) in values.iter().zip((0..).step_by(step)) {
        let Some(value) = value else {
            if std::mem::take(&mut open) {
                path.push_str("V100Z");
            }
            continue;
        };
        if !std::mem::replace(&mut open, true) {
            let _ = write!(path, "M{left} 100");
        }
        // Shares of the highest, which is at most what the figure holds: exact enough for a drawing.
        #[allow(clippy::cast_precision_loss)]
        let height = HEIGHT - 2.0 - (HEIGHT - 4.0) * (*value as f64) / (most.max(1) as f64);
        let _ = write!(path, "V{height:.1}H{}", left + step);
    }
    if open {
        path.push_str("V100Z");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::outline;

    #[test]
    fn an_outline_has_a_step_for_each_value_and_a_gap_for_each_absent_one() {
        assert_eq!(
            outline(&[Some(0), Some(4), None, Some(2)], 4),
            "M0 100V98.0H240V2.0H480V100ZM720 100V50.0H960V100Z"
        );
        assert_eq!(outline(&[], 0), "");
        assert_eq!(outline(&[None, None], 0), "");
    }
}
