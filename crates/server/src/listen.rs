//! The doors: sockets that clients come in by.
//!
//! Promises: a Unix socket's file is removed when its door closes, if it still is that door's; a
//! file that a killed server left is taken over, one that a living server listens on never.
//! Knows nothing of what clients want.
//! Source: unix(7), ipv6(7).

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use morecore_sys::Failed;
use morecore_sys::descriptor::Descriptor;
use morecore_sys::socket::{self, Address, Family, Wait};

use crate::error::{Error, system};
use crate::options::Options;

/// Clients that the kernel keeps for us until we accept them. Redis asks for 511; the kernel
/// takes at most `net.core.somaxconn`, 4096 by default, and a burst of clients costs no more.
pub(crate) const BACKLOG: u32 = 4096;

/// A socket that clients come in by.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) socket: Descriptor,
    /// What our end is called for who comes in by it, as `CLIENT LIST` shows it.
    pub(crate) name: Arc<str>,
    pub(crate) place: Place,
}

/// Where a door is.
#[derive(Debug)]
pub(crate) enum Place {
    Internet(SocketAddr),
    #[expect(dead_code, reason = "it is held for its drop")]
    Unix(UnixFile),
}

/// The file of a Unix socket; removed with its door.
#[derive(Debug)]
pub(crate) struct UnixFile {
    pub(crate) path: PathBuf,
    device: u64,
    inode: u64,
}

/// Opens every door that the options ask for. With port 0, all addresses get the same free port.
pub(crate) fn open(options: &Options) -> Result<Vec<Door>, Error> {
    let mut doors = Vec::new();
    let mut port = options.port;
    for ip in &options.bind {
        let Some(number) = port else { break };
        let address = SocketAddr::new(*ip, number);
        let door = internet(address, options.keep_alive_s)
            .map_err(|failed| Error::Listen { address, error: system(failed) })?;
        if let Place::Internet(got) = &door.place {
            port = Some(got.port());
        }
        doors.push(door);
    }
    if let Some(path) = &options.unix_socket {
        let door = unix(path).map_err(|error| Error::UnixSocket { path: path.clone(), error })?;
        doors.push(door);
    }
    if doors.is_empty() { Err(Error::Nowhere) } else { Ok(doors) }
}

/// A TCP door. On Linux each accepted socket inherits the options of its listener (the kernel
/// clones it), so what every connection has is set here once, and costs no calls per client.
fn internet(address: SocketAddr, keep_alive_s: u32) -> Result<Door, Failed> {
    let asked = Address::Internet(address);
    let socket = socket::stream(asked.family(), Wait::Nonblocking)?;
    socket::set_reuse_address(&socket)?;
    if asked.family() == Family::V6 {
        socket::set_v6_only(&socket)?;
    }
    socket::set_no_delay(&socket)?;
    if keep_alive_s > 0 {
        socket::set_keep_alive(&socket, keep_alive_s)?;
    }
    socket::bind(&socket, asked)?;
    socket::listen(&socket, BACKLOG)?;
    let got = socket::local_address(&socket)?.unwrap_or(address);
    Ok(Door { socket, name: got.to_string().into(), place: Place::Internet(got) })
}

fn unix(path: &Path) -> io::Result<Door> {
    let asked = Address::Unix(path.as_os_str().as_bytes());
    let socket = socket::stream(Family::Unix, Wait::Nonblocking).map_err(system)?;
    if let Err(failed) = socket::bind(&socket, asked) {
        let error = system(failed);
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path)?;
        socket::bind(&socket, asked).map_err(system)?;
    }
    let made = fs::symlink_metadata(path)?;
    let file = UnixFile { path: path.to_owned(), device: made.dev(), inode: made.ino() };
    socket::listen(&socket, BACKLOG).map_err(system)?;
    let name = format!("{}:0", path.display()).into();
    Ok(Door { socket, name, place: Place::Unix(file) })
}

/// Removes the socket file of a server that was killed: one that refuses to be connected to.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    let probe = socket::stream(Family::Unix, Wait::Nonblocking).map_err(system)?;
    match socket::connect(&probe, Address::Unix(path.as_os_str().as_bytes())).map_err(system) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "another server listens there")),
    }
}

impl Door {
    /// Returns its TCP address, if it has one.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Internet(address) => Some(*address),
            Place::Unix(_) => None,
        }
    }
}

impl Drop for UnixFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours {
            // Nobody to tell at this point; a file that stays is stale, and taken over later.
            let _stays = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Removed(PathBuf);

    impl Drop for Removed {
        fn drop(&mut self) {
            let _gone_already = fs::remove_file(&self.0);
        }
    }

    fn path(name: &str) -> Removed {
        let file = format!("morecore-listen-{}-{name}.sock", std::process::id());
        Removed(std::env::temp_dir().join(file))
    }

    #[test]
    fn a_closed_door_leaves_no_file() {
        let path = path("closed");
        let door = unix(&path.0).unwrap();
        assert!(path.0.exists());
        drop(door);
        assert!(!path.0.exists());
    }

    #[test]
    fn a_stale_socket_is_taken_over() {
        let path = path("stale");
        drop(std::os::unix::net::UnixListener::bind(&path.0).unwrap());
        assert!(path.0.exists());
        unix(&path.0).unwrap();
    }

    #[test]
    fn a_living_server_keeps_its_socket() {
        let path = path("living");
        let _living = unix(&path.0).unwrap();
        let error = unix(&path.0).unwrap_err();
        assert_eq!(error.to_string(), "another server listens there");
        assert!(path.0.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let path = path("file");
        fs::write(&path.0, "precious").unwrap();
        let error = unix(&path.0).unwrap_err();
        assert_eq!(error.to_string(), "a file that is no socket is there");
        assert_eq!(fs::read(&path.0).unwrap(), b"precious");
    }

    #[test]
    fn a_taken_port_is_told_with_what_to_do() {
        let first = internet("127.0.0.1:0".parse().unwrap(), 0).unwrap();
        let Place::Internet(got) = &first.place else { panic!("not a TCP door") };
        let options = Options { port: Some(got.port()), ..Options::default() };
        let words = open(&options).unwrap_err().to_string();
        let start = format!("port {} of 127.0.0.1 is taken by another process", got.port());
        assert!(words.starts_with(&start), "{words}");
    }
}
