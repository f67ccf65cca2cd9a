//! What a store says of itself: counts, and what is where.
//!
//! Promises: reads only, and holds nothing; so the numbers are those of slightly different moments
//! while others change the store.

use morecore_heap::{Part, Walk};
use morecore_sys::memory::look_for_pages;

use crate::layout::{PAGE, Plan, header, shard, slot};
use crate::participant::{Identity, Me};
use crate::session::core;
use crate::space::Space;
use crate::system::name_of;
use crate::verify::{Owners, Use};
use crate::view::View;
use crate::{Census, Evict, Participant, Piece, PieceKind, Stat};

/// How many pages the kernel is asked for at a time: 16 MiB, a byte each on the stack.
const LOOK_PAGES: u64 = 4096;

/// The number of entries.
pub(crate) fn entries(view: &View, plan: &Plan) -> u64 {
    sum(view, plan, shard::ENTRIES)
}

pub(crate) fn stat(view: &View, plan: &Plan) -> Stat {
    let mut stat = Stat {
        name: name_of(view),
        entries: entries(view, plan),
        content_bytes: sum(view, plan, shard::CONTENT_BYTES),
        memory_bytes: plan.bytes,
        evictions: sum(view, plan, shard::EVICTIONS),
        expired: sum(view, plan, shard::EXPIRED),
        recoveries: view.load(header::RECOVERIES_AT),
        long_waits: view.load(header::LONG_WAITS_AT),
        evict: if view.load(header::EVICT_AT) == 0 { Evict::Policy } else { Evict::None },
        created_ms: view.load(header::CREATED_MS_AT),
        shards: plan.shards as u32,
        participants_most: plan.slots as u32,
        participants: participants(view, plan),
        ..Stat::default()
    };
    let (space, core) = (Space::new(plan), core(view, plan, 0));
    for part in Walk::new(&core, space.chunks, space.units).map_while(Result::ok) {
        if let Part::Free(chunk) | Part::Top(chunk) = part {
            stat.free_bytes += chunk.bytes;
            stat.largest_free_bytes = stat.largest_free_bytes.max(chunk.payload_bytes());
        }
    }
    // Slots of nobody are address space, not memory: their pages were mostly never touched.
    let idle = (plan.slots - stat.participants.len() as u64) * plan.slot_bytes;
    stat.used_bytes = stat.memory_bytes.saturating_sub(stat.free_bytes + idle);
    stat
}

/// How many bytes of the segment are in memory; `None` if the kernel does not tell. Who is not told
/// hears of all pages that they are there.
pub(crate) fn resident_bytes(view: &View, is_told: bool) -> Option<u64> {
    let base = view.base().expose_provenance() as u64;
    let (mut at, mut resident) = (0, 0);
    while at < view.bytes() {
        let mut pages = [0; LOOK_PAGES as usize];
        let count = ((view.bytes() - at) / PAGE).min(LOOK_PAGES);
        look_for_pages(base + at, &mut pages[..count as usize]).ok()?;
        resident += pages[..count as usize].iter().filter(|&&page| page & 1 != 0).count() as u64;
        at += count * PAGE;
    }
    (is_told || resident * PAGE < view.bytes()).then_some(resident * PAGE)
}

fn sum(view: &View, plan: &Plan, counter: u64) -> u64 {
    let shards = 0..plan.shards;
    shards.fold(0, |sum, shard| sum.wrapping_add(view.load(plan.shard_at(shard) + counter)))
}

fn participants(view: &View, plan: &Plan) -> Vec<Participant> {
    let Ok(me) = Me::new(Vec::new()) else { return Vec::new() };
    let participant = |slot| {
        let identity = Identity(view.load(plan.slot_at(slot) + slot::IDENTITY));
        (!identity.is_nobody()).then(|| Participant {
            slot: slot as u32,
            pid: identity.pid(),
            since_ms: view.load(plan.slot_at(slot) + slot::SINCE_MS),
            is_alive: !me.knows_dead(identity),
        })
    };
    (0..plan.slots).filter_map(participant).collect()
}

/// What is where. A segment that is damaged, or changes under the walk, is shown as far as it
/// makes sense, and the rest as one piece that is in use.
pub(crate) fn census(view: &View, plan: &Plan) -> Census {
    let owners = Owners::find(view, plan, None, &mut Vec::new());
    let (space, core) = (Space::new(plan), core(view, plan, 0));
    let mut pieces = vec![piece(0, plan.heap_at, PieceKind::Fixed, plan.heap_at)];
    for part in Walk::new(&core, space.chunks, space.units).map_while(Result::ok) {
        let piece = match part {
            Part::Region(_) => continue,
            Part::Free(chunk) | Part::Top(chunk) => {
                piece(chunk.begin.0, chunk.bytes, PieceKind::Free, 0)
            }
            Part::Used(chunk) => {
                let (kind, used) = match owners.of(chunk.payload().0) {
                    Some(&Use::Directory) => (PieceKind::Directory, chunk.payload_bytes()),
                    Some(&Use::Group { used }) => (PieceKind::Group, used),
                    Some(&Use::Payload { used }) => (PieceKind::Payload, used),
                    Some(Use::Pending) => (PieceKind::Leased, chunk.payload_bytes()),
                    Some(Use::Claimed) | None => (PieceKind::Claimed, 0),
                };
                piece(chunk.begin.0, chunk.bytes, kind, used)
            }
            Part::Slab(chunk, _, _) => {
                let used = owners.used_between(chunk.payload().0, chunk.end().0);
                piece(chunk.begin.0, chunk.bytes, PieceKind::Payload, used)
            }
        };
        fill_gap(&mut pieces, piece.at);
        pieces.push(piece);
    }
    fill_gap(&mut pieces, plan.bytes);
    Census { memory_bytes: plan.bytes, pieces }
}

/// A region's header and fences belong to no chunk: they are fixed.
fn fill_gap(pieces: &mut Vec<Piece>, to: u64) {
    let end = pieces.last().map_or(0, |last| last.at + last.bytes);
    if end < to {
        pieces.push(piece(end, to - end, PieceKind::Fixed, to - end));
    }
}

fn piece(at: u64, bytes: u64, kind: PieceKind, used_bytes: u64) -> Piece {
    Piece { at, bytes, kind, used_bytes }
}
