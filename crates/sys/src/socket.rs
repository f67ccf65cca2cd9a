//! Stream sockets: socket, bind, listen, accept, connect, send, receive, over IPv4, IPv6 and Unix.
//!
//! Promises: every descriptor made here is closed on exec; a send to who has left is `EPIPE`,
//! never a signal. Knows nothing of protocols, and does not resolve names.
//! Source: socket(7), ip(7), ipv6(7), tcp(7), unix(7).

use core::mem::{offset_of, size_of};
use core::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::Failed;
use crate::descriptor::{Descriptor, again};

/// The longest path of a Unix socket, in bytes: `sun_path` less its closing zero.
pub const UNIX_PATH_MOST: usize = size_of::<libc::sockaddr_un>() - SUN_PATH - 1;

/// The most pieces that are sent in one call: the replies of a pipeline of sixteen long values,
/// each with what stands before and behind it; and a table of half a KiB.
pub const PIECES_MOST: usize = 33;

/// Where the path begins in a `sockaddr_un`.
const SUN_PATH: usize = offset_of!(libc::sockaddr_un, sun_path);

/// Which kind of addresses a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// A path in the file system.
    Unix,
}

/// Where a socket is, or whom it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// An IP address and a TCP port.
    Internet(SocketAddr),
    /// A path of at most [`UNIX_PATH_MOST`] bytes, without a zero in it.
    Unix(&'a [u8]),
}

/// Which way of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// We receive no more: what has come is still read, and then the end.
    In,
    /// We send no more: the other end reads all that was sent, and then the end.
    Out,
    /// Both.
    Both,
}

/// What waits, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Calls wait until they can be served.
    Blocking,
    /// Calls that would wait fail with `EAGAIN`.
    Nonblocking,
}

/// A socket address as the kernel writes it, large enough for every family.
union Raw {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    unix: libc::sockaddr_un,
    storage: libc::sockaddr_storage,
}

impl Address<'_> {
    /// Returns the family that a socket for this address needs.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Internet(SocketAddr::V4(_)) => Family::V4,
            Self::Internet(SocketAddr::V6(_)) => Family::V6,
            Self::Unix(_) => Family::Unix,
        }
    }

    /// The kernel's form of this address and its length; `None` for a path that does not fit.
    fn raw(&self) -> Option<(Raw, libc::socklen_t)> {
        match self {
            Self::Internet(SocketAddr::V4(address)) => {
                Some((Raw { v4: raw_v4(address) }, size_of::<libc::sockaddr_in>() as u32))
            }
            Self::Internet(SocketAddr::V6(address)) => {
                Some((Raw { v6: raw_v6(address) }, size_of::<libc::sockaddr_in6>() as u32))
            }
            Self::Unix(path) if path.len() <= UNIX_PATH_MOST && !path.contains(&0) => {
                let mut unix =
                    libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
                for (to, from) in unix.sun_path.iter_mut().zip(*path) {
                    *to = *from as libc::c_char; // Signed on some processors, not on others.
                }
                Some((Raw { unix }, (SUN_PATH + path.len() + 1) as u32))
            }
            Self::Unix(_) => None,
        }
    }
}

/// Makes a stream socket.
///
/// # Errors
/// As socket(2): among them `EMFILE`, `EAFNOSUPPORT`.
pub fn stream(family: Family, wait: Wait) -> Result<Descriptor, Failed> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
        Family::Unix => libc::AF_UNIX,
    };
    // SAFETY: no pointers are passed.
    let made = unsafe { libc::socket(domain, libc::SOCK_STREAM | flags(wait), 0) };
    // SAFETY: `made` is what socket returned in the line above.
    unsafe { Descriptor::from_call("socket", made) }
}

/// Makes two stream sockets that are connected with each other, for a process and its child.
///
/// # Errors
/// As socketpair(2): among them `EMFILE`.
pub fn pair() -> Result<(Descriptor, Descriptor), Failed> {
    let mut made = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: the pointer is to two live numbers.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, made.as_mut_ptr()) };
    if done != 0 {
        return Err(Failed::last("socketpair"));
    }
    // SAFETY: the first of what socketpair made in the lines above.
    let one = unsafe { Descriptor::from_call("socketpair", made[0]) }?;
    // SAFETY: the second of it.
    let two = unsafe { Descriptor::from_call("socketpair", made[1]) }?;
    Ok((one, two))
}

/// Gives a socket its address.
///
/// # Errors
/// As bind(2): among them `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`; `ENAMETOOLONG` for a path of
/// more than [`UNIX_PATH_MOST`] bytes.
pub fn bind(socket: &Descriptor, address: Address<'_>) -> Result<(), Failed> {
    let (raw, bytes) = address.raw().ok_or(too_long("bind"))?;
    // SAFETY: `raw` lives, and its first `bytes` bytes are an address of its family.
    done("bind", unsafe { libc::bind(socket.number(), (&raw const raw).cast(), bytes) })
}

/// Lets clients connect; at most about `backlog` wait to be accepted.
///
/// # Errors
/// As listen(2).
pub fn listen(socket: &Descriptor, backlog: u32) -> Result<(), Failed> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    // SAFETY: no pointers are passed.
    done("listen", unsafe { libc::listen(socket.number(), backlog) })
}

/// Takes the next waiting client: its socket, and its address if it came over IP.
///
/// # Errors
/// As accept(2): among them `EAGAIN` (nobody waits), `EMFILE`, `ENFILE`, `ECONNABORTED`.
pub fn accept(
    listener: &Descriptor,
    wait: Wait,
) -> Result<(Descriptor, Option<SocketAddr>), Failed> {
    let mut raw = empty();
    let mut bytes = size_of::<Raw>() as u32;
    let taken = again("accept4", || {
        let (at, length) = ((&raw mut raw).cast(), &raw mut bytes);
        // SAFETY: `at` has room for `bytes` bytes, and both are live and exclusive.
        unsafe { libc::accept4(listener.number(), at, length, flags(wait)) as isize }
    })?;
    // SAFETY: accept4 returned it just now, and it is not negative.
    let socket = unsafe { Descriptor::from_number(taken as i32) };
    Ok((socket, internet(&raw)))
}

/// Connects to a listening socket. (A connect that a signal interrupts goes on in the background;
/// this is not tried again, and fails with `EINTR`.)
///
/// # Errors
/// As connect(2): among them `ECONNREFUSED`, `ENOENT`, `EINPROGRESS`.
pub fn connect(socket: &Descriptor, address: Address<'_>) -> Result<(), Failed> {
    let (raw, bytes) = address.raw().ok_or(too_long("connect"))?;
    // SAFETY: `raw` lives, and its first `bytes` bytes are an address of its family.
    done("connect", unsafe { libc::connect(socket.number(), (&raw const raw).cast(), bytes) })
}

/// Returns the address that a socket got; `None` for one that has no IP address.
///
/// # Errors
/// As getsockname(2).
pub fn local_address(socket: &Descriptor) -> Result<Option<SocketAddr>, Failed> {
    let mut raw = empty();
    let mut bytes = size_of::<Raw>() as u32;
    let (at, length) = ((&raw mut raw).cast(), &raw mut bytes);
    // SAFETY: `at` has room for `bytes` bytes, and both are live and exclusive.
    done("getsockname", unsafe { libc::getsockname(socket.number(), at, length) })?;
    Ok(internet(&raw))
}

/// Receives what has come, at most the length of `into`; returns how many bytes, 0 at the end.
///
/// # Errors
/// As recv(2): among them `EAGAIN`, `ECONNRESET`.
pub fn receive(socket: &Descriptor, into: &mut [u8]) -> Result<usize, Failed> {
    receive_with(socket, into, 0)
}

/// Sends what fits now of `from`; returns how many bytes.
///
/// # Errors
/// As send(2): among them `EAGAIN`, `EPIPE`, `ECONNRESET`.
pub fn send(socket: &Descriptor, from: &[u8]) -> Result<usize, Failed> {
    send_with(socket, from, libc::MSG_NOSIGNAL)
}

/// As [`receive`], but never waits, whether or not the socket does.
///
/// # Errors
/// As [`receive`].
pub fn receive_now(socket: &Descriptor, into: &mut [u8]) -> Result<usize, Failed> {
    receive_with(socket, into, libc::MSG_DONTWAIT)
}

/// As [`send`], but never waits, whether or not the socket does.
///
/// # Errors
/// As [`send`].
pub fn send_now(socket: &Descriptor, from: &[u8]) -> Result<usize, Failed> {
    send_with(socket, from, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
}

/// As [`receive`], into one stretch of memory and then into another.
///
/// # Errors
/// As [`receive`].
pub fn receive_into(
    socket: &Descriptor,
    first: &mut [u8],
    then: &mut [u8],
) -> Result<usize, Failed> {
    receive_into_with(socket, first, then, 0)
}

/// As [`receive_into`], but never waits, whether or not the socket does.
///
/// # Errors
/// As [`receive`].
pub fn receive_into_now(
    socket: &Descriptor,
    first: &mut [u8],
    then: &mut [u8],
) -> Result<usize, Failed> {
    receive_into_with(socket, first, then, libc::MSG_DONTWAIT)
}

fn receive_into_with(
    socket: &Descriptor,
    first: &mut [u8],
    then: &mut [u8],
    how: i32,
) -> Result<usize, Failed> {
    if first.is_empty() {
        return receive_with(socket, then, how);
    }
    let mut parts = [first, then]
        .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
    let mut message = message(parts.as_mut_ptr(), parts.len());
    // SAFETY: the message names two live, exclusive slices, and no room for anything else.
    again("recvmsg", || unsafe { libc::recvmsg(socket.number(), &raw mut message, how) })
}

/// As [`send`], of one piece behind the other; of more than [`PIECES_MOST`] pieces the first ones.
///
/// # Errors
/// As [`send`].
pub fn send_pieces(socket: &Descriptor, pieces: &[&[u8]]) -> Result<usize, Failed> {
    send_pieces_with(socket, pieces, libc::MSG_NOSIGNAL)
}

/// As [`send_pieces`], but never waits, whether or not the socket does.
///
/// # Errors
/// As [`send`].
pub fn send_pieces_now(socket: &Descriptor, pieces: &[&[u8]]) -> Result<usize, Failed> {
    send_pieces_with(socket, pieces, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
}

fn send_pieces_with(socket: &Descriptor, pieces: &[&[u8]], how: i32) -> Result<usize, Failed> {
    if let [one] = pieces {
        return send_with(socket, one, how);
    }
    let mut parts = [libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 }; PIECES_MOST];
    for (part, piece) in parts.iter_mut().zip(pieces) {
        // The kernel only reads what is to be sent.
        *part = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
    }
    let message = message(parts.as_mut_ptr(), pieces.len().min(PIECES_MOST));
    // SAFETY: the message names live slices, and nothing else.
    again("sendmsg", || unsafe { libc::sendmsg(socket.number(), &raw const message, how) })
}

/// A message of parts, without an address and anything beside them.
fn message(parts: *mut libc::iovec, count: usize) -> libc::msghdr {
    // SAFETY: all zeroes is a msghdr that names nothing.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (parts, count as _);
    message
}

/// The call itself: libc's own is a point where a thread may be cancelled, which costs 45
/// instructions to prepare, and nobody here cancels threads.
fn receive_with(socket: &Descriptor, into: &mut [u8], how: i32) -> Result<usize, Failed> {
    again("recv", || {
        let (number, at, bytes) = (socket.number(), into.as_mut_ptr(), into.len());
        let from = core::ptr::null_mut::<u8>();
        // SAFETY: the address and length are those of a live, exclusive slice; who has sent it is
        // not asked for.
        let count =
            unsafe { libc::syscall(libc::SYS_recvfrom, number, at, bytes, how, from, from) };
        count as isize
    })
}

/// As [`receive_with`], the other way.
fn send_with(socket: &Descriptor, from: &[u8], how: i32) -> Result<usize, Failed> {
    again("send", || {
        let (number, at, bytes) = (socket.number(), from.as_ptr(), from.len());
        let to = core::ptr::null::<u8>();
        // SAFETY: the address and length are those of a live slice; no address is passed.
        let count = unsafe { libc::syscall(libc::SYS_sendto, number, at, bytes, how, to, 0usize) };
        count as isize
    })
}

/// Ends one way of a connection, or both.
///
/// # Errors
/// As shutdown(2): `ENOTCONN` if the other end is already gone.
pub fn shutdown(socket: &Descriptor, way: Way) -> Result<(), Failed> {
    let how = match way {
        Way::In => libc::SHUT_RD,
        Way::Out => libc::SHUT_WR,
        Way::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no pointers are passed.
    done("shutdown", unsafe { libc::shutdown(socket.number(), how) })
}

/// Lets a listener take a port whose former connections still linger in `TIME_WAIT`.
///
/// # Errors
/// As setsockopt(2).
pub fn set_reuse_address(socket: &Descriptor) -> Result<(), Failed> {
    set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)
}

/// Keeps an IPv6 listener from taking the IPv4 port of the same number too.
///
/// # Errors
/// As setsockopt(2).
pub fn set_v6_only(socket: &Descriptor) -> Result<(), Failed> {
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1_i32)
}

/// Sends small writes at once (no Nagle): replies leave in one write anyway.
///
/// # Errors
/// As setsockopt(2).
pub fn set_no_delay(socket: &Descriptor) -> Result<(), Failed> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1_i32)
}

/// Has the kernel probe a silent other end after `seconds`, and end the connection when three
/// probes, a third of that apart, go unanswered: who vanished is noticed in twice that time.
///
/// # Errors
/// As setsockopt(2).
pub fn set_keep_alive(socket: &Descriptor, seconds: u32) -> Result<(), Failed> {
    if seconds == 0 {
        return set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &0_i32);
    }
    // The kernel takes at most 32767 (tcp(7)).
    let idle = seconds.min(32_767).cast_signed();
    set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1_i32)?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, &idle)?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, &(idle / 3).max(1))?;
    set(socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, &3_i32)
}

/// Sets one option; `T` is the type that its manual page names.
fn set<T: Copy>(socket: &Descriptor, level: i32, name: i32, value: &T) -> Result<(), Failed> {
    let (at, bytes) = (core::ptr::from_ref(value).cast(), size_of::<T>() as u32);
    // SAFETY: the address and length are those of a live value.
    done("setsockopt", unsafe { libc::setsockopt(socket.number(), level, name, at, bytes) })
}

fn done(call: &'static str, returned: i32) -> Result<(), Failed> {
    if returned == 0 { Ok(()) } else { Err(Failed::last(call)) }
}

const fn too_long(call: &'static str) -> Failed {
    Failed { call, errno: crate::Errno(libc::ENAMETOOLONG) }
}

const fn flags(wait: Wait) -> i32 {
    match wait {
        Wait::Blocking => libc::SOCK_CLOEXEC,
        Wait::Nonblocking => libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
    }
}

const fn empty() -> Raw {
    // SAFETY: all zeroes is a sockaddr_storage, of the family AF_UNSPEC.
    Raw { storage: unsafe { core::mem::zeroed() } }
}

const fn raw_v4(address: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        // The octets stand in memory in their order, whatever the machine's.
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

const fn raw_v6(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as u16,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
        sin6_scope_id: address.scope_id(),
    }
}

/// The IP address in what the kernel wrote, if it is one.
fn internet(raw: &Raw) -> Option<SocketAddr> {
    // SAFETY: `raw` began as zeroes or a whole address, so all its bytes are initialised, and any
    // bytes are a sockaddr_storage.
    let family = unsafe { raw.storage.ss_family };
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: as above; any bytes are a sockaddr_in.
            let v4 = unsafe { raw.v4 };
            let ip = v4.sin_addr.s_addr.to_ne_bytes().into();
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above; any bytes are a sockaddr_in6.
            let v6 = unsafe { raw.v6 };
            let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greets through a connection to `address`, and returns what the other end heard.
    fn check(address: Address<'_>) {
        let listener = stream(address.family(), Wait::Blocking).unwrap();
        bind(&listener, address).unwrap();
        listen(&listener, 4).unwrap();
        let got = local_address(&listener).unwrap();
        let client = stream(address.family(), Wait::Blocking).unwrap();
        connect(&client, got.map_or(address, Address::Internet)).unwrap();
        let (served, from) = accept(&listener, Wait::Blocking).unwrap();
        assert_eq!(from, local_address(&client).unwrap());
        assert_eq!(send(&client, b"hello"), Ok(5));
        shutdown(&client, Way::Out).unwrap();
        let mut heard = [0; 8];
        assert_eq!(receive(&served, &mut heard), Ok(5));
        assert_eq!(&heard[..5], b"hello");
        assert_eq!(receive(&served, &mut heard), Ok(0));
    }

    #[test]
    fn greets_over_ipv4() {
        check(Address::Internet("127.0.0.1:0".parse().unwrap()));
    }

    #[test]
    fn greets_over_ipv6_where_there_is_one() {
        let address = Address::Internet("[::1]:0".parse().unwrap());
        let there = stream(Family::V6, Wait::Blocking).and_then(|socket| bind(&socket, address));
        if there.is_ok() {
            check(address);
        }
    }

    #[test]
    fn greets_over_a_unix_path() {
        let mut path = *b"/tmp/morecore-sys-0000000000.sock";
        // SAFETY: getpid has no preconditions.
        let mut rest = unsafe { libc::getpid() };
        for digit in path[18..28].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        check(Address::Unix(&path));
        let mut zero_ended = [0_u8; 64];
        zero_ended[..path.len()].copy_from_slice(&path);
        // SAFETY: `zero_ended` is a path that ends with a zero.
        assert_eq!(unsafe { libc::unlink(zero_ended.as_ptr().cast()) }, 0);
    }

    #[test]
    fn refuses_a_path_that_does_not_fit() {
        let socket = stream(Family::Unix, Wait::Blocking).unwrap();
        let failed = bind(&socket, Address::Unix(&[b'x'; UNIX_PATH_MOST + 1])).unwrap_err();
        assert_eq!(failed.errno.0, libc::ENAMETOOLONG);
    }

    #[test]
    fn a_nonblocking_accept_says_that_nobody_waits() {
        let listener = stream(Family::V4, Wait::Nonblocking).unwrap();
        bind(&listener, Address::Internet("127.0.0.1:0".parse().unwrap())).unwrap();
        listen(&listener, 4).unwrap();
        let failed = accept(&listener, Wait::Nonblocking).unwrap_err();
        assert_eq!(failed.errno.0, libc::EAGAIN);
    }

    #[test]
    fn what_is_sent_in_pieces_is_received_in_two_places() {
        let (ours, theirs) = pair().unwrap();
        let pieces: [&[u8]; 4] = [b"one ", b"", b"and ", b"the other"];
        assert_eq!(send_pieces(&ours, &pieces), Ok(17));
        let (mut first, mut then) = ([0; 8], [0; 64]);
        assert_eq!(receive_into(&theirs, &mut first, &mut then), Ok(17));
        assert_eq!((&first, &then[..9]), (b"one and ", &b"the other"[..]));
        assert_eq!(send_pieces_now(&ours, &[&b"x"[..]; PIECES_MOST + 1]), Ok(PIECES_MOST));
        assert_eq!(receive_into(&theirs, &mut [], &mut then), Ok(PIECES_MOST));
        assert_eq!(then[..PIECES_MOST], [b'x'; PIECES_MOST]);
    }

    #[test]
    fn a_send_to_nobody_is_an_error_and_no_signal() {
        let socket = stream(Family::V4, Wait::Blocking).unwrap();
        assert_eq!(send(&socket, b"x").unwrap_err().errno.0, libc::EPIPE);
    }
}
