//! Changes whose keys are held first, and looked at for as long as it takes.

use morecore_store::{Change, Error, Evict, Store};

use crate::{ALWAYS, prove, small, value_of};

fn put(value: &[u8]) -> Change {
    Change::Set { value: value.to_vec(), expiry: None, flags: 0 }
}

#[test]
fn held_keys_stay_as_they_are_until_all_change_at_once() {
    let mut store = small(Evict::None);
    let mut other = store.try_clone().unwrap();
    store.set(b"a", b"old", &ALWAYS).unwrap();
    store.hold_keys(&[b"b", b"a", b"b"]).unwrap();
    assert_eq!(value_of(&mut store, b"a").unwrap(), b"old");
    let writer = std::thread::spawn(move || {
        other.set(b"a", b"theirs", &ALWAYS).unwrap();
        other
    });
    // The writer waits, and whoever reads sees what was.
    assert_eq!(value_of(&mut store, b"a").unwrap(), b"old");
    store.commit_held(false, &[(b"a", Change::Remove), (b"b", put(&[b'v'; 3000]))]).unwrap();
    let mut other = writer.join().unwrap();
    assert_eq!(value_of(&mut other, b"a").unwrap(), b"theirs");
    assert_eq!(value_of(&mut other, b"b").unwrap(), [b'v'; 3000]);
    prove(&mut store);
}

#[test]
fn what_was_held_and_let_go_is_everybodys() {
    let mut store = small(Evict::None);
    let mut other = store.try_clone().unwrap();
    store.hold_everything().unwrap();
    store.let_go();
    other.set(b"a", b"1", &ALWAYS).unwrap();
    store.hold_keys(&[b"a"]).unwrap();
    drop(store);
    other.set(b"a", b"2", &ALWAYS).unwrap();
    assert_eq!(value_of(&mut other, b"a").unwrap(), b"2");
}

#[test]
fn more_than_a_journal_takes_back_is_committed_all_the_same() {
    const KEYS: usize = 3000;
    let mut store = crate::Store::anonymous(&morecore_store::Create {
        memory_bytes: 16 << 20,
        ..Default::default()
    })
    .unwrap();
    let keys: Vec<Vec<u8>> = (0..KEYS).map(|n| format!("key:{n}").into_bytes()).collect();
    let hold = |store: &mut Store| {
        store.hold_keys(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    };
    for bytes in [3, 700, 0] {
        hold(&mut store);
        let changes: Vec<_> = keys.iter().map(|key| (&key[..], put(&vec![b'v'; bytes]))).collect();
        store.commit_held(false, &changes).unwrap();
        assert_eq!(store.len(), KEYS as u64);
        assert!(keys.iter().all(|key| value_of(&mut store, key) == Some(vec![b'v'; bytes])));
        prove(&mut store);
    }
    hold(&mut store);
    let changes: Vec<_> = keys.iter().map(|key| (&key[..], Change::Remove)).collect();
    store.commit_held(false, &changes).unwrap();
    assert!(store.is_empty());
    prove(&mut store);
}

#[test]
fn everything_goes_and_something_comes() {
    let mut store = small(Evict::None);
    for n in 0..500 {
        store.set(format!("key:{n}").as_bytes(), &[b'v'; 500], &ALWAYS).unwrap();
    }
    store.hold_everything().unwrap();
    store.commit_held(true, &[(b"new", put(b"1"))]).unwrap();
    assert_eq!((store.len(), value_of(&mut store, b"new").unwrap()), (1, b"1".to_vec()));
    prove(&mut store);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut store = small(Evict::None);
    store.set(b"a", b"old", &ALWAYS).unwrap();
    store.hold_keys(&[b"a", b"b"]).unwrap();
    let changes = [(&b"a"[..], put(b"new")), (b"b", put(&vec![b'v'; 10 << 20]))];
    assert!(store.commit_held(false, &changes).is_err());
    assert_eq!((value_of(&mut store, b"a").unwrap(), store.len()), (b"old".to_vec(), 1));
    prove(&mut store);
}

/// More keys at once than can be taken back, or claimed: nothing of them is there.
fn check_too_many(keys: usize, bytes: usize) {
    let how = morecore_store::Create { memory_bytes: 16 << 20, ..Default::default() };
    let mut store = Store::anonymous(&how).unwrap();
    store.set(b"0", b"old", &ALWAYS).unwrap();
    let names: Vec<Vec<u8>> = (0..keys).map(|number| number.to_string().into_bytes()).collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let mut set = |keys: &[&[u8]]| {
        let all = || keys.iter().map(|_| put(&vec![b'v'; bytes])).collect();
        let done = store.update_many(keys, |_| (all(), ()));
        let verified = prove(&mut store);
        assert_eq!((verified.claimed, verified.pending), (0, 0));
        (done, verified.entries, value_of(&mut store, b"0").unwrap().len())
    };
    match set(&names) {
        (Err(Error::TooManyKeys { keys: told, most }), 1, 3) => {
            assert!(most < told && told <= keys as u64, "{told} keys, at most {most}");
        }
        other => panic!("{other:?}"),
    }
    // Half of what there may be is possible at once.
    let half = &names[..200];
    assert!(matches!(set(half), (Ok(()), 200, length) if length == bytes));
}

#[test]
fn more_keys_than_can_be_taken_back_change_nothing() {
    check_too_many(3000, 3);
}

#[test]
fn more_keys_than_can_be_claimed_change_nothing() {
    check_too_many(600, 200);
}
