//! Tells the linker that the library stays once it is loaded.
//!
//! The C library calls back into it when a thread ends and when the process forks: after a dlclose
//! those calls would go to where nothing is.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
