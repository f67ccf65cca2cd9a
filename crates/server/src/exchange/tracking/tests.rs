//! What is gathered of a turn, while others have theirs.

use super::*;

/// A client that is told of all keys.
const LISTENER: u64 = 9;

fn changed(tracking: &mut Tracking, by: Option<u64>, key: &[u8]) {
    let seen = Some((1, None));
    tracking.changed(Changed { key, shard: 0, seen, moved: [0, 2], commits: 1, by }, |_| {});
}

/// The keys that are told together, when the turn of `by` ends.
fn told(tracking: &mut Tracking, by: Option<u64>) -> Vec<Vec<u8>> {
    let taken = tracking.take_gathered_by(by);
    assert!(taken.len() <= 1, "{taken:?}");
    taken.into_values().flatten().collect()
}

#[test]
fn the_keys_of_a_turn_stay_together_whoever_else_ends_one() {
    let mut tracking = Tracking::default();
    let (redirect, is_no_loop, prefixes, pass) = (None, false, Some(Vec::new()), None);
    tracking.begin(LISTENER, Tracker { redirect, is_no_loop, prefixes, pass });
    changed(&mut tracking, Some(1), b"a");
    changed(&mut tracking, Some(2), b"other");
    changed(&mut tracking, None, b"by a process");
    assert_eq!(told(&mut tracking, None), [b"by a process"]);
    assert_eq!(told(&mut tracking, Some(2)), [b"other"]);
    changed(&mut tracking, Some(1), b"b");
    assert_eq!(told(&mut tracking, Some(1)), [b"a", b"b"]);
    assert_eq!(tracking.gathered_keys, 0);
}
