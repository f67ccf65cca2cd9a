//! What is answered. Each line was put to memcached 1.6.18 as well, which says the same, but for
//! the tests that say otherwise.

use morecore_wire::memcached::Limits;

use super::{check, check_with, talk};

#[test]
fn a_value_comes_back_with_its_flags() {
    check("set k 7 0 3|abc|get k|", "STORED|VALUE k 7 3|abc|END|");
    check("set k 4294967295 0 0||get k|", "STORED|VALUE k 4294967295 0||END|");
    check("set k 01 0 +3|abc|get k|", "STORED|VALUE k 1 3|abc|END|");
    check("get k|get a b c|", "END|END|");
    check(
        "set a 0 0 1|1|set b 5 0 12|123456789012|get b x a b|",
        "STORED|STORED|VALUE b 5 12|123456789012|VALUE a 0 1|1|VALUE b 5 12|123456789012|END|",
    );
}

#[test]
fn a_value_may_have_any_byte() {
    let input = "set k 0 0 8\r\n\r\nget\0k\u{1}\r\nget k\r\n";
    check_with(input, "STORED|VALUE k 0 8||get\0k\u{1}|END|", Limits::DEFAULT);
}

#[test]
fn conditions_hold_or_not() {
    check("add k 0 0 1|a|add k 0 0 1|b|get k|", "STORED|NOT_STORED|VALUE k 0 1|a|END|");
    check("replace k 0 0 1|a|set k 0 0 1|b|replace k 0 0 1|c|", "NOT_STORED|STORED|STORED|");
    check("append k 0 0 1|a|prepend k 0 0 1|a|", "NOT_STORED|NOT_STORED|");
    check(
        "set k 5 0 1|b|append k 6 0 1|c|prepend k 7 0 1|a|get k|",
        "STORED|STORED|STORED|VALUE k 5 3|abc|END|",
    );
}

#[test]
fn a_version_is_compared() {
    check("cas k 0 0 1 1|a|", "NOT_FOUND|");
    check("set k 0 0 1|a|gets k|", "STORED|VALUE k 0 1 1|a|END|");
    check("set k 0 0 1|a|cas k 0 0 1 1|b|cas k 0 0 1 1|c|", "STORED|STORED|EXISTS|");
}

#[test]
fn numbers_go_up_and_down() {
    check("incr n 1|decr n 1|", "NOT_FOUND|NOT_FOUND|");
    check("set n 0 0 2|10|incr n 5|decr n 1|decr n 100|", "STORED|15|14|0|");
    check("set n 0 0 20|18446744073709551615|incr n 2|", "STORED|1|");
    check("set n 0 0 3| 10|incr n 1|", "STORED|11|");
    check(
        "set n 0 0 1|x|incr n 1|",
        "STORED|CLIENT_ERROR cannot increment or decrement non-numeric value|",
    );
}

#[test]
fn an_expiry_that_has_passed_hides_the_entry() {
    check("set k 0 -1 1|a|get k|", "STORED|END|");
    check(
        "set k 0 100 1|a|touch k 0|touch x 0|get k|",
        "STORED|TOUCHED|NOT_FOUND|VALUE k 0 1|a|END|",
    );
    check("set k 0 0 1|a|gat -1 k|get k|", "STORED|VALUE k 0 1|a|END|END|");
    check("set k 0 0 1|a|gats 10 k x|mg k t|", "STORED|VALUE k 0 1 1|a|END|HD t10|");
    check("gat 10|", "END|");
}

#[test]
fn deletes() {
    check("set k 0 0 1|a|delete k|delete k|", "STORED|DELETED|NOT_FOUND|");
    check("delete k 0|", "NOT_FOUND|");
    let usage = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]|";
    check("delete k 5|", usage);
    check("delete k noreply 0|", usage);
    check("delete k a b c|delete|", "ERROR|ERROR|");
    check("set k 0 0 1|a|flush_all|get k|flush_all 100|flush_all -1|", "STORED|OK|END|OK|OK|");
}

#[test]
fn noreply_is_silence() {
    check("set k 0 0 1 noreply|a|get k|", "VALUE k 0 1|a|END|");
    check("add k 0 0 1 noreply|a|add k 0 0 1 noreply|b|mn|", "MN|");
    check("delete k noreply|delete k 0 noreply|mn|", "MN|");
    check("incr k 1 noreply|touch k 0 noreply|verbosity 1 noreply|flush_all noreply|mn|", "MN|");
    check("flush_all 0 noreply|cas k 0 0 1 5 noreply|a|mn|", "MN|");
}

#[test]
fn noreply_is_silence_about_errors_too() {
    check("set k 0 0 1 noreply|abc|", "ERROR|");
    check("set k x 0 1 noreply|", "");
    check("incr k x noreply|touch k x noreply|delete k 5 noreply|flush_all x noreply|mn|", "MN|");
    check("set k 0 0 noreply|incr k noreply|mn|", "MN|");
    check("incr noreply|", "ERROR|");
}

#[test]
fn what_is_no_command_is_an_error() {
    check("||x|xx|GET k|get|get |bogus a b|", "ERROR|ERROR|ERROR|ERROR|ERROR|ERROR|ERROR|ERROR|");
    check("set k 0 0|cas k 0 0 1|incr k|touch k|verbosity|mx k|", &"ERROR|".repeat(6));
    check("set k 0 0 1 noreply x|verbosity 0 a b|flush_all 1 2 3|stats what|", &"ERROR|".repeat(4));
    check("mg|md|ma|ms|", "ERROR|ERROR|ERROR|ERROR|");
}

#[test]
fn what_is_wrong_is_named() {
    let format = "CLIENT_ERROR bad command line format|";
    for line in ["set k x 0 1|", "set k -1 0 1|", "set k 0 x 1|", "set k 0 0 -1|", "set k 0 0 x|"] {
        check(line, format);
    }
    check("set k 0 0 2147483646|", format);
    check("cas k 0 0 1 x|", format);
    check("cas k 0 0 1 -1|", format);
    check("verbosity x|", format);
    check("incr k x|", "CLIENT_ERROR invalid numeric delta argument|");
    check("incr k 18446744073709551616|", "CLIENT_ERROR invalid numeric delta argument|");
    check("touch k x|gat x k|", &"CLIENT_ERROR invalid exptime argument|".repeat(2));
    check("flush_all x|", "CLIENT_ERROR invalid exptime argument|");
}

#[test]
fn a_key_has_250_bytes_at_most() {
    let format = "CLIENT_ERROR bad command line format|";
    let (long, longest) = ("k".repeat(251), "k".repeat(250));
    for line in
        ["get KEY|", "get a KEY b|", "gat 0 KEY|", "delete KEY|", "incr KEY 1|", "touch KEY 0|"]
    {
        check(&line.replace("KEY", &long), format);
    }
    for line in ["mg KEY|", "md KEY|", "ma KEY|", "me KEY|"] {
        check(&line.replace("KEY", &long), format);
    }
    check(&format!("set {long} 0 0 3|abc|"), &format!("{format}ERROR|"));
    check(&format!("ms {long} 3|abc|"), &format!("{format}ERROR|"));
    check(&format!("set {longest} 0 0 1|a|mg {longest}|"), "STORED|HD|");
}

#[test]
fn a_value_must_end_where_it_says() {
    let chunk = "CLIENT_ERROR bad data chunk|";
    check("set k 0 0 3|abcde|mn|", &format!("{chunk}ERROR|MN|"));
    check("ms k 3 q|abcde|mn|", &format!("{chunk}ERROR|MN|"));
    check("set k 0 0 3|ab|xmn|", "CLIENT_ERROR bad data chunk|MN|");
    check("set k 0 0 3|ab", "[waits]");
}

#[test]
fn a_bare_line_feed_ends_a_line_but_no_value() {
    check_with("set k 0 0 3\nabc\r\nget k\n", "STORED|VALUE k 0 3|abc|END|", Limits::DEFAULT);
    check_with("set k 0 0 3\nabc\n\nmn\r\n", "CLIENT_ERROR bad data chunk|MN|", Limits::DEFAULT);
    check_with("  get   k\0 x\r\n", "END|", Limits::DEFAULT);
}

#[test]
fn a_value_that_is_too_large_is_passed_over() {
    let limits = Limits { entry_bytes_most: 100, ..Limits::DEFAULT };
    let too_large = "SERVER_ERROR object too large for cache|";
    let a = |count| "a".repeat(count);
    // 59 bytes, the key, and 4 for flags count, as in memcached.
    for (flags, most) in [(0, 40), (7, 36)] {
        let put = |count| format!("set k {flags} 0 {count}\r\n{}\r\nmg k\r\n", a(count));
        check_with(&put(most), "STORED|HD|", limits);
        check_with(&put(most + 1), &format!("{too_large}EN|"), limits);
    }
    // What the client takes for replaced must not stay; an `add` replaces nothing.
    let put = |line: &str| format!("set k 0 0 1\r\na\r\n{line}\r\n{}\r\nmg k\r\n", a(50));
    check_with(&put("set k 0 0 50"), &format!("STORED|{too_large}EN|"), limits);
    check_with(&put("set k 0 0 50 noreply"), "STORED|EN|", limits);
    check_with(&put("ms k 50 q"), &format!("STORED|{too_large}EN|"), limits);
    check_with(&put("add k 0 0 50"), &format!("STORED|{too_large}HD|"), limits);
    check_with(&put("add k 0 0 50 noreply"), "STORED|HD|", limits);
}

#[test]
fn too_large_is_a_mebibyte_and_is_not_waited_for() {
    let put = |count: usize| {
        let input = format!("set k 0 0 {count}\r\n{}\r\nmg k s\r\n", "a".repeat(count));
        talk(input.as_bytes(), 10_000, Limits::DEFAULT)
    };
    assert_eq!(put(1_048_516), "STORED|HD s1048516|");
    assert_eq!(put(1_048_517), "SERVER_ERROR object too large for cache|EN|");
    let answer = talk(b"set k 0 0 2000000000\r\nabc", 4, Limits::DEFAULT);
    assert_eq!(answer, "SERVER_ERROR object too large for cache|");
}

/// memcached closes without a word.
#[test]
fn a_line_has_a_limit_unless_it_is_of_keys() {
    let too_long = "CLIENT_ERROR line too long|[closed]";
    let talk = |input: &str, piece| talk(input.as_bytes(), piece, Limits::DEFAULT);
    for piece in [1, 100, 1 << 20] {
        assert_eq!(talk(&"a".repeat(2048), piece), "[waits]");
        assert_eq!(talk(&"a".repeat(2049), piece), too_long);
        assert_eq!(talk(&format!("{}\r\n", "a".repeat(2049)), piece), too_long);
        assert_eq!(talk(&format!("set {} 0 0 1\r\n", "k".repeat(2049)), piece), too_long);
        assert_eq!(talk(&format!("get {}\r\nmn\r\n", "k ".repeat(9000)), piece), "END|MN|");
        assert_eq!(talk(&format!("gats 0 {}\r\n", "k ".repeat(9000)), piece), "END|");
    }
    assert_eq!(talk(&format!("get {}", "k ".repeat(9 << 20)), 1 << 20), too_long);
}

#[test]
fn the_rest() {
    check("version|verbosity 1|verbosity 0 x|mn|mn x|", "VERSION 1.6.18|OK|OK|MN|MN|");
    check("stats reset|", "RESET|");
    check("stats|stats items|", "STAT of General|END|STAT of Items|END|");
    check("stats slabs|stats sizes|", "STAT of Slabs|END|STAT of Sizes|END|");
    check("stats settings|stats conns|", "STAT of Settings|END|STAT of Connections|END|");
    check("mn|quit|mn|", "MN|[closed]");
    check("quit now|", "[closed]");
}

#[test]
fn meta_get_tells_what_it_is_asked() {
    check("mg k|mg k q|mg k k Oabc|", "EN|EN kk Oabc|");
    check("ms k 3 F5|abc|mg k|mg k v|", "HD|HD|VA 3|abc|");
    check("ms k 3 F5 T60|abc|mg k v t s c f k O1 h l|", "HD|VA 3 t60 s3 c1 f5 kk O1 h0 l0|abc|");
    check("ms k 3|abc|mg k t|mg k h|mg k u h|", "HD|HD t-1|HD h1|HD h1|");
    check("ms k 0||mg k u h v|mg k h v|", "HD|VA 0 h0||VA 0 h0||");
    check("ms k 12|abcdefghijkl|mg k v c|", "HD|VA 12 c1|abcdefghijkl|");
    check("ms k 1|a|mg k T30 t|mg k P/a Lb D1 J1 C1 t|mg k kfoo|", "HD|HD t30|HD t30|HD kk|");
}

#[test]
fn meta_put_has_every_mode() {
    check("ms k 1 ME|a|ms k 1 ME|b|", "HD|NS|");
    check("ms k 1 MR|a|ms k 1 MA|a|ms k 1 MP|a|", "NS|NS|NS|");
    check("ms k 1 MS F3|b|ms k 1 MA|c|ms k 1 MP|a|mg k v f|", "HD|HD|HD|VA 3 f3|abc|");
    check("ms k 1 q|a|ms k 1 q ME k O9|a|mn|", "NS kk O9|MN|");
    check("ms k 1 C1|a|ms k 1|a|ms k 1 C9|a|ms k 1 C1 c k O1|b|", "NF|HD|EX|HD c2 kk O1|");
    check("ms k 1|a|ms k 1 MR C9|b|ms k 1 MA C9|b|ms k 1 MA C1|b|", "HD|EX|EX|HD|");
}

/// memcached 1.6.18 does not know these yet; later ones do.
#[test]
fn meta_put_has_later_flags() {
    check("ms k 1 MA N30|a|mg k v t|", "HD|VA 1 t30|a|");
    check("ms k 1 E77 c s|a|ms k 1 MA s c|b|", "HD c77 s1|HD s2 c2|");
    check("ms k 1|a|md k x|mg k v f|", "HD|HD|VA 0 f0||");
}

#[test]
fn a_key_may_come_as_base64() {
    check(
        "ms Zm9v 1 b k|a|mg Zm9v b k v|get foo|",
        "HD kZm9v b|VA 1 kZm9v b|a|VALUE foo 0 1|a|END|",
    );
    check("mg Zm8= b k O1|me Zm8= b|", "EN kZm8= b O1|EN|");
    check("ms k 3 b|abc|mg Zm9 b|", &"CLIENT_ERROR error decoding key|".repeat(2));
    check("md Zm9 b|ma Zm9 b|", &"CLIENT_ERROR invalid or duplicate flag|".repeat(2));
    check("me Zm9 b|me|", &"CLIENT_ERROR bad command line format|".repeat(2));
    check("ma Zm9v b N0 v k|md Zm9v b k|", "VA 1 kZm9v b|0|HD kZm9v b|");
}

#[test]
fn meta_delete_removes_or_invalidates() {
    check("md k|md k k O1 q|", "NF|NF kk O1|");
    check("ms k 1|a|md k C9 k O2 q|md k q|mg k|", "HD|EX kk O2|EN|");
    check(
        "ms k 1|a|md k I T30 q|mg k v t c|mg k v|mg k s|",
        "HD|VA 1 t30 c2 X W|a|VA 1 Z X|a|HD s1 Z X|",
    );
    check("ms k 1|a|md k I|ms k 1|b|mg k v|", "HD|HD|HD|VA 1|b|");
}

#[test]
fn one_client_wins() {
    check("mg k N30 v t|mg k N30 v|mg k|", "VA 0 t30 W||VA 0 Z||HD Z|");
    check("ms k 1 T20|a|mg k R10|mg k R30 t|mg k R30|", "HD|HD|HD t20 W|HD Z|");
    check("ms k 1|a|ms k 1|b|ms k 2 I C1|zz|mg k v|mg k v", "HD|HD|HD|VA 2 X W|zz|[waits]");
    check("ms k 1|a|ms k 2 I C9|zz|", "HD|EX|");
}

#[test]
fn meta_arithmetic() {
    check("ma n|ma n k O1 q|", "NF|NF kn O1|");
    check("ma n N0 J5 v t c k O1|ma n v|ma n D10 v|", "VA 1 t-1 c1 kn O1|5|VA 1|6|VA 2|16|");
    check(
        "ma n N0 J9|ma n MD D2 v|ma n M- v|ma n M+ v|ma n MI v|",
        "HD|VA 1|7|VA 1|6|VA 1|7|VA 1|8|",
    );
    check("ma n N0|ma n MD|ma n q|ma n q v|mn|", "HD|HD|MN|");
    check("ma n N0 q|mn|", "HD|MN|");
    check("ma n N0|ma n T60 t|ma n C99|", "HD|HD t60|EX|");
    check("ms n 1|x|ma n q|", "HD|CLIENT_ERROR cannot increment or decrement non-numeric value|");
}

#[test]
fn what_is_wrong_with_flags_is_named() {
    let token = "CLIENT_ERROR bad token in command line format|";
    check("mg k v v|mg k \u{e9}|", &"CLIENT_ERROR duplicate flag|".repeat(2));
    check("mg k Z|mg k 1|", &"CLIENT_ERROR invalid flag|".repeat(2));
    check("mg k Tx|mg k N|mg k R-|mg k Cx|", &token.repeat(4));
    check("mg k Fx|", "CLIENT_ERROR bad command line format|");
    check("mg k Jx|", "CLIENT_ERROR invalid numeric initial value|");
    check("mg k Dx|", "CLIENT_ERROR invalid numeric delta value|");
    check("mg k M|mg k MAA|", &"CLIENT_ERROR incorrect length for M token|".repeat(2));
    check("md k Z|md k q q|ma k Dx|", &"CLIENT_ERROR invalid or duplicate flag|".repeat(3));
    check("ma k MX|", "CLIENT_ERROR invalid mode for ma M token|");
    let opaque = "CLIENT_ERROR opaque token too long|";
    check(
        &format!("mg k O{}|mg k O{}|", "a".repeat(31), "a".repeat(32)),
        &format!("EN O{}|{opaque}", "a".repeat(31)),
    );
    check(&format!("md k O{}|", "a".repeat(32)), opaque);
    check(&format!("mg k{}|", " v".repeat(18)), "CLIENT_ERROR options flags are too long|");
    check(&format!("md k{}|", " q".repeat(18)), "CLIENT_ERROR options flags too long|");
}

#[test]
fn meta_put_swallows_the_value_of_a_refused_line() {
    for (flags, words) in [
        ("Z", "invalid flag"),
        ("q q", "duplicate flag"),
        ("MX", "invalid mode for ms M token"),
        ("M", "incorrect length for M token"),
        ("Fx", "bad command line format"),
        ("Tx", "bad token in command line format"),
    ] {
        check(&format!("ms k 3 {flags}|abc|mn|"), &format!("CLIENT_ERROR {words}|MN|"));
    }
    for line in ["ms k S3|", "ms k|", "ms k x|", "ms k -1|"] {
        check(line, "CLIENT_ERROR bad command line format|");
    }
}

#[test]
fn meta_debug_tells_what_is_known() {
    check("me k|", "EN|");
    check(
        "ms Zm9v 3 b T60|abc|me foo|mg foo|me Zm9v b|",
        "HD|ME foo exp=60 la=0 cas=1 fetch=no cls=1 size=3|HD|\
         ME Zm9v exp=60 la=0 cas=1 fetch=yes cls=1 size=3|",
    );
}

#[test]
fn a_password_comes_as_a_value() {
    let limits = Limits { is_unauthenticated: true, ..Limits::DEFAULT };
    let check =
        |input: &str, expected: &str| check_with(&input.replace('|', "\r\n"), expected, limits);
    let not_yet = "CLIENT_ERROR unauthenticated|";
    check("version|", not_yet);
    check("get k||mn|", &not_yet.repeat(3));
    check("set k 0 0|", not_yet);
    check("set k 0 0 x|", not_yet);
    check("set k 0 0 999999|", not_yet);
    check("set k 0 0 9|user pass|version|", "STORED|VERSION 1.6.18|");
    check("set k x y 12 noreply more|user  pass x|mn|", "STORED|MN|");
    check("set k 0 0 8|user bad|", "CLIENT_ERROR authentication failure|");
    check("set k 0 0 4|user|", "CLIENT_ERROR bad authentication token format|");
    check(
        "set k 0 0 9|user passxx|",
        &format!("CLIENT_ERROR bad command line termination|{not_yet}"),
    );
    check("set k 0 0 9|user", "[waits]");
}
