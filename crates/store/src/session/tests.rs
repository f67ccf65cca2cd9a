//! Sessions that stop in the middle, as a death leaves them.

use super::*;
use crate::bucket::Sought;
use crate::grow::Lacking;
use crate::store::Store;
use crate::table::directory_of;
use crate::{Act, Create, Set};

fn two_sessions() -> (Store, Store) {
    let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };
    let one = Store::anonymous(&how).unwrap();
    let two = one.try_clone().unwrap();
    (one, two)
}

fn value_of(store: &mut Store, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    store.get(key, &mut value).unwrap().map(|_| value)
}

/// Brings a set of `key` to where all is changed and nothing committed.
fn set_half(store: &mut Store, key: &[u8], value: &[u8]) {
    let session = &mut store.session;
    let sought = Sought::new(session.seed, key);
    let act = session.prepare(&sought, value, 0).unwrap();
    let shards = [session.plan.shard_of(sought.hash)];
    session.hold(&shards).unwrap();
    let claims = session.claims;
    session.begin(&shards);
    if !session.apply(&sought, act).unwrap() {
        let Act::Put(bucket, _) = act else { unreachable!("what was prepared is put") };
        session.undo();
        session.claims = claims;
        session.make_place(sought.hash, Lacking::of(&bucket)).unwrap();
        session.begin(&shards);
        assert!(session.apply(&sought, act).unwrap());
    }
}

/// Lets `store` take all other sessions of this process for dead.
fn bury_others(store: &mut Store) {
    store.session.me.presumed_dead = vec![std::process::id()];
}

#[test]
fn an_unfinished_change_is_not_seen_and_is_taken_back() {
    for value in [&b"new"[..], &[9; 500]] {
        let (mut dead, mut living) = two_sessions();
        living.set(b"k", b"old", &Set::default()).unwrap();
        living.set(b"other", &[1; 100], &Set::default()).unwrap();
        set_half(&mut dead, b"k", value);
        assert_eq!(value_of(&mut living, b"k").unwrap(), b"old");
        let mut shown = 0;
        living.scan(0, 100, |_, _| shown += 1).unwrap();
        assert_eq!(shown, 2);
        bury_others(&mut living);
        living.set(b"k", b"later", &Set::default()).unwrap();
        assert_eq!(value_of(&mut living, b"k").unwrap(), b"later");
        let verified = living.verify().unwrap();
        assert_eq!((verified.entries, verified.claimed, living.stat().recoveries), (2, 0, 1));
        std::mem::forget(dead);
    }
}

#[test]
fn what_was_committed_stays_although_its_maker_died_at_once() {
    let (mut dead, mut living) = two_sessions();
    living.set(b"k", &[1; 500], &Set::default()).unwrap();
    set_half(&mut dead, b"k", &[2; 500]);
    dead.session.core.commit();
    assert_eq!(value_of(&mut living, b"k").unwrap(), [2; 500]);
    bury_others(&mut living);
    assert!(living.delete(b"k").unwrap());
    assert_eq!(living.verify().unwrap().claimed, 0);
    std::mem::forget(dead);
}

#[test]
fn a_rescuer_that_dies_is_followed_by_another() {
    let (mut dead, mut rescuer) = two_sessions();
    let mut living = dead.try_clone().unwrap();
    living.set(b"k", b"old", &Set::default()).unwrap();
    set_half(&mut dead, b"k", &[3; 300]);
    bury_others(&mut rescuer);
    let slot = dead.session.slot;
    // Half a rescue: the journal is rolled back, the rescuer's mark stays, and so do the claims.
    rescuer.session.recover_if_dead(slot).unwrap();
    let mark = rescuer.session.plan.slot_at(slot) + slot::RESCUER;
    rescuer.session.view.store(mark, rescuer.session.me.identity.0);
    bury_others(&mut living);
    living.tidy().unwrap();
    assert_eq!(value_of(&mut living, b"k").unwrap(), b"old");
    assert_eq!(living.verify().unwrap().claimed, 0);
    assert_eq!(living.stat().participants.len(), 1);
    std::mem::forget((dead, rescuer));
}

#[test]
fn a_newcomer_adopts_a_dead_slot_when_all_are_taken() {
    let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };
    let mut first = Store::anonymous(&how).unwrap();
    let mut dead: Vec<_> = (1..8).map(|_| first.try_clone().unwrap()).collect();
    first.set(b"k", b"old", &Set::default()).unwrap();
    set_half(&mut dead[3], b"k", &[3; 300]);
    bury_others(&mut first);
    let mut newcomer = first.try_clone().unwrap();
    assert_eq!(value_of(&mut newcomer, b"k").unwrap(), b"old");
    assert_eq!(newcomer.verify().unwrap().claimed, 0);
    std::mem::forget((first, dead));
}

#[test]
fn a_change_that_unwinds_leaves_nothing() {
    let (mut one, mut two) = two_sessions();
    one.set(b"k", b"old", &Set::default()).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        one.update(b"k", |_| -> (crate::Change, ()) { panic!("on purpose") })
    }));
    assert!(result.is_err());
    two.set(b"k", b"new", &Set::default()).unwrap();
    assert_eq!(value_of(&mut one, b"k").unwrap(), b"new");
    one.verify().unwrap();
}

#[test]
fn steps_of_one_change_see_one_another() {
    let (mut one, _two) = two_sessions();
    let session = &mut one.session;
    let sought = Sought::new(session.seed, b"k");
    let shards = [session.plan.shard_of(sought.hash)];
    let long = session.prepare(&sought, &[1; 400], 0).unwrap();
    let short = session.prepare(&sought, b"2", 0).unwrap();
    session.hold(&shards).unwrap();
    session.change(&shards, &[(sought, long), (sought, Act::Remove), (sought, short)]).unwrap();
    session.abandon();
    assert_eq!(value_of(&mut one, b"k").unwrap(), b"2");
    let verified = one.verify().unwrap();
    assert_eq!((verified.entries, verified.claimed), (1, 0));
}

/// Gives `store` a payload that it claims: a set that stopped before it was published.
fn claim_one(store: &mut Store, key: &[u8]) {
    let sought = Sought::new(store.session.seed, key);
    store.session.prepare(&sought, &[4; 300], 0).unwrap();
}

#[test]
fn who_died_in_a_slot_that_was_recovered_before_is_rolled_back_too() {
    let (mut dead, mut slow) = two_sessions();
    let mut living = dead.try_clone().unwrap();
    living.set(b"k", &[1; 500], &Set::default()).unwrap();
    claim_one(&mut dead, b"k");
    let slot = dead.session.slot;
    bury_others(&mut slow);
    // The slow one rolls it back, and does not come to free what it claims ...
    slow.session.recover_if_dead(slot).unwrap();
    // ... before another one did, and the slot's next owner died with a change half done.
    living.session.me.presumed_dead = slow.session.me.presumed_dead.clone();
    living.session.recover_if_dead(slot).unwrap();
    living.session.finish_others();
    let mut second = slow.try_clone().unwrap();
    assert_eq!(second.session.slot, slot);
    set_half(&mut second, b"k", &[3; 500]);
    slow.session.finish_others();
    living.session.me.presumed_dead.clear();
    assert_eq!(value_of(&mut living, b"k").unwrap(), [1; 500]);
    slow.set(b"k", &[5; 500], &Set::default()).unwrap();
    std::mem::forget((dead, second));
    assert_eq!(slow.verify().unwrap().claimed, 0);
}

#[test]
fn claims_that_a_dead_rescuer_had_half_freed_are_freed() {
    let (mut dead, mut rescuer) = two_sessions();
    let mut living = dead.try_clone().unwrap();
    claim_one(&mut dead, b"k");
    let slot = dead.session.slot;
    bury_others(&mut rescuer);
    rescuer.session.recover_if_dead(slot).unwrap();
    // It dies before the commit: the claim reads as free, and is not.
    rescuer.session.hold_heap().unwrap();
    let claim = morecore_heap::Offset(rescuer.session.plan.claim_at(slot, 0));
    rescuer.session.core.write(claim, 0);
    bury_others(&mut living);
    living.session.recover_if_dead(slot).unwrap();
    living.session.finish_others();
    living.tidy().unwrap();
    assert_eq!(living.verify().unwrap().claimed, 0);
    std::mem::forget((dead, rescuer));
}

#[test]
fn a_hold_of_nobody_is_damage_and_no_wait() {
    let (mut one, _two) = two_sessions();
    let session = &one.session;
    let at = session.plan.shard_at(session.plan.shard_of(Sought::new(session.seed, b"key").hash));
    session.view.half_word(at + shard::HOLD).store(1 << 31, Relaxed);
    let answer = one.set(b"key", b"value", &Set::default());
    assert!(matches!(answer, Err(Error::Damaged { what: "a hold of nobody", .. })), "{answer:?}");
}

#[test]
fn a_group_deeper_than_its_directory_is_damage_to_who_grows_it() {
    let (_keeper, mut store) = two_sessions();
    store.set(b"k", b"v", &Set::default()).unwrap();
    let Store { session, .. } = &store;
    let hash = Sought::new(session.seed, b"k").hash;
    let shard = session.plan.shard_of(hash);
    let directory = directory_of(&session.view, &session.plan, shard).unwrap().unwrap();
    let at = directory.entry_at(&session.plan, hash);
    // The depth is the lowest bits of the word.
    session.view.store(at, session.view.load(at) | 63);
    let failed =
        (0..1000u32).find_map(|n| store.set(&n.to_le_bytes(), b"v", &Set::default()).err());
    let what = "a group deeper than its directory";
    assert!(matches!(failed, Some(Error::Damaged { what: found, .. }) if found == what));
}
