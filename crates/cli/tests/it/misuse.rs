//! `morecore bench misuse`: what our malloc must notice, whatever others do.

use serde_json::Value;

use crate::support::{ask, told};

/// What became of the misuses of `group` on the malloc `player`, as far as they exist here.
fn unnoticed<'a>(report: &'a Value, group: &str, player: &str) -> Vec<&'a Value> {
    let all = report["misuses"].as_array().unwrap().iter();
    let of_group: Vec<_> = all.filter(|misuse| misuse["group"] == group).collect();
    assert!(of_group.len() > 8, "{group}: {}", of_group.len());
    let is_noticed = |misuse: &&&Value| misuse["fates"][player] == "caught";
    of_group.into_iter().filter(|misuse| !is_noticed(&misuse)).collect()
}

#[test]
fn every_wrong_free_is_caught_and_more_by_the_hardened_heap() {
    let report = told(&ask("bench misuse --peers glibc --json"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["misuses"].as_array().unwrap().len() >= 116);
    let nothing: [&Value; 0] = [];
    for group in ["double free", "invalid free", "wrong size"] {
        assert_eq!(unnoticed(&report, group, "morecore"), nothing);
        assert_eq!(unnoticed(&report, group, "hardened"), nothing);
    }
    for group in ["overrun", "underrun"] {
        assert_eq!(unnoticed(&report, group, "hardened"), nothing);
    }
    // A large payload that is freed has no memory any more: writing there is a fault at once.
    let after = unnoticed(&report, "write after free", "hardened");
    assert!(after.iter().all(|misuse| misuse["fates"]["hardened"] == "crashed"), "{after:?}");
}
