//! Random commands, asked of our server and of a real redis-server: the replies must be the same.
//!
//! Few keys, and values that mean something to many commands, so that commands meet what others
//! left; options in every combination, also wrong ones. Where no redis-server is installed it is
//! skipped.

use fastrand::Rng;

use crate::house::{House, under_every_model};
use crate::redis::Redis;

/// Commands asked in one run: about a second.
const ASKED: usize = 10_000;

#[test]
fn random_commands_get_the_replies_of_redis() {
    let seed = std::env::var("SEED").ok().map_or_else(|| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("SEED={seed}");
    under_every_model(|options| {
        let Some(redis) = Redis::start(None) else { return };
        let house = House::open(options);
        let mut random = Rng::with_seed(seed);
        let (mut ours, mut theirs) = (crate::talk::Talk::to(house.address), redis.talk());
        for step in 0..ASKED {
            if step == ASKED / 2 {
                // The rest in RESP3; what each says of itself differs.
                assert!(ours.ask("HELLO 3").starts_with('{'));
                assert!(theirs.ask("HELLO 3").starts_with('{'));
            }
            let words = command(&mut random);
            let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let (found, wanted) = (ours.ask_exactly(&words), theirs.ask_exactly(&words));
            if is_rounded(&found, &wanted) {
                // The two must go on from the same value.
                let value = wanted.trim_matches('"').as_bytes();
                assert_eq!(ours.ask_exactly(&[b"SET", words[1], value, b"KEEPTTL"]), "+OK");
                continue;
            }
            let shown: Vec<_> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
            let is_same = found == wanted || is_soon_after(&shown[0], &found, &wanted);
            assert!(is_same, "step {step}: {shown:?}: {found}, Redis: {wanted}");
        }
    });
}

/// Values of every kind that travels in a form of its own, packed or not, to Redis and back.
#[test]
fn dumps_are_restored_by_redis_and_by_us() {
    let Some(redis) = Redis::start(None) else { return };
    let house = House::open(crate::house::options(morecore_server::Model::Epoll));
    let (mut ours, mut theirs) = (crate::talk::Talk::to(house.address), redis.talk());
    let mut random = Rng::with_seed(7);
    for packs in ["no", "yes"] {
        assert_eq!(theirs.ask(&format!("CONFIG SET rdbcompression {packs}")), "+OK");
        for bytes in [0, 1, 5, 20, 21, 63, 64, 300, 8_191, 16_383, 16_384, 100_000] {
            let noise: Vec<u8> = (0..bytes).map(|_| random.u8(..)).collect();
            let repeated: Vec<u8> = (0..bytes).map(|at| noise[at % (1 + at / 50)]).collect();
            let digits = random.i64(..).to_string().into_bytes();
            for value in [noise, repeated, vec![b'x'; bytes], digits] {
                travel(&value, &mut ours, &mut theirs);
                travel(&value, &mut theirs, &mut ours);
            }
        }
    }
}

/// `value` is dumped by one and restored by the other.
fn travel(value: &[u8], one: &mut crate::talk::Talk, other: &mut crate::talk::Talk) {
    assert_eq!(one.ask_exactly(&[b"SET", b"k", value]), "+OK");
    let dump = one.ask_exactly(&[b"DUMP", b"k"]);
    let dump = crate::transcripts::unescape(&dump[1..dump.len() - 1]);
    assert_eq!(other.ask_exactly(&[b"RESTORE", b"k", b"0", &dump, b"REPLACE"]), "+OK");
    assert_eq!(other.ask("GET k"), one.ask("GET k"));
}

/// Whether two different replies are one sum: Redis rounds to the 64 bits of an x87 register, and
/// we add decimals exactly.
fn is_rounded(found: &str, wanted: &str) -> bool {
    let sum = |reply: &str| reply.trim_matches('"').parse::<f64>().ok();
    let is_long = found.len().max(wanted.len()) > 18 && found.starts_with('"');
    is_long && found != wanted && sum(found).is_some() && sum(found) == sum(wanted)
}

/// How long a machine may stand still between the two, in seconds.
const STILL_MOST_S: u64 = 600;

/// Whether both replies are times, which lie a moment apart because the two were asked one after
/// the other.
fn is_soon_after(command: &str, found: &str, wanted: &str) -> bool {
    let most = match command.to_ascii_uppercase().as_str() {
        "TTL" | "EXPIRETIME" => STILL_MOST_S,
        "PTTL" | "PEXPIRETIME" => STILL_MOST_S * 1000,
        _ => return false,
    };
    let time = |reply: &str| reply.strip_prefix(':').and_then(|number| number.parse::<i64>().ok());
    let times = time(found).zip(time(wanted));
    // What is negative is no time.
    times.is_some_and(|(found, wanted)| wanted >= 0 && found.abs_diff(wanted) <= most)
}

/// A random command; mostly one that means something.
pub(crate) fn command(random: &mut Rng) -> Vec<String> {
    let text = match random.u32(0..64) {
        0..4 => "SET K V OPT",
        4 => "SET K V OPT OPT",
        5 => "SET K V OPT OPT OPT",
        6..9 => "GET K",
        9 => "GETSET K V",
        10 => "SETNX K V",
        11 => "SETEX K TIME V",
        12 => "PSETEX K TIME V",
        13 => "GETDEL K",
        14 => "GETEX K GETOPT",
        15 => "MGET K K K",
        16 => "MSET K V K V",
        17 => "MSETNX K V K V",
        18 => "APPEND K V",
        19 => "STRLEN K",
        20 => "INCR K",
        21 => "DECR K",
        22 => "INCRBY K INT",
        23 => "DECRBY K INT",
        24 => "INCRBYFLOAT K FLOAT",
        25 => "SETRANGE K INT V",
        26..28 => "GETRANGE K INT INT",
        28 => "DEL K K",
        29 => "EXISTS K K K",
        30..32 => "EXPIRE K TIME IF",
        32 => "PEXPIRE K TIME IF IF",
        33 => "EXPIREAT K TIME IF",
        34 => "TTL K",
        35 => "PERSIST K",
        36 => "TYPE K",
        37 => "RENAME K K",
        38 => "RENAMENX K K",
        39 => "COPY K K COPYOPT",
        40 => "TOUCH K K",
        41 => "SUBSTR K INT INT",
        42 => "EXPIRETIME K",
        43 => "SETBIT K BIT ONE",
        44 => "GETBIT K BIT",
        45 => "BITCOUNT K",
        46 => "BITCOUNT K END END UNIT",
        47 => "BITPOS K ONE",
        48 => "BITPOS K ONE END END UNIT",
        49 => "BITOP JOIN K K K",
        50 => "BITFIELD K FIELD FIELD",
        51 => "BITFIELD K GET KIND BIT OVERFLOW HOW FIELD",
        52 => "BITFIELD_RO K GET KIND BIT",
        53 => "LCS K K MATCH",
        54 => "LCS K K MATCH MATCH",
        55 => "DUMP K",
        56 => "OBJECT FREQ K",
        57 => "COMMAND GETKEYSANDFLAGS SET K V OPT",
        58 => "PEXPIREAT K TIME IF",
        59 => "PEXPIRETIME K",
        60 => "PTTL K",
        61 => "UNLINK K K",
        62 => "COMMAND GETKEYS BITOP JOIN K K K",
        _ => return wrong(random),
    };
    text.split(' ').flat_map(|word| fill(word, random)).collect()
}

/// One of the few keys.
pub(crate) fn key(random: &mut Rng) -> String {
    let long = "a-longer-key-than-fits-in-a-bucket-with-its-value";
    ["a", "b", "c", "d", "e", long][random.usize(0..6)].into()
}

/// What stands for a word of a template; an option may be two words, or none.
fn fill(word: &str, random: &mut Rng) -> Vec<String> {
    // Up to the year 2527: our entries have 44 bits for a deadline, and what lies beyond is cut.
    // They are drawn, so that no two lie so near that a moment decides which is later; and the
    // larger one lies ahead whether it counts from now or from 1970.
    let near = random.u32(2_000_000..1_000_000_000).to_string();
    let far = random.u64(3_000_000_000..4_000_000_000).to_string();
    let times =
        [near.as_str(), near.as_str(), far.as_str(), "-1", "0", "x", "10000000000000000000", "1e3"];
    let mut any = |of: &[&str]| {
        let choice = of[random.usize(0..of.len())];
        choice.split(' ').filter(|word| !word.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    match word {
        "K" => vec![key(random)],
        "V" => {
            let value = random.choice([
                "",
                "1",
                "-1",
                "10",
                "3.0",
                "2.5e2",
                "9223372036854775807",
                "text",
                "a b\r\nc",
                "01",
                " 7",
                "inf",
                "0.5",
                "a value that is long enough to lie outside of its bucket",
            ]);
            vec![value.unwrap_or_default().to_string()]
        }
        "INT" => any(&["0", "1", "-1", "3", "-3", "100", "-9223372036854775808", "x", "1.5", "7"]),
        // Eighths, because Redis shows what its register makes of a tenth.
        "FLOAT" => any(&["0.5", "1", "-2.5", "3e2", "x", "", "1e3", "-0.125"]),
        "TIME" => any(&times),
        "IF" => any(&["", "", "NX", "XX", "GT", "LT", "ZZ"]),
        "COPYOPT" => any(&["", "REPLACE", "DB 0", "DB 1", "DB x", "NOW"]),
        // Redis looks for the key before it looks at the number; we refuse a wrong number always.
        "GETOPT" => {
            any(&["", "PERSIST", "EXAT 4102444800", "PXAT 4102444800000", "EXAT 1", "NX", "EX"])
        }
        "BIT" => any(&["0", "7", "8", "30", "100", "511", "#3", "-1"]),
        // Where there is no key, Redis forgives a wrong number here; we refuse it always.
        "END" => any(&["0", "1", "-1", "3", "-3", "100", "-100", "-9223372036854775808", "7"]),
        "ONE" => any(&["0", "1", "1", "2"]),
        "UNIT" => any(&["", "BYTE", "BIT", "bit"]),
        "JOIN" => any(&["AND", "OR", "XOR", "NOT"]),
        "MATCH" => any(&["", "LEN", "IDX", "MINMATCHLEN 2", "IDX WITHMATCHLEN", "MINMATCHLEN -1"]),
        "HOW" => any(&["WRAP", "SAT", "FAIL", "fail"]),
        // Not the least numbers: Redis takes them for larger than the most that a field holds.
        "PUT" => any(&["0", "1", "-1", "100", "-100", "70000", "-4611686018427387904", "x"]),
        "KIND" => any(&["u1", "u5", "i8", "u8", "i13", "u32", "i63", "u63", "i64", "u64", "i0"]),
        "FIELD" => {
            let text = any(&["GET KIND BIT", "SET KIND BIT PUT", "INCRBY KIND BIT PUT"]);
            text.iter().flat_map(|text| text.split(' ')).flat_map(|w| fill(w, random)).collect()
        }
        "OPT" => {
            let option = any(&[
                "", "", "NX", "XX", "GET", "KEEPTTL", "PERSIST", "EX", "PX", "EXAT", "PXAT", "WHAT",
            ]);
            match option.first().map(String::as_str) {
                Some("EX" | "PX" | "EXAT" | "PXAT") if random.u32(0..10) > 0 => {
                    let time = random.choice(times).unwrap_or_default().to_string();
                    vec![option[0].clone(), time]
                }
                _ => option,
            }
        }
        _ if random.u32(0..8) == 0 => vec![word.to_lowercase()],
        _ => vec![word.to_string()],
    }
}

/// A command that does not exist, or has too few or too many words.
fn wrong(random: &mut Rng) -> Vec<String> {
    let texts = [
        "GET",
        "GET a b",
        "SET a",
        "NOSUCH a b c",
        "MSET a",
        "MSET a 1 b",
        "TTL",
        "CLIENT NOSUCH",
        "INCR a b",
        "EXPIRE a",
        "SELECT 3",
        "SELECT x",
        "PING a b",
        "ECHO",
        "COMMAND NOSUCH",
        "CONFIG NOSUCH",
        "GETRANGE a 1",
        "DEL",
        "HELLO 9",
        "SCAN x",
        "SCAN 0 COUNT",
    ];
    let text = random.choice(texts.iter()).copied().unwrap_or_default();
    text.split(' ').map(String::from).collect()
}
