//! `morecore bench store` and `morecore bench server`: the shape of what they tell.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{ask, morecore, told};

/// Runs a bench, and gives what it told; every number of `names` must be there for everybody.
fn check(arguments: &str, names: &[&str], settings: usize) -> Value {
    let text = told(&ask(&format!("bench {arguments} --quick --json")));
    let report: Value = serde_json::from_str(&text).unwrap();
    let answers = report["settings"].as_array().unwrap();
    assert_eq!(answers.len(), settings);
    for answer in answers {
        for contestant in answer["contestants"].as_array().unwrap() {
            for name in names {
                let median = contestant[*name]["median"].as_f64();
                assert!(median.is_some_and(f64::is_finite), "{name} of {contestant}");
            }
            assert!(contestant["per_s"]["min"].as_f64().unwrap() > 0.0, "{contestant}");
        }
    }
    report
}

#[test]
fn stores_are_compared_setting_by_setting() {
    let report = check("store --items 500", &["per_s"], 40);
    assert_eq!(report["items"], 500);
    let first = &report["settings"][0]["contestants"];
    assert_eq!(first[0]["name"], "morecore");
    assert_eq!(first[1]["name"], "hash map");
    assert!(first[1]["ours_to_it"]["median"].as_f64().unwrap() > 0.0);
    assert!(report["item_bytes"][1]["resident"]["hash map"].is_number());
    assert!(report["fill_ns"][0]["ns"]["morecore"].as_f64().unwrap() > 0.0);
}

#[test]
fn servers_are_compared_setting_by_setting() {
    let picture = std::env::temp_dir().join(format!("morecore-test-{}.svg", std::process::id()));
    let names = ["per_s", "cpu_ns", "p50_us", "p99_us", "p999_us"];
    let report = check(&format!("server --picture {}", picture.display()), &names, 6);
    let first = &report["settings"][0]["contestants"][0];
    assert!(first["name"].as_str().unwrap().starts_with("morecore "));
    let svg = std::fs::read_to_string(&picture).unwrap();
    let _ = std::fs::remove_file(picture);
    assert!(svg.starts_with("<svg") && svg.contains("pipeline 16"), "{svg}");
}

#[test]
fn a_bench_leaves_nothing_behind() {
    let mut command = morecore();
    command.args(["bench", "store", "--quick", "--items", "100"]).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    let name = format!("bench-{}-", child.id());
    let table = told(&child.wait_with_output().unwrap());
    assert!(table.contains("morecore / hash map"), "{table}");
    assert!(!told(&ask("ls")).contains(&name));
}
