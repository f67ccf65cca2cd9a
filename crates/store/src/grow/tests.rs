//! What one change moves at most, however large the table has become.

use super::*;
use crate::hash::hash;
use crate::{Create, Set, Store};

/// The most lines of a group: one that is below those at which it is split grows by a part, and by
/// one more where hashes crowd. Some twenty more lines have been seen.
const LINES_MOST: u64 = 2 * LINES_SPLIT;

/// By how much a directory may have more words than there are groups: hashes are spread evenly, so
/// the deepest groups are but a few bits deeper than the others.
const SPARSE_MOST: u64 = 16;

fn group_and_directory(store: &Store, key: &[u8]) -> (Group, Directory) {
    let session = &store.session;
    let (view, plan) = (&session.view, &session.plan);
    let hash = hash(session.seed, key);
    let directory = directory_of(view, plan, plan.shard_of(hash)).unwrap().unwrap();
    (group_of(view, plan, hash).unwrap().unwrap(), directory)
}

/// The most notes that the store's own participant ever made in one transaction: nobody erases
/// those of what is over.
fn notes_made(store: &Store) -> u64 {
    let session = &store.session;
    let journal = session.plan.journal_at(session.slot);
    let is_made = |note: &u64| session.view.load(journal + WORD + note * 2 * WORD) != 0;
    (0..session.plan.notes).take_while(is_made).count() as u64
}

/// Sets `count` keys to values of `bytes` bytes, and looks at what each of them had to move.
fn check(count: u32, bytes: impl Fn(u32) -> usize) {
    let how = Create { memory_bytes: 64 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    let (mut lines, mut words) = (0, 0);
    for number in 0..count {
        let key = format!("key:{number}");
        store.set(key.as_bytes(), &vec![7; bytes(number)], &Set::default()).unwrap();
        let (group, directory) = group_and_directory(&store, key.as_bytes());
        (lines, words) = (group.lines().max(lines), directory.count().max(words));
    }
    let groups = store.verify().unwrap().groups;
    let groups_a_shard = groups / store.session.plan.shards;
    let notes = notes_made(&store);
    eprintln!("{lines} lines, {words} words for {groups_a_shard} groups, {notes} notes");
    // To look at the notes tells something only if they are where it is looked for.
    assert!(notes > 4, "{notes} notes");
    assert!(lines <= LINES_MOST, "a group of {lines} lines");
    assert!(words <= SPARSE_MOST * groups_a_shard, "{words} words for {groups_a_shard} groups");
    // An entry, or words of a directory, or payloads for the stock, of which there are the most.
    let most = store.session.plan.notes / 4;
    assert!(notes <= most, "{notes} notes in one transaction, {most} at most");
}

#[test]
fn a_new_entry_moves_one_group_and_a_few_words_however_many_there_are() {
    check(150_000, |_| 20);
    check(80_000, |_| 100);
    check(80_000, |number| [3, 90, 300, 20][number as usize % 4]);
}
