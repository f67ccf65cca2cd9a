//! Stores of this machine: how a segment becomes a store, and how it is found again.
//!
//! ```text
//!   no segment --shmget--> raw --header--> being made --all else--> ready
//!                           |                  |
//!                           +--- its maker died: the next one removes it and begins again
//! ```
//!
//! Promises: whoever dies while making a store leaves nothing that looks like one.
//! Source: shmget(2); the key says nothing, the name in the header decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use morecore_sys::file::Access;
use morecore_sys::segment::{self, Id, SegmentStat};
use morecore_sys::semaphore::{self, SetId};

use crate::layout::{BYTES_LEAST, BYTES_MOST, LAYOUT, MAGIC, PAGE, Plan, header};
use crate::mapping::Mapping;
use crate::name::{KEY_PREFIX, KEY_PROBES, NAME_BYTES_MOST, Name, Place};
use crate::participant::{Identity, Me};
use crate::session::system_now_ms;
use crate::space::Space;
use crate::view::View;
use crate::{Create, Error, Evict, Listed, ListedState, file, handover};

/// How long a store may be in the making before we say so: it takes some milliseconds.
const MAKING_MOST: Duration = Duration::from_secs(2);

/// The upper half of the key of a turn to make a store: behind that of stores.
const TURN_PREFIX: u32 = KEY_PREFIX + 0x1_0000;

/// What is under a key.
enum Found {
    /// A usable store with this name.
    Ready(Arc<Mapping>, String),
    /// A store of another layout, with this name.
    Layout(u64, String),
    /// A segment that its maker did not finish, and never will.
    Carcass,
    /// A segment in the making.
    Making(u32),
    /// None of ours, or nothing that we may look at.
    Strange,
}

/// Makes a store.
pub(crate) fn create(name: &Name, how: &Create) -> Result<Arc<Mapping>, Error> {
    match name.place() {
        Place::Segment => create_segment(name, how),
        Place::File(path) => file::create(path, how),
        Place::Socket(_) => Err(Error::NotHere { name: name.to_string() }),
    }
}

/// Makes a store in a segment. Two makers of one name take turns, so that it is not made twice
/// while a third one removes a store under an earlier key between them.
fn create_segment(name: &Name, how: &Create) -> Result<Arc<Mapping>, Error> {
    let bytes = whole_pages(how.memory_bytes)?;
    let _turn = Turn::take(name)?;
    match locate(name) {
        Err(Error::NoSuchStore { .. }) => {}
        Ok(_) | Err(Error::Layout { .. }) => {
            return Err(Error::Exists { name: name.to_string() });
        }
        Err(error) => return Err(error),
    }
    for probe in 0..KEY_PROBES {
        let id = match segment::create(name.key(probe), bytes, how.mode) {
            Ok(id) => id,
            // Somebody else's.
            Err(failed) if failed.errno.0 == EEXIST => continue,
            Err(failed) => return Err(failed.into()),
        };
        make_seats(name.key(probe), bytes, how.mode);
        let made = Mapping::attach(id, false).and_then(|mapping| {
            lay_out(&mapping.view(), name.as_str(), how)?;
            Ok(Arc::new(mapping))
        });
        if made.is_err() {
            remove_with_seats(id)?;
        }
        return made;
    }
    Err(Error::Exists { name: name.to_string() })
}

/// The turn to make a store of a name: a semaphore, which the kernel takes back from the dead.
struct Turn(Option<SetId>);

impl Turn {
    /// Waits for it, as long as a store may be in the making.
    fn take(name: &Name) -> Result<Self, Error> {
        let key = TURN_PREFIX | (name.key(0) & 0xffff);
        let begin = Instant::now();
        while begin.elapsed() < MAKING_MOST {
            // Who has no right to it, or finds that there are no more, goes without.
            let set = match semaphore::create(key, 1, 0o666) {
                Err(failed) if failed.errno.0 == EEXIST => semaphore::find(key),
                made => made,
            };
            let set = match set {
                Ok(set) => set,
                Err(failed) if failed.errno.0 == ENOENT => continue,
                Err(_) => return Ok(Self(None)),
            };
            // One that was removed meanwhile was its last owner's: the next one is another.
            if let Ok(true) = semaphore::sit(set, 0) {
                return Ok(Self(Some(set)));
            }
            std::thread::yield_now();
        }
        Err(Error::Busy { ms: begin.elapsed().as_millis() as u64 })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(set) = self.0 else { return };
        // Nobody waits for ever for one that is gone. Another user's stays, and is risen from.
        if semaphore::remove(set).is_err() {
            let _ = semaphore::rise(set, 0);
        }
    }
}

/// Makes a store in memory that has no name.
pub(crate) fn anonymous(how: &Create) -> Result<Arc<Mapping>, Error> {
    let mapping = Mapping::anonymous(whole_pages(how.memory_bytes)?)?;
    lay_out(&mapping.view(), "", how)?;
    Ok(Arc::new(mapping))
}

/// Finds a store and attaches its memory.
pub(crate) fn attach(name: &Name, access: Access) -> Result<Arc<Mapping>, Error> {
    match name.place() {
        Place::Segment => attach_segment(name, access == Access::Read),
        Place::File(path) => file::attach(path, access),
        Place::Socket(path) => handover::attach(path, access),
    }
}

fn attach_segment(name: &Name, read_only: bool) -> Result<Arc<Mapping>, Error> {
    let (mapping, id) = locate(name)?;
    if !read_only {
        drop(mapping);
        return Ok(Arc::new(Mapping::attach(id, false)?));
    }
    Ok(mapping)
}

/// Removes a store: those who have it attached keep it until they leave.
pub(crate) fn remove(name: &Name) -> Result<(), Error> {
    match name.place() {
        Place::Segment => remove_segment(name),
        Place::File(path) => file::remove(path),
        Place::Socket(_) => Err(Error::NotHere { name: name.to_string() }),
    }
}

fn remove_segment(name: &Name) -> Result<(), Error> {
    let mut has_removed = false;
    for id in segments_of(name) {
        let is_it = match look(id, Some(name)) {
            Found::Ready(_, found) | Found::Layout(_, found) => found == name.as_str(),
            _ => false,
        };
        if is_it {
            remove_with_seats(id)?;
            has_removed = true;
        }
    }
    if has_removed { Ok(()) } else { Err(Error::NoSuchStore { name: name.to_string() }) }
}

/// Gives a store to a group.
pub(crate) fn set_group(name: &Name, group: u32) -> Result<(), Error> {
    match name.place() {
        Place::Segment => {
            let (_, id) = locate(name)?;
            segment::set_group(id, group)?;
            match semaphore::find(segment::stat(id)?.key) {
                Ok(seats) => Ok(semaphore::set_group(seats, group)?),
                Err(_) => Ok(()),
            }
        }
        Place::File(path) => file::set_group(path, group),
        Place::Socket(_) => Err(Error::NotHere { name: name.to_string() }),
    }
}

/// Lists the stores of this machine.
pub(crate) fn list() -> Result<Vec<Listed>, Error> {
    let mut segments = Vec::new();
    segment::for_each(|segment| {
        if segment.key & 0xffff_0000 == KEY_PREFIX {
            segments.push(segment);
        }
    })?;
    let mut listed: Vec<_> = segments.into_iter().filter_map(listed).collect();
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listed)
}

fn listed(segment: SegmentStat) -> Option<Listed> {
    let (name, state) = match look(segment.id, None) {
        Found::Ready(_, name) => (name, ListedState::Ready),
        Found::Layout(found, name) => (name, ListedState::Layout { found }),
        Found::Carcass | Found::Making(_) => (String::new(), ListedState::Unfinished),
        Found::Strange if Mapping::attach(segment.id, true).is_err() => {
            (String::new(), ListedState::Forbidden)
        }
        Found::Strange => return None,
    };
    let SegmentStat { id, key, bytes, mode, attached, .. } = segment;
    Some(Listed { name, id: id.0, key, bytes, mode, attached, state })
}

/// Finds a ready store of a name; waits for one that is being made.
fn locate(name: &Name) -> Result<(Arc<Mapping>, Id), Error> {
    let begin = Instant::now();
    loop {
        let mut maker = None;
        for id in segments_of(name) {
            match look(id, Some(name)) {
                Found::Ready(mapping, found) if found == name.as_str() => {
                    return Ok((mapping, id));
                }
                Found::Layout(layout, found) if found == name.as_str() => {
                    return Err(Error::Layout { found: layout, ours: LAYOUT });
                }
                Found::Carcass => {
                    // Two may see it; the second removes nothing, for numbers are not used again.
                    let _ = remove_with_seats(id);
                }
                Found::Making(by_pid) => maker = Some(by_pid),
                _ => {}
            }
        }
        let Some(by_pid) = maker else {
            return Err(Error::NoSuchStore { name: name.to_string() });
        };
        if begin.elapsed() > MAKING_MOST {
            return Err(Error::NotReady { name: name.to_string(), by_pid });
        }
        std::thread::yield_now();
    }
}

/// Makes the semaphores by which the kernel tells of the dead of other namespaces. Those under this
/// key belong to no segment any more. Where the system has no more of them, it goes without.
fn make_seats(key: u32, bytes: u64, mode: u32) {
    if let Ok(left) = semaphore::find(key) {
        let _ = semaphore::remove(left);
    }
    let _ = semaphore::create(key, Plan::new(bytes).slots as u32, mode);
}

/// Removes a segment, and first the semaphores that belong to it.
fn remove_with_seats(id: Id) -> Result<(), Error> {
    let SegmentStat { key, .. } = segment::stat(id)?;
    if let Ok(seats) = semaphore::find(key) {
        // Whoever may not remove them may not remove the segment either.
        let _ = semaphore::remove(seats);
    }
    Ok(segment::remove(id)?)
}

/// The segments under the keys where a store of this name may be.
fn segments_of(name: &Name) -> impl Iterator<Item = Id> {
    (0..KEY_PROBES).filter_map(|probe| segment::find(name.key(probe)).ok())
}

/// Looks what a segment is, without changing it. A segment in the making says its name already; if
/// it is another than `wanted`, it is none of our business.
fn look(id: Id, wanted: Option<&Name>) -> Found {
    let Ok(segment) = segment::stat(id) else { return Found::Strange };
    let Ok(mapping) = Mapping::attach(id, true) else { return Found::Strange };
    let view = mapping.view();
    if view.bytes() < BYTES_LEAST || view.bytes() > BYTES_MOST {
        return Found::Strange;
    }
    let (magic, state) = (view.load(header::MAGIC_AT), view.load(header::STATE_AT));
    // The maker writes the magic last of what stands in the header's first words.
    if magic != MAGIC && (magic != 0 || !matches!(state, header::RAW | header::MAKING)) {
        return Found::Strange;
    }
    let name = name_of(&view);
    let layout = view.load(header::LAYOUT_AT);
    if state == header::READY && layout != LAYOUT {
        return Found::Layout(layout, name);
    }
    if state == header::READY {
        return Found::Ready(Arc::new(mapping), name);
    }
    if magic != 0 && wanted.is_some_and(|wanted| wanted.as_str() != name) {
        return Found::Strange;
    }
    if is_maker_dead(&view, &segment) { Found::Carcass } else { Found::Making(segment.creator_pid) }
}

fn is_maker_dead(view: &View, segment: &SegmentStat) -> bool {
    let Ok(me) = Me::new(Vec::new()) else { return false };
    let maker = Identity(view.load(header::MAKER_AT));
    if !maker.is_nobody() {
        return me.knows_dead(maker);
    }
    // It died, or has not come so far, before it wrote who it is: the kernel knows its number.
    // What somebody uses is not ours to judge, though.
    segment.attached == 0 && !morecore_sys::process::is_alive(segment.creator_pid, |_| true)
}

/// The store's name, as its header has it.
pub(crate) fn name_of(view: &View) -> String {
    let count = view.load(header::NAME_BYTES_AT).min(NAME_BYTES_MOST as u64);
    let mut bytes = Vec::new();
    match view.copy_out(header::NAME_AT, count, &mut bytes) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// Refuses memory that is no ready store of our layout.
pub(crate) fn check(view: &View) -> Result<(), Error> {
    let damaged = |what, at| Err(Error::Damaged { what, at });
    if view.bytes() < BYTES_LEAST || view.bytes() > BYTES_MOST {
        return Err(Error::TooSmall { bytes: view.bytes(), least: BYTES_LEAST });
    }
    if view.load(header::MAGIC_AT) != MAGIC {
        return damaged("no store begins here", header::MAGIC_AT);
    }
    let found = view.load(header::LAYOUT_AT);
    if found != LAYOUT {
        return Err(Error::Layout { found, ours: LAYOUT });
    }
    if view.load(header::STATE_AT) != header::READY {
        return damaged("a store that was never finished", header::STATE_AT);
    }
    if view.load(header::BYTES_AT) != view.bytes() {
        return damaged("a store of another size", header::BYTES_AT);
    }
    Ok(())
}

/// Makes a store of zeroed memory. The last word written says that it is ready.
pub(crate) fn lay_out(view: &View, name: &str, how: &Create) -> Result<(), Error> {
    let me = Me::new(Vec::new())?;
    view.store(header::MAKER_AT, me.identity.0);
    // A file's name may be longer than fits: then it has none inside.
    let name = if name.len() <= NAME_BYTES_MOST { name } else { "" };
    view.store(header::NAME_BYTES_AT, name.len() as u64);
    view.copy_in(header::NAME_AT, name.as_bytes());
    view.store(header::STATE_AT, header::MAKING);
    view.store(header::LAYOUT_AT, LAYOUT);
    view.store(header::MAGIC_AT, MAGIC);
    let plan = Plan::new(view.bytes());
    view.store(header::BYTES_AT, plan.bytes);
    view.store(header::CREATED_MS_AT, system_now_ms());
    view.store(header::SEED_AT, random());
    view.store(header::EVICT_AT, u64::from(how.evict == Evict::None));
    Space::format(view, &plan);
    view.store(header::STATE_AT, header::READY);
    Ok(())
}

/// A number that nobody can guess, from the standard library's seed, which the system gave.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::Instant::now())
}

pub(crate) fn whole_pages(bytes: u64) -> Result<u64, Error> {
    if !(BYTES_LEAST..=BYTES_MOST).contains(&bytes) {
        return Err(Error::TooSmall { bytes, least: BYTES_LEAST });
    }
    Ok(bytes.next_multiple_of(PAGE))
}

/// errno(3): there is one already; and there is none.
const EEXIST: i32 = 17;
const ENOENT: i32 = 2;
