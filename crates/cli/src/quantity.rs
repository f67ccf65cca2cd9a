//! Sizes and times as people write them: `64kb`, `1GiB`, `250ms`, `2h`; and the way back.
//!
//! Units of size are Redis's: `k`, `m`, `g`, `t` count by 1000, `kb`, `mb`, `gb`, `tb` by 1024, and
//! `KiB` and its kin say so outright. Letters count the same in either case. A number alone is
//! bytes, or seconds.
//!
//! Source: the opening comment of redis.conf.

/// Reads a size in bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "m" => 1000 * 1000,
        "g" => 1000 * 1000 * 1000,
        "t" => 1000 * 1000 * 1000 * 1000,
        "kb" | "kib" => 1 << 10,
        "mb" | "mib" => 1 << 20,
        "gb" | "gib" => 1 << 30,
        "tb" | "tib" => 1 << 40,
        _ => return Err(format!("`{unit}` is no unit of size; try 64kb, 512mb or 1GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text} is more than 2^64 bytes"))
}

/// Reads a length of time, in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.as_str() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" | "min" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(format!("`{unit}` is no unit of time; try 250ms, 10s, 5m, 2h or 7d")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text} is more than 2^64 milliseconds"))
}

/// A size for people, with three digits that count: `1.50 GiB`, `64.0 KiB`, `100 B`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A whole number with its thousands apart: `1 234 567`.
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

/// Splits `64kb` into 64 and `kb`.
fn split(text: &str) -> Result<(u64, String), String> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(format!("`{text}` does not begin with a whole number"));
    }
    let number = digits.parse().map_err(|_| format!("{digits} is more than 2^64"))?;
    Ok((number, unit.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_bytes(text: &str, expected: u64) {
        assert_eq!(bytes(text), Ok(expected), "{text}");
    }

    fn check_time(text: &str, expected: u64) {
        assert_eq!(milliseconds(text), Ok(expected), "{text}");
    }

    #[test]
    fn sizes_have_the_units_of_redis() {
        check_bytes("100", 100);
        check_bytes("100b", 100);
        check_bytes("1k", 1000);
        check_bytes("64kb", 64 * 1024);
        check_bytes("1gb", 1 << 30);
        check_bytes("1GiB", 1 << 30);
        check_bytes("3 MB", 3 << 20);
        check_bytes("2tib", 2 << 40);
    }

    #[test]
    fn times_have_units_too() {
        check_time("250ms", 250);
        check_time("10s", 10_000);
        check_time("10", 10_000);
        check_time("5m", 300_000);
        check_time("2h", 7_200_000);
        check_time("7d", 604_800_000);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert!(bytes("lots").is_err_and(|says| says.contains("`lots`")));
        assert!(bytes("1xb").is_err_and(|says| says.contains("`xb`")));
        assert!(bytes("-1").is_err());
        assert!(bytes("").is_err());
        assert!(bytes("99999999999gb").is_err());
        assert!(bytes("99999999999999999999999").is_err());
        assert!(milliseconds("10 parsecs").is_err_and(|says| says.contains("`parsecs`")));
    }

    #[test]
    fn sizes_show_three_digits() {
        assert_eq!(show_bytes(100), "100 B");
        assert_eq!(show_bytes(64 << 10), "64.0 KiB");
        assert_eq!(show_bytes(3 << 29), "1.50 GiB");
        assert_eq!(show_bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(show_count(7), "7");
        assert_eq!(show_count(1234567), "1 234 567");
    }
}
