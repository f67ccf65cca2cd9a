//! `morecore bench`: the shape of what it tells, not what it measured.

use serde_json::Value;

use crate::support::{ask, failed, told};

#[test]
fn mallocs_are_compared_workload_by_workload() {
    let some = "churn-2,exchange-8,server,sort";
    let told = told(&ask(&format!("bench malloc --quick --peers glibc --only {some} --json")));
    let report: Value = serde_json::from_str(&told).unwrap();
    let names: Vec<_> = report["contestants"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2);
    for subject in report["subjects"].as_array().unwrap() {
        for name in ["morecore", "glibc"] {
            let result = &subject["results"][name];
            assert!(result["failed"].is_null(), "{subject}");
            for quantity in ["processor_seconds", "elapsed_seconds", "peak_bytes"] {
                assert!(result[quantity]["median"].as_f64().unwrap() > 0.0, "{subject}");
            }
        }
    }
    assert_eq!(report["unit"], "glibc");
    let means = &report["geometric_means"];
    assert_eq!(means["glibc"]["peak_bytes"]["all"], 1.0);
    assert!(means["morecore"]["processor_seconds"]["workloads"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_table_names_every_contestant() {
    let table = told(&ask("bench malloc --quick --peers glibc --only zeroed"));
    assert!(table.contains("processor time  morecore         glibc\n"), "{table}");
    assert!(table.contains("\nzeroed "), "{table}");
    assert!(table.contains("\ngeometric means, glibc = 1: all, workloads, programs\n"), "{table}");
}

#[test]
fn what_is_not_there_is_said() {
    let of = |arguments: &str| failed(&ask(&format!("bench malloc {arguments}")));
    let (status, complaint) = of("--only nothing");
    assert_eq!(status, 1);
    assert!(complaint.contains("no workload or program is called nothing"), "{complaint}");
    let (status, complaint) = of("--peers ourmalloc");
    assert_eq!(status, 1);
    assert!(complaint.contains("no peer is called ourmalloc: try glibc, "), "{complaint}");
    let (_, complaint) = of("--peers ./nothing.so");
    assert_eq!(complaint, "morecore: ./nothing.so: No such file or directory (os error 2)");
}
