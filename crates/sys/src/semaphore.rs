//! semget, semop, semctl: counters with a number, which the kernel takes back from the dead.
//!
//! Promises: nothing here allocates. What a process has sat down on is free again when it ends,
//! however it ends and in whatever namespace its number was: the kernel undoes it (`SEM_UNDO`). A
//! child of fork has none of its parent's seats.
//!
//! Source: semget(2), semop(2), semctl(2).

use crate::descriptor::again;
use crate::{Errno, Failed};

/// A set's number, as `ipcs -s` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetId(i32);

/// Makes a set of `count` semaphores under `key`, all 0.
///
/// # Errors
/// `EEXIST` if there is one under this key; `ENOSPC` and `EINVAL` at the system's limits.
pub fn create(key: u32, count: u32, mode: u32) -> Result<SetId, Failed> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | (mode & 0o777) as i32;
    get(key, count as i32, flags)
}

/// Finds the set under `key`.
///
/// # Errors
/// `ENOENT` if there is none.
pub fn find(key: u32) -> Result<SetId, Failed> {
    get(key, 0, 0)
}

/// Removes a set.
///
/// # Errors
/// `EPERM` if it belongs to another user.
pub fn remove(id: SetId) -> Result<(), Failed> {
    // SAFETY: IPC_RMID takes no fourth argument.
    done("semctl", unsafe { libc::semctl(id.0, 0, libc::IPC_RMID) }).map(drop)
}

/// Gives a set to a group.
///
/// # Errors
/// `EPERM` if it belongs to another user.
pub fn set_group(id: SetId, group: u32) -> Result<(), Failed> {
    let mut status = core::mem::MaybeUninit::<libc::semid_ds>::zeroed();
    // SAFETY: IPC_STAT writes a `semid_ds`, which is ours.
    done("semctl", unsafe { libc::semctl(id.0, 0, libc::IPC_STAT, status.as_mut_ptr()) })?;
    // SAFETY: the call filled it.
    let mut status = unsafe { status.assume_init() };
    status.sem_perm.gid = group;
    // SAFETY: IPC_SET reads a `semid_ds`.
    done("semctl", unsafe { libc::semctl(id.0, 0, libc::IPC_SET, &raw mut status) }).map(drop)
}

/// Sits down on a semaphore, until [`rise`] or the end of this process; false if somebody else sits
/// there.
///
/// # Errors
/// `EIDRM` and `EINVAL` if the set is gone, `EACCES` if its mode forbids it.
pub fn sit(id: SetId, index: u32) -> Result<bool, Failed> {
    let is_free = operation(index, 0, libc::IPC_NOWAIT);
    let sit = operation(index, 1, libc::SEM_UNDO | libc::IPC_NOWAIT);
    match operate(id, &mut [is_free, sit]) {
        Ok(()) => Ok(true),
        Err(failed) if failed.errno == Errno(libc::EAGAIN) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// Rises from a semaphore that this process sits on.
///
/// # Errors
/// As [`sit`]; `EAGAIN` if nobody sits there.
pub fn rise(id: SetId, index: u32) -> Result<(), Failed> {
    operate(id, &mut [operation(index, -1, libc::SEM_UNDO | libc::IPC_NOWAIT)])
}

/// Whether somebody sits on a semaphore.
///
/// # Errors
/// As [`sit`].
pub fn is_taken(id: SetId, index: u32) -> Result<bool, Failed> {
    // SAFETY: GETVAL takes no fourth argument.
    let value = done("semctl", unsafe { libc::semctl(id.0, index as i32, libc::GETVAL) })?;
    Ok(value != 0)
}

fn operation(index: u32, change: i16, flags: i32) -> libc::sembuf {
    libc::sembuf { sem_num: index as u16, sem_op: change, sem_flg: flags as i16 }
}

/// Makes all of `operations`, or none.
fn operate(id: SetId, operations: &mut [libc::sembuf]) -> Result<(), Failed> {
    let make = || {
        // SAFETY: as many operations as we say live through the call.
        let failed = unsafe { libc::semop(id.0, operations.as_mut_ptr(), operations.len()) };
        failed as isize
    };
    again("semop", make).map(drop)
}

fn get(key: u32, count: i32, flags: i32) -> Result<SetId, Failed> {
    // SAFETY: semget takes plain numbers.
    done("semget", unsafe { libc::semget(key as libc::key_t, count, flags) }).map(SetId)
}

fn done(call: &'static str, returned: i32) -> Result<i32, Failed> {
    if returned < 0 { Err(Failed::last(call)) } else { Ok(returned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removes a test's set also when the test fails.
    struct Removed(SetId);

    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = remove(self.0);
        }
    }

    #[test]
    fn a_seat_is_taken_until_its_process_ends() {
        let key = 0x7e58_0000 | (crate::process::id() & 0xffff);
        let set = Removed(create(key, 3, 0o600).unwrap());
        assert_eq!(find(key).unwrap(), set.0);
        assert!(sit(set.0, 1).unwrap() && is_taken(set.0, 1).unwrap());
        assert!(!sit(set.0, 1).unwrap() && !is_taken(set.0, 2).unwrap());
        rise(set.0, 1).unwrap();
        // SAFETY: the child makes system calls only, and ends with `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let has_sat = matches!(sit(set.0, 2), Ok(true));
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(i32::from(!has_sat)) };
        }
        assert_eq!(crate::process::wait(pid as u32).unwrap().status, 0);
        assert!(!is_taken(set.0, 2).unwrap() && !is_taken(set.0, 1).unwrap());
    }
}
