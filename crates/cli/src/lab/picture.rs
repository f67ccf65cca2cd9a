//! Pictures of replays, as SVG: they need no font, no library and no network to be seen.
//!
//! Source of the colours: M. Okabe and K. Ito, which stay apart for colour-blind eyes.

use std::error::Error;

use plotters::prelude::*;

use super::replay::{Measured, Sample, Stretch};

/// Width and height of a picture, in SVG's units: half a usual screen.
const SIZE: (u32, u32) = (960, 480);

/// A bar of memory has so many columns: as many as one can tell apart.
const COLUMNS: u64 = 860;

/// One colour a replay, in the order of the fits.
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// The bytes of a MiB, the unit of all axes.
const MIB: f64 = (1 << 20) as f64;

/// Footprint over time, a line a fit, above what the program had asked for.
pub(crate) fn footprint(replays: &[Measured]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let calls = replays.iter().filter_map(|replay| replay.samples.last());
        let last = calls.map(|sample| sample.calls).max().unwrap_or(1);
        let most = replays.iter().map(|replay| replay.peak_footprint_bytes).max().unwrap_or(1);
        let mut chart = ChartBuilder::on(&area)
            .caption("Core that the heap needs, under each fit", ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0..last, 0.0..most as f64 / MIB * 1.05)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("calls of the allocator")
            .y_desc("MiB")
            .draw()?;
        if let Some(first) = replays.first() {
            let live = first.samples.iter().map(|s| (s.calls, s.live_bytes as f64 / MIB));
            chart
                .draw_series(AreaSeries::new(live, 0.0, BLACK.mix(0.15)))?
                .label("asked for and not given back")
                .legend(|(x, y)| Rectangle::new([(x, y - 4), (x + 18, y + 4)], BLACK.mix(0.15)));
        }
        for (replay, color) in replays.iter().zip(COLORS) {
            let point = |s: &Sample| (s.calls, s.footprint_bytes as f64 / MIB);
            chart
                .draw_series(LineSeries::new(replay.samples.iter().map(point), color))?
                .label(replay.fit.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

/// Each heap at its largest, one bar a fit: the darker a column, the more of it is in use.
pub(crate) fn memory(replays: &[Measured]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let ends = replays.iter().map(|replay| end_of(&replay.chunks_at_peak));
        let end = ends.max().unwrap_or(1).max(COLUMNS);
        let mut chart = ChartBuilder::on(&area)
            .caption("Each heap at its largest: what is white is free", ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end as f64 / MIB, 0.0..replays.len() as f64)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("MiB from the heap's beginning")
            .y_labels(0)
            .draw()?;
        for (row, (replay, color)) in replays.iter().zip(COLORS).enumerate() {
            let top = replays.len() as f64 - row as f64;
            let per_column = end / COLUMNS;
            let shares = used_shares(&replay.chunks_at_peak, per_column);
            let columns = shares.iter().enumerate().map(|(index, share)| {
                let left = (index as u64 * per_column) as f64 / MIB;
                let right = left + per_column as f64 / MIB;
                Rectangle::new([(left, top - 0.3), (right, top - 0.9)], color.mix(*share).filled())
            });
            chart.draw_series(columns)?;
            let used = replay.chunks_at_peak.iter().filter(|stretch| !stretch.is_free);
            let used = used.map(|stretch| stretch.bytes).sum::<u64>() as f64 / MIB;
            let whole = end_of(&replay.chunks_at_peak) as f64 / MIB;
            let words = format!("{}: {used:.2} of {whole:.2} MiB in use", replay.fit.name());
            let style = ("sans-serif", 14).into_text_style(&area).color(&color);
            chart.draw_series([Text::new(words, (0.0, top - 0.1), style)])?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// Where the last stretch ends.
fn end_of(stretches: &[Stretch]) -> u64 {
    stretches.last().map_or(0, |last| last.at + last.bytes)
}

/// The share of each column that is in use, from 0 to 1.
fn used_shares(stretches: &[Stretch], per_column: u64) -> Vec<f64> {
    let count = end_of(stretches).div_ceil(per_column);
    let mut used = vec![0; usize::try_from(count).unwrap_or(0)];
    for stretch in stretches.iter().filter(|stretch| !stretch.is_free) {
        let stretch_end = stretch.at + stretch.bytes;
        let mut at = stretch.at;
        while at < stretch_end {
            let column = at / per_column;
            let next = ((column + 1) * per_column).min(stretch_end);
            used[column as usize] += next - at;
            at = next;
        }
    }
    used.into_iter().map(|bytes: u64| bytes as f64 / per_column as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_columns() {
        let used = |at, bytes| Stretch { at, bytes, is_free: false };
        let free = Stretch { at: 150, bytes: 100, is_free: true };
        assert_eq!(used_shares(&[used(0, 150), free, used(250, 50)], 100), [1.0, 0.5, 0.5]);
    }
}
