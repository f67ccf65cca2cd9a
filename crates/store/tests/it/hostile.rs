//! Segments that hold nonsense: whoever looks gets an answer or an error.

use morecore_store::{Create, Evict, Store};

use crate::{ALWAYS, chance};

/// Memory aligned to a page, for a copy of a segment.
#[repr(align(4096))]
#[derive(Clone, Copy)]
struct Page([u64; 512]);

fn image(store: &Store) -> Vec<Page> {
    let (base, bytes) = store.memory();
    let mut pages = vec![Page([0; 512]); bytes as usize / 4096];
    // SAFETY: both are `bytes` long, and nobody writes to the store meanwhile.
    unsafe { base.cast::<Page>().copy_to_nonoverlapping(pages.as_mut_ptr(), pages.len()) };
    pages
}

/// Looks at everything; the answers may be anything.
fn look(pages: &mut [Page], keys: &[Vec<u8>]) {
    let bytes = size_of_val(pages) as u64;
    // SAFETY: the pages outlive the observer, and nobody else uses them.
    let observed = unsafe { Store::observe_memory(pages.as_mut_ptr().cast(), bytes) };
    let Ok(mut observer) = observed else { return };
    observer.set_now(Some(5));
    let mut value = Vec::new();
    for key in keys {
        value.clear();
        let _ = observer.get(key, &mut value);
        let _ = observer.peek(key);
    }
    let mut cursor = 0;
    for _ in 0..10_000 {
        match observer.scan(cursor, 100, |_, _| ()) {
            Ok(0) | Err(_) => break,
            Ok(next) => cursor = next,
        }
    }
    let _ = observer.random_key(&mut value);
    let _ = (observer.stat(), observer.census(), observer.verify());
}

#[test]
fn bits_that_turn_give_answers_or_errors() {
    let mut chance = chance();
    let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    let keys: Vec<Vec<u8>> = (0..400usize).map(|n| vec![n as u8; 1 + n % 70]).collect();
    for (number, key) in keys.iter().enumerate() {
        store.set(key, &vec![7; number * 3], &ALWAYS).unwrap();
    }
    let whole = image(&store);
    // Where it hurts: header, shards, state, and then anywhere in what is in use.
    let used = whole.iter().rposition(|page| page.0.iter().any(|&word| word != 0)).unwrap() + 1;
    for round in 0..150 {
        let mut pages = whole.clone();
        for _ in 0..1 << (round % 8) {
            let page = chance.usize(..used);
            let in_use = pages[page].0.iter().filter(|&&word| word != 0).count();
            let nth = if in_use == 0 { continue } else { chance.usize(..in_use) };
            let word = pages[page].0.iter_mut().filter(|word| **word != 0).nth(nth).unwrap();
            match chance.u32(..3) {
                0 => *word ^= 1 << chance.u32(..64),
                1 => *word = chance.u64(..),
                _ => *word = chance.u64(..1 << 20) & !7,
            }
        }
        look(&mut pages, &keys);
    }
}

#[test]
fn noise_is_no_store() {
    let mut chance = chance();
    let mut pages = vec![Page([0; 512]); 256];
    pages.iter_mut().flat_map(|page| &mut page.0).for_each(|word| *word = chance.u64(..));
    look(&mut pages, &[b"k".to_vec()]);
}

#[test]
fn a_group_that_claims_to_be_deep_ends_a_search_for_a_random_key() {
    let how = Create { memory_bytes: 1 << 20, mode: 0o600, evict: Evict::None };
    let mut store = Store::anonymous(&how).unwrap();
    store.set(b"k", b"v", &ALWAYS).unwrap();
    store.delete(b"k").unwrap();
    let mut pages = image(&store);
    let words: Vec<u64> = pages.iter().flat_map(|page| page.0).collect();
    // A group's word says 16 buckets, a place in the heap, and its depth in the lowest bits.
    let is_group = |word: u64| word >> 48 == 16 && word & 0x3f == 0 && (word << 16 >> 16) < 1 << 20;
    let at = words.iter().position(|&word| is_group(word)).unwrap();
    pages[at / 512].0[at % 512] |= 63;
    look(&mut pages, &[b"k".to_vec()]);
}
