//! What a run found as lines of text, and those lines read again: so several short runs make one
//! picture.
//!
//! ```text
//! transport,operation,value_bytes,connections,pipeline,name,per_s,min,max,cpu_ns,p50_us,...
//! ```

use clap::ValueEnum;

use super::contest::{Answer, Row, Sample};
use super::setting::Setting;
use crate::commands::bench::language::Operation;
use crate::commands::bench::peers::Transport;
use crate::commands::bench::rounds::Spread;
use crate::failure::Failure;

/// The first line.
const HEAD: &str = "transport,operation,value_bytes,connections,pipeline,name,\
                    per_s,min,max,cpu_ns,p50_us,p99_us,p999_us";

/// The medians, with the spread of the first, one line a setting and contestant.
pub(super) fn write(answers: &[Answer]) -> String {
    let mut text = format!("{HEAD}\n");
    for Answer { setting, rows, .. } in answers {
        let Setting { transport, operation, value_bytes, connections, pipeline } = setting;
        let setting = format!("{},{}", transport.name(), operation.name());
        let setting = format!("{setting},{value_bytes},{connections},{pipeline}");
        for row in rows {
            let of = |number: fn(&Sample) -> f64| Spread::of(row.each(number));
            let Spread { median, least, most } = of(|sample| sample.per_s);
            let rate = format!("{median:.0},{least:.0},{most:.0}");
            let cpu_ns = of(|sample| sample.cpu_ns).median;
            let [p50, p99, p999] =
                [of(|s| s.p50_us), of(|s| s.p99_us), of(|s| s.p999_us)].map(|of| of.median);
            let times = format!("{cpu_ns:.0},{p50:.1},{p99:.1},{p999:.1}");
            text.push_str(&format!("{setting},{},{rate},{times}\n", row.name));
        }
    }
    text
}

/// Reads what was written. A row gets three samples, which have the same median, least and most.
///
/// # Errors
/// - A line is none that was written.
pub(super) fn read(text: &str) -> Result<Vec<Answer>, Failure> {
    let mut answers: Vec<Answer> = Vec::new();
    for line in text.lines().filter(|line| *line != HEAD) {
        let (setting, row) =
            row_in(line).ok_or_else(|| Failure::new(format!("`{line}` is no line of a bench")))?;
        match answers.iter_mut().find(|answer| answer.setting == setting) {
            Some(answer) => answer.rows.push(row),
            None => answers.push(Answer { setting, rows: vec![row], unable: Vec::new() }),
        }
    }
    Ok(answers)
}

fn row_in(line: &str) -> Option<(Setting, Row)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [transport, operation, value_bytes, connections, pipeline, name, numbers @ ..] =
        &fields[..]
    else {
        return None;
    };
    let setting = Setting {
        transport: Transport::from_str(transport, true).ok()?,
        operation: Operation::from_str(operation, true).ok()?,
        value_bytes: value_bytes.parse().ok()?,
        connections: connections.parse().ok()?,
        pipeline: pipeline.parse().ok()?,
    };
    let numbers: Vec<f64> = numbers.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
    let &[median, least, most, cpu_ns, p50_us, p99_us, p999_us] = &numbers[..] else {
        return None;
    };
    let sample = |per_s| Sample { per_s, cpu_ns, p50_us, p99_us, p999_us };
    let samples = [least, median, most].map(sample).to_vec();
    let is_ours = name.starts_with("morecore ");
    Some((setting, Row { name: (*name).to_string(), is_ours, samples }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_written_alike() {
        let lines = "tcp,GET,32,50,1,morecore epoll,172000,130000,176000,5717,282.6,413.7,761.9\n\
                     tcp,GET,32,50,1,redis,143000,101000,148000,6869,327.7,581.6,770.0\n\
                     unix,SET,1024,1,64,redis,3,2,4,5,6.0,7.0,8.0\n";
        let text = format!("{HEAD}\n{lines}");
        let answers = read(&text).unwrap();
        assert_eq!(answers.iter().map(|answer| answer.rows.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(write(&answers), text);
        assert!(read("tcp,GET,32,50,1,redis,143000").is_err());
    }
}
