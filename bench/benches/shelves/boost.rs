//! Boost.Interprocess: a map in a managed segment, compiled where g++ and libboost-dev are.

use std::ffi::{CStr, CString, c_char, c_long, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::draw::Key;
use crate::shelves::Shelf;

type Open = unsafe extern "C" fn(*const c_char, usize) -> *mut c_void;
type Get = unsafe extern "C" fn(*mut c_void, *const u8, *mut u8, usize) -> c_long;
type Set = unsafe extern "C" fn(*mut c_void, *const u8, *const u8, usize);
type Remove = unsafe extern "C" fn(*const c_char);

/// The library's functions, and the segment that goes away with their last user.
struct Library {
    name: CString,
    open: Open,
    get: Get,
    set: Set,
    remove: Remove,
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the function takes a string that ends, and keeps nothing of it.
        unsafe { (self.remove)(self.name.as_ptr()) };
    }
}

/// One who has the segment mapped.
pub(super) struct Boost {
    library: Arc<Library>,
    at: *mut c_void,
    value_bytes: usize,
}

// SAFETY: what the pointer leads to is used by one thread at a time, and its map under a mutex.
unsafe impl Send for Boost {}

/// Two of them on one segment of `bytes` bytes; `None` where they cannot be compiled.
pub(super) fn two(bytes: usize, value_bytes: usize) -> Option<Vec<Box<dyn Shelf>>> {
    let library = Arc::new(compile(&format!("morecore-bench-{}-{bytes}", std::process::id()))?);
    let one = || -> Box<dyn Shelf> {
        // SAFETY: as the C++ has it: a string that ends, and a size.
        let at = unsafe { (library.open)(library.name.as_ptr(), bytes) };
        Box::new(Boost { library: library.clone(), at, value_bytes })
    };
    Some(vec![one(), one()])
}

fn compile(name: &str) -> Option<Library> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/shelves/boost.cc");
    let made = std::env::temp_dir().join(format!("lib{name}.so"));
    let mut compile = Command::new("g++");
    compile.args(["-O3", "-shared", "-fPIC", "-o"]).arg(&made).arg(source);
    if !compile.args(["-lrt", "-pthread"]).status().is_ok_and(|status| status.success()) {
        return None;
    }
    let library = load(&made, name);
    let _ = std::fs::remove_file(&made);
    library
}

fn load(made: &Path, name: &str) -> Option<Library> {
    let path = CString::new(made.to_str()?).ok()?;
    // SAFETY: a path that ends; the library runs nothing of its own when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    let find = |what: &CStr| {
        // SAFETY: a handle that was opened, or none, of which nothing is found; a string that ends.
        let at = unsafe { libc::dlsym(handle, what.as_ptr()) };
        (!at.is_null()).then_some(at)
    };
    let (open, get) = (find(c"boost_open")?, find(c"boost_get")?);
    let (set, remove) = (find(c"boost_set")?, find(c"boost_remove")?);
    Some(Library {
        name: CString::new(name).ok()?,
        // SAFETY: the function of this name has this type in `boost.cc`.
        open: unsafe { std::mem::transmute::<*mut c_void, Open>(open) },
        // SAFETY: as above.
        get: unsafe { std::mem::transmute::<*mut c_void, Get>(get) },
        // SAFETY: as above.
        set: unsafe { std::mem::transmute::<*mut c_void, Set>(set) },
        // SAFETY: as above.
        remove: unsafe { std::mem::transmute::<*mut c_void, Remove>(remove) },
    })
}

impl Shelf for Boost {
    fn get(&mut self, key: &Key, found: &mut Vec<u8>) {
        found.clear();
        found.reserve(self.value_bytes);
        let (room, to) = (found.capacity(), found.as_mut_ptr());
        // SAFETY: the key has sixteen bytes, and `to` room for as many as are told.
        let bytes = unsafe { (self.library.get)(self.at, key.as_ptr(), to, room) };
        // SAFETY: so many were copied there.
        unsafe { found.set_len(usize::try_from(bytes).unwrap_or(0)) };
    }

    fn set(&mut self, key: &Key, value: &[u8]) {
        // SAFETY: the key has sixteen bytes, and the value as many as are told.
        unsafe { (self.library.set)(self.at, key.as_ptr(), value.as_ptr(), value.len()) };
    }
}
