//! The picture of a bench: commands a second over the length of the pipeline, as SVG.
//!
//! ```text
//! tcp GET | tcp SET        each: groups of bars, one group a pipeline,
//! --------+--------        one bar a contestant, the median;
//! unix GET| unix SET       a thin line from the least to the most
//! ...     | ...            and so for other connections and values
//! ```
//!
//! Source of the colours: M. Okabe and K. Ito, which stay apart for colour-blind eyes.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::contest::{Answer, Row};
use super::setting::Setting;
use crate::commands::bench::rounds::Spread;

/// Width, in SVG's units: that of a usual screen. A row of two panels is half as high.
const WIDTH: u32 = 1100;
const ROW_HEIGHT: u32 = 345;
const TITLE_HEIGHT: u32 = 30;

/// One colour a contestant, in their order.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(240, 228, 66),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// Of the room of a group, the part that its bars take; the rest stands between groups.
const BARS: f64 = 0.8;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws all settings, one panel for those that differ in the pipeline alone.
pub(super) fn draw(answers: &[Answer]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let (panels, names) = (panels(answers), names(answers));
        let rows = panels.len().div_ceil(2).max(1);
        let size = (WIDTH, TITLE_HEIGHT + ROW_HEIGHT * rows as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let title = "Commands a second, in thousands, by the length of the pipeline";
        let area = area.titled(title, ("sans-serif", 20))?;
        for (place, panel) in area.split_evenly((rows, 2)).iter().zip(&panels) {
            draw_panel(place, panel, &names)?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// The answers that belong together: those that differ in the pipeline alone.
fn panels(answers: &[Answer]) -> Vec<Vec<&Answer>> {
    let mut panels: Vec<Vec<&Answer>> = Vec::new();
    let of = |answer: &Answer| Setting { pipeline: 0, ..answer.setting };
    for answer in answers {
        match panels.iter_mut().find(|panel| of(panel[0]) == of(answer)) {
            Some(panel) => panel.push(answer),
            None => panels.push(vec![answer]),
        }
    }
    panels
}

/// Every contestant once: each has its colour in all panels.
fn names(answers: &[Answer]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in answers.iter().flat_map(|answer| &answer.rows) {
        if !names.contains(&row.name.as_str()) {
            names.push(&row.name);
        }
    }
    names
}

fn draw_panel(area: &Area<'_>, panel: &[&Answer], names: &[&str]) -> Result<(), Box<dyn Error>> {
    let Some(first) = panel.first() else { return Ok(()) };
    let Setting { transport, operation, value_bytes, connections, .. } = first.setting;
    let title = format!("{} {}", transport.name(), operation.name());
    let title = format!("{title} of {value_bytes} B, {connections} connections");
    let most = panel.iter().flat_map(|answer| &answer.rows).map(|row| rate(row).most);
    let most = most.fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..panel.len() as f64, 0.0..most * 1.05)?;
    let pipeline = |x: &f64| {
        let answer = panel.get(*x as usize).filter(|_| (x.fract() - 0.5).abs() < 0.01);
        answer.map_or(String::new(), |answer| format!("pipeline {}", answer.setting.pipeline))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .x_labels(2 * panel.len() + 1)
        .x_label_formatter(&pipeline)
        .y_desc("thousand/s")
        .draw()?;
    let is_here = |name: &str| panel.iter().any(|answer| answer.row(name).is_some());
    let here: Vec<(&str, RGBColor)> =
        names.iter().copied().zip(COLORS).filter(|(name, _)| is_here(name)).collect();
    for (index, &(name, color)) in here.iter().enumerate() {
        let width = BARS / here.len() as f64;
        let left = |group: usize| group as f64 + (1.0 - BARS) / 2.0 + index as f64 * width;
        let spreads: Vec<(usize, Spread)> = panel
            .iter()
            .enumerate()
            .filter_map(|(group, answer)| Some((group, rate(answer.row(name)?))))
            .collect();
        let bars = spreads.iter().map(|(group, of)| {
            let corners = [(left(*group), 0.0), (left(*group) + width * 0.92, of.median)];
            Rectangle::new(corners, color.filled())
        });
        chart
            .draw_series(bars)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], color.filled()));
        let lines = spreads.iter().map(|(group, of)| {
            let x = left(*group) + width * 0.46;
            PathElement::new([(x, of.least), (x, of.most)], BLACK)
        });
        chart.draw_series(lines)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// Thousands of commands a second.
fn rate(row: &Row) -> Spread {
    Spread::of(row.each(|sample| sample.per_s / 1000.0))
}
