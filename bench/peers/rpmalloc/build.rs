//! Tells the linker that our `pthread_create`, which comes first, is the one: that of rpmalloc's own
//! preloading is not among the names that a Rust library exports.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,muldefs");
}
