//! Numbers, spelling by spelling.

use super::*;

fn integer(text: &str) -> Option<i64> {
    parse_integer(text.as_bytes())
}

#[test]
fn an_integer_has_one_spelling() {
    for value in [0, 1, -1, 9, 10, 99, 100, -1234567890, i64::MAX, i64::MIN] {
        let mut text = Vec::new();
        write_integer(&mut text, value);
        assert_eq!(text, value.to_string().as_bytes());
        assert_eq!(parse_integer(&text), Some(value));
        let digits = text.len() - usize::from(value < 0);
        assert_eq!(count_digits(value.unsigned_abs()), digits, "{value}");
    }
}

#[test]
fn other_spellings_are_no_integers() {
    for text in ["", "-", "+1", "01", "-0", "-01", "00", " 1", "1 ", "1a", "a", "1.0", "--1"] {
        assert_eq!(integer(text), None, "{text:?}");
    }
}

#[test]
fn integers_out_of_range_are_refused() {
    assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
    assert_eq!(integer("9223372036854775808"), None);
    assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(integer("-9223372036854775809"), None);
    assert_eq!(integer("18446744073709551616"), None);
    assert_eq!(integer("99999999999999999999999"), None);
    assert_eq!(parse_unsigned(b"18446744073709551615"), Some(u64::MAX));
    assert_eq!(parse_unsigned(b"18446744073709551616"), None);
}

#[test]
fn doubles_print_as_resp3_wants_them() {
    let text = |value| {
        let mut out = Vec::new();
        write_double(&mut out, value);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(0.1), "0.1");
    assert_eq!(text(10.0), "10");
    assert_eq!(text(-1.5e-7), "-0.00000015");
    assert_eq!(text(f64::INFINITY), "inf");
    assert_eq!(text(f64::NEG_INFINITY), "-inf");
    assert_eq!(text(f64::NAN), "nan");
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::parse(text.as_bytes())
}

/// The sum of `a` and `b` as INCRBYFLOAT answers it.
fn sum(a: &str, b: &str) -> String {
    let Some(sum) = decimal(a).unwrap().checked_add(decimal(b).unwrap()) else {
        return "none".to_owned();
    };
    let mut text = Vec::new();
    sum.write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn sums_are_exact_and_bare() {
    assert_eq!(sum("10.5", "0.1"), "10.6");
    assert_eq!(sum("0.1", "0.2"), "0.3");
    assert_eq!(sum("3", "1.000"), "4");
    assert_eq!(sum("5.0e3", "2.0e2"), "5200");
    assert_eq!(sum("0", "0"), "0");
    assert_eq!(sum("-0.0", "0"), "0");
    assert_eq!(sum("1", "-1"), "0");
    assert_eq!(sum("-1.5", "0.25"), "-1.25");
    assert_eq!(sum("-.5", "+.25"), "-0.25");
    assert_eq!(sum("5.", "1E-3"), "5.001");
    assert_eq!(sum("999999999999999999.5", "0.5"), "1000000000000000000");
    assert_eq!(sum("100000000000000000000", "0.05"), "100000000000000000000.05");
    assert_eq!(sum("1000000000000000001", "0"), "1000000000000000001");
}

#[test]
fn what_is_beyond_the_last_decimal_is_rounded() {
    assert_eq!(sum("0.00000000000000001", "0"), "0.00000000000000001");
    assert_eq!(sum("0.000000000000000005", "0"), "0.00000000000000001");
    assert_eq!(sum("0.000000000000000004", "0"), "0");
    assert_eq!(sum("1e-300", "1"), "1");
    assert_eq!(sum("3.141592653589793238", "0"), "3.14159265358979324");
}

#[test]
fn large_sums_are_sums_of_doubles() {
    assert_eq!(sum("1e21", "1"), "1000000000000000000000");
    assert_eq!(sum("999999999999999999999", "1"), "1000000000000000000000");
    assert_eq!(sum("-1e30", "5e29"), "-500000000000000000000000000000");
    assert_eq!(sum("1.7e308", "1.7e308"), "none");
    assert_eq!(sum("inf", "1"), "none");
    assert_eq!(sum("1e308", "-1e308"), "0");
}

#[test]
fn what_is_no_number_is_refused() {
    for text in ["", "x", "1x", " 1", "1 ", "nan", "-NaN", "0x10", "1e", "e5", ".", "1e400", "1,5"]
    {
        assert_eq!(decimal(text), None, "{text:?}");
    }
    assert_eq!(decimal(&"1".repeat(6000)), None);
}
