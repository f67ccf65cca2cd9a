//! A kernel that refuses `io_uring` is served on with epoll.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::panic::AssertUnwindSafe;
use std::thread;

use morecore_server::{Level, Model, Options, Server};
use morecore_store::{Create, Store};

use crate::house::options;
use crate::talk::Talk;

/// Has the kernel refuse this thread, and those that it starts, `io_uring_setup` with `errno`.
fn refuse(errno: i32) {
    let code = |code: u32, yes, no, k| libc::sock_filter { code: code as u16, jt: yes, jf: no, k };
    let failure = libc::SECCOMP_RET_ERRNO | errno as u32;
    let mut filter = [
        // The number of the call is the first word of what a filter sees.
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, failure),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: no pointers are passed.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `program` and its filter are live, and the kernel copies them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    assert_eq!(set, 0);
}

fn check(errno: i32) {
    let (tell, told) = std::sync::mpsc::channel();
    let serving = thread::spawn(move || {
        refuse(errno);
        let store = Store::anonymous(&Create { memory_bytes: 64 << 20, ..Create::default() });
        let server = Server::bind(store.unwrap(), options(Model::Uring)).unwrap();
        tell.send((server.model(), server.port().unwrap(), server.stopper())).unwrap();
        server.run().unwrap();
    });
    let (model, port, stopper) = told.recv().unwrap();
    assert_eq!(model, Model::Epoll);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(Talk::to(address).ask("PING"), "+PONG");
    stopper.stop();
    serving.join().unwrap();
}

#[test]
fn by_a_kernel_without_it() {
    check(libc::ENOSYS);
}

#[test]
fn by_a_setting_or_a_filter() {
    check(libc::EPERM);
}

#[test]
fn by_an_older_kernel() {
    check(libc::EINVAL);
}

#[test]
fn and_the_operator_is_told_in_one_line() {
    let (mut ours, theirs) = std::io::pipe().unwrap();
    // SAFETY: the child is a copy of this thread alone, and the C library makes its heap usable
    // there; it ends with `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let bind = || {
            // SAFETY: no pointers are passed; standard error is this process's alone.
            unsafe { libc::dup2(theirs.as_raw_fd(), libc::STDERR_FILENO) };
            refuse(libc::EPERM);
            let store = Store::anonymous(&Create { memory_bytes: 64 << 20, ..Create::default() });
            // So few clients that no limit of descriptors is told of as well.
            let some = Options { clients_most: 10, ..options(Model::Uring) };
            let options = Options { log: Level::Notice, ..some };
            Server::bind(store.unwrap(), options).unwrap()
        };
        let bound = std::panic::catch_unwind(AssertUnwindSafe(bind));
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(i32::from(bound.is_err())) };
    }
    drop(theirs);
    let mut said = String::new();
    ours.read_to_string(&mut said).unwrap();
    assert_eq!(morecore_sys::process::wait(pid as u32).unwrap().status, 0, "{said}");
    let (line, rest) = said.split_once('\n').unwrap();
    let words = "morecore: serving with epoll: this system refuses io_uring (io_uring_setup";
    assert!(line.starts_with(words), "{said}");
    assert_eq!(rest, "");
}
