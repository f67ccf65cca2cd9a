//! Dumps: what is written is read, what is damaged is refused.

use super::*;

/// The bytes of version and checksum.
const FOOT_BYTES: usize = 10;

/// `value` is dumped and read again.
fn check(value: &[u8]) -> Vec<u8> {
    let mut dump = Vec::new();
    write(value, &mut dump);
    assert_eq!(read(&dump, u64::MAX).as_deref(), Ok(value));
    dump
}

/// A dump with this body, which is right about version and checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut dump = [body, &VERSION.to_le_bytes()].concat();
    let sum = checksum(&dump);
    dump.extend_from_slice(&sum.to_le_bytes());
    dump
}

#[test]
fn the_checksum_is_that_of_redis() {
    assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
}

#[test]
fn what_is_dumped_is_read_again() {
    for text in ["", "a", "0", "-1", "127", "128", "-129", "32768", "2147483647", "-2147483648"] {
        check(text.as_bytes());
    }
    for text in ["2147483648", "01", "+1", "-0", " 1", "99999999999"] {
        assert_eq!(check(text.as_bytes())[1], text.len() as u8, "{text:?} is no integer");
    }
    for bytes in [63, 64, 0x3fff, 0x4000, 100_000] {
        check(&vec![b'x'; bytes]);
    }
}

#[test]
fn an_integer_is_short() {
    assert_eq!(check(b"5").len(), 3 + FOOT_BYTES);
    assert_eq!(check(b"-30000").len(), 4 + FOOT_BYTES);
    assert_eq!(check(b"-2147483648").len(), 6 + FOOT_BYTES);
}

#[test]
fn a_packed_value_is_unpacked() {
    // "ab", then seven from two before, then twelve from one before.
    let packed = [1, b'a', b'b', 5 << 5, 1, 7 << 5, 3, 0];
    let expected = [b"ababababa".as_slice(), &[b'a'; 12]].concat();
    let body = [&[STRING, 0xc3, packed.len() as u8, expected.len() as u8], &packed[..]].concat();
    assert_eq!(read(&sealed(&body), 21), Ok(expected));
    assert_eq!(read(&sealed(&body), 20), Err(Unreadable::Body));
}

#[test]
fn what_is_damaged_is_refused() {
    let whole = check(b"some value");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert_eq!(read(&damaged, u64::MAX), Err(Unreadable::Foot), "byte {at}");
        assert_eq!(read(&whole[..at], u64::MAX), Err(Unreadable::Foot), "{at} bytes");
    }
}

#[test]
fn what_is_no_string_is_refused() {
    let lies: [&[u8]; 12] = [
        b"",
        b"\x01\x00",
        b"\x00",
        b"\x00\x05abc",
        b"\x00\x01ab",
        b"\x00\x80\xff\xff\xff\xff",
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\xc4a",
        b"\x00\xc2ab",
        b"\x00\xc3\x02\x81\x00\x00\x00\xff\xff\xff\xff\xff\x00a",
        b"\x00\xc3\x02\x03\x20\x00",
        b"\x00\xc3\xc0\x01\x01\x00a",
    ];
    for body in lies {
        assert_eq!(read(&sealed(body), u64::MAX), Err(Unreadable::Body), "{body:?}");
    }
}
