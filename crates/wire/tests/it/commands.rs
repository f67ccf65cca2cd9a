//! Spellings to commands, and to refusals in Redis's words.

use morecore_wire::{
    Client, ClientKind, Command, Condition, Config, Copy, Credentials, Deadline, Describe, Encoder,
    Expire, ExpireCondition, Expiry, Flags, GetEx, Hello, ListFilter, Parser, Progress, Refusal,
    Scan, Set, Version, find, rows,
};

use crate::encoded;

/// Lets `judge` see what the inline command `line` is.
fn with_command<T>(line: &str, judge: impl FnOnce(Result<Command<'_>, Refusal<'_>>) -> T) -> T {
    let input = format!("{line}\r\n").into_bytes();
    let mut parser = Parser::default();
    let progress = parser.parse(&input);
    assert_eq!(progress, Ok(Progress::Whole { consumed: input.len() }), "{line:?}");
    judge(Command::from_arguments(parser.arguments(&input)))
}

/// `line` is `expected`, whatever the case of its first word.
fn check(line: &str, expected: Command<'_>) {
    with_command(line, |command| assert_eq!(command, Ok(expected), "{line:?}"));
    let (name, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
    for name in [name.to_lowercase(), name.to_uppercase()] {
        with_command(&(name + rest), |command| assert_eq!(command, Ok(expected), "{line:?}"));
    }
}

/// Each of `lines` is refused in the words `expected`.
fn check_refused(lines: &[&str], expected: &str) {
    for line in lines {
        with_command(line, |command| {
            let refusal = command.expect_err(line);
            assert_eq!(refusal.to_string(), expected, "{line:?}");
        });
    }
}

/// What `line` has under its keys, where it is a command of many.
fn keys_of(line: &str) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("keys of tests are texts");
    with_command(line, |command| match command.expect(line) {
        Command::MGet { keys }
        | Command::Delete { keys }
        | Command::Exists { keys }
        | Command::Touch { keys } => keys.iter().map(text).collect(),
        Command::MSet { pairs } | Command::MSetNx { pairs } => {
            pairs.iter().flat_map(|(key, value)| [text(key), text(value)]).collect()
        }
        other => panic!("{other:?} is of one key"),
    })
}

const K: &[u8] = b"k";
const V: &[u8] = b"v";

const SET: Set<'_> =
    Set { key: K, value: V, condition: Condition::Always, expiry: Expiry::Clear, is_get: false };

fn after(ms: i64) -> Expiry {
    Expiry::At(Deadline::AfterMs(ms))
}

fn at(ms: i64) -> Expiry {
    Expiry::At(Deadline::AtMs(ms))
}

#[test]
fn set_has_options() {
    let check = |line, set| check(line, Command::Set(set));
    check("set k v", SET);
    check("set k v nx", Set { condition: Condition::Absent, ..SET });
    check("set k v XX", Set { condition: Condition::Present, ..SET });
    check("set k v get", Set { is_get: true, ..SET });
    check("set k v nx get", Set { condition: Condition::Absent, is_get: true, ..SET });
    check("set k v keepttl", Set { expiry: Expiry::Keep, ..SET });
    check("set k v ex 10", Set { expiry: after(10_000), ..SET });
    check("set k v Px 10", Set { expiry: after(10), ..SET });
    check("set k v exat 10", Set { expiry: at(10_000), ..SET });
    check("set k v pxat 10", Set { expiry: at(10), ..SET });
    check("set k v ex 10 ex 20", Set { expiry: after(20_000), ..SET });
    check("set k v get px 1 xx", {
        Set { condition: Condition::Present, expiry: after(1), is_get: true, ..SET }
    });
}

#[test]
fn set_has_other_names() {
    check("setex k 10 v", Command::Set(Set { expiry: after(10_000), ..SET }));
    check("psetex k 10 v", Command::Set(Set { expiry: after(10), ..SET }));
    check("getset k v", Command::Set(Set { is_get: true, ..SET }));
    check("setnx k v", Command::SetNx { key: K, value: V });
}

#[test]
fn set_refuses_options_that_contradict() {
    check_refused(
        &[
            "set k v nx xx",
            "set k v xx nx",
            "set k v ex",
            "set k v ex 10 px 10",
            "set k v ex 10 keepttl",
            "set k v keepttl ex 10",
            "set k v persist",
            "set k v foo",
            "set k v ex x nx xx",
        ],
        "ERR syntax error",
    );
}

#[test]
fn an_expiry_is_a_positive_number_that_fits() {
    check_refused(
        &["set k v ex x", "set k v px 1.5", "setex k x v", "psetex k '' v", "getex k ex x"],
        "ERR value is not an integer or out of range",
    );
    check_refused(
        &[
            "set k v ex 0",
            "set k v px -1",
            "set k v exat 0",
            "set k v pxat -5",
            "set k v ex 9223372036854775807",
            "set k v exat 9223372036854776",
            "set k v px 9223372036854775807",
        ],
        "ERR invalid expire time in 'set' command",
    );
    check_refused(&["setex k 0 v"], "ERR invalid expire time in 'setex' command");
    check_refused(&["psetex k -1 v"], "ERR invalid expire time in 'psetex' command");
    check_refused(&["getex k ex 0"], "ERR invalid expire time in 'getex' command");
    check("set k v pxat 9223372036854775807", Command::Set(Set { expiry: at(i64::MAX), ..SET }));
}

#[test]
fn getex_has_options() {
    let check = |line, expiry| check(line, Command::GetEx(GetEx { key: K, expiry }));
    check("getex k", Expiry::Keep);
    check("getex k persist", Expiry::Clear);
    check("getex k ex 1", after(1000));
    check("getex k pxat 1", at(1));
    check_refused(
        &["getex k ex 1 persist", "getex k persist ex 1", "getex k nx", "getex k keepttl"],
        "ERR syntax error",
    );
}

#[test]
fn strings_are_read_and_changed() {
    check("get k", Command::Get { key: K });
    check("getdel k", Command::GetDel { key: K });
    check("append k v", Command::Append { key: K, value: V });
    check("strlen k", Command::StrLen { key: K });
    check("setrange k 5 v", Command::SetRange { key: K, offset: 5, value: V });
    check("getrange k 0 -1", Command::GetRange { key: K, start: 0, end: -1 });
    check("substr k -3 2", Command::GetRange { key: K, start: -3, end: 2 });
    check_refused(&["setrange k -1 v"], "ERR offset is out of range");
    check_refused(
        &["setrange k x v", "getrange k x 1", "getrange k 1 x"],
        "ERR value is not an integer or out of range",
    );
}

#[test]
fn numbers_are_added() {
    let check_by = |line, by| check(line, Command::Increment { key: K, by });
    check_by("incr k", 1);
    check_by("decr k", -1);
    check_by("incrby k -5", -5);
    check_by("decrby k 5", -5);
    check_by("incrby k -9223372036854775808", i64::MIN);
    check_refused(&["decrby k -9223372036854775808"], "ERR decrement would overflow");
    check_refused(
        &["incrby k x", "incrby k +1", "decrby k 1.5", "incrby k 9223372036854775808"],
        "ERR value is not an integer or out of range",
    );
    check_refused(&["incrbyfloat k x", "incrbyfloat k nan"], "ERR value is not a valid float");
    with_command("incrbyfloat k 1.50", |command| {
        let Ok(Command::IncrementFloat { key: K, by }) = command else {
            panic!("{command:?} is no sum");
        };
        let mut text = Vec::new();
        by.write(&mut text);
        assert_eq!(text, b"1.5");
    });
}

#[test]
fn many_keys_are_one_command() {
    assert_eq!(keys_of("mget a b c"), ["a", "b", "c"]);
    assert_eq!(keys_of("del a"), ["a"]);
    assert_eq!(keys_of("unlink a a"), ["a", "a"]);
    assert_eq!(keys_of("exists a b"), ["a", "b"]);
    assert_eq!(keys_of("touch a b"), ["a", "b"]);
    assert_eq!(keys_of("mset a 1 b 2"), ["a", "1", "b", "2"]);
    assert_eq!(keys_of("msetnx a 1"), ["a", "1"]);
    check_refused(&["mset a", "mset a 1 b"], "ERR wrong number of arguments for 'mset' command");
    check_refused(&["msetnx a 1 b"], "ERR wrong number of arguments for 'msetnx' command");
}

#[test]
fn keys_expire() {
    let expire = |deadline, condition| Command::Expire(Expire { key: K, deadline, condition });
    let always = ExpireCondition::Always;
    check("expire k 10", expire(Deadline::AfterMs(10_000), always));
    check("pexpire k 10", expire(Deadline::AfterMs(10), always));
    check("expireat k 10", expire(Deadline::AtMs(10_000), always));
    check("pexpireat k 10", expire(Deadline::AtMs(10), always));
    check("expire k -1", expire(Deadline::AfterMs(-1000), always));
    let after = |condition| expire(Deadline::AfterMs(1), condition);
    check("pexpire k 1 nx", after(ExpireCondition::Absent));
    check("pexpire k 1 XX", after(ExpireCondition::Present));
    check("pexpire k 1 gt", after(ExpireCondition::Later));
    check("pexpire k 1 lt", after(ExpireCondition::Earlier));
    check("pexpire k 1 xx gt", after(ExpireCondition::Later));
    check("pexpire k 1 lt xx", after(ExpireCondition::PresentAndEarlier));
    check("ttl k", Command::Ttl { key: K });
    check("pttl k", Command::PTtl { key: K });
    check("expiretime k", Command::ExpireTime { key: K });
    check("pexpiretime k", Command::PExpireTime { key: K });
    check("persist k", Command::Persist { key: K });
}

#[test]
fn expire_refuses_what_does_not_fit() {
    check_refused(&["expire k x zz", "expire k 1 zz"], "ERR Unsupported option zz");
    check_refused(
        &["expire k 1 nx xx", "expire k 1 gt nx", "expire k 1 nx gt lt"],
        "ERR NX and XX, GT or LT options at the same time are not compatible",
    );
    check_refused(
        &["expire k 1 gt lt", "expire k 1 xx lt gt"],
        "ERR GT and LT options at the same time are not compatible",
    );
    check_refused(&["expire k x"], "ERR value is not an integer or out of range");
    check_refused(
        &["expire k 9223372036854775807", "expire k -9223372036854775808"],
        "ERR invalid expire time in 'expire' command",
    );
    check_refused(
        &["pexpire k 9223372036854775807"],
        "ERR invalid expire time in 'pexpire' command",
    );
}

#[test]
fn a_deadline_waits_for_the_clock() {
    assert_eq!(Deadline::AfterMs(5).resolve(100), 105);
    assert_eq!(Deadline::AfterMs(-5).resolve(100), 95);
    assert_eq!(Deadline::AfterMs(-500).resolve(100), 0);
    assert_eq!(Deadline::AtMs(5).resolve(100), 5);
    assert_eq!(Deadline::AtMs(-5).resolve(100), 0);
}

#[test]
fn keys_are_named_and_found() {
    let (from, to) = (K, V);
    check("type k", Command::Type { key: K });
    check("rename k v", Command::Rename { from, to });
    check("renamenx k v", Command::RenameNx { from, to });
    let copy = Copy { from, to, database: None, is_replace: false };
    check("copy k v", Command::Copy(copy));
    check("copy k v db 3 replace", {
        Command::Copy(Copy { database: Some(3), is_replace: true, ..copy })
    });
    check("keys k*", Command::Keys { pattern: b"k*" });
    check("dbsize", Command::DbSize);
    check("randomkey", Command::RandomKey);
    check("flushdb", Command::Flush);
    check("flushall Async", Command::Flush);
    check("flushall sync", Command::Flush);
    check_refused(&["copy k v foo", "copy k v db", "flushall foo", "flushdb sync sync"], {
        "ERR syntax error"
    });
    check_refused(&["copy k v db x"], "ERR value is not an integer or out of range");
}

#[test]
fn scan_has_options() {
    let scan = Scan { cursor: 0, pattern: None, count: 10, kind: None };
    check("scan 0", Command::Scan(scan));
    check("scan 18446744073709551615", Command::Scan(Scan { cursor: u64::MAX, ..scan }));
    check("scan 5 count 100 match a* type string", {
        Command::Scan(Scan { cursor: 5, pattern: Some(b"a*"), count: 100, kind: Some(b"string") })
    });
    check_refused(&["scan x", "scan -1", "scan 18446744073709551616"], "ERR invalid cursor");
    check_refused(&["scan 0 count 0", "scan 0 match", "scan 0 foo 1"], "ERR syntax error");
    check_refused(&["scan 0 count x"], "ERR value is not an integer or out of range");
}

#[test]
fn a_connection_says_who_it_is() {
    check("ping", Command::Ping { message: None });
    check("ping k", Command::Ping { message: Some(K) });
    check("echo k", Command::Echo { message: K });
    check("select 7", Command::Select { index: 7 });
    check("quit", Command::Quit);
    check("quit now please", Command::Quit);
    check("reset", Command::Reset);
    let user = |user, is_user_implied| Credentials { user, password: V, is_user_implied };
    check("auth v", Command::Auth(user(b"default", true)));
    check("auth k v", Command::Auth(user(K, false)));
    let hello = Hello { version: None, credentials: None, name: None };
    check("hello", Command::Hello(hello));
    check("hello 2", Command::Hello(Hello { version: Some(Version::Resp2), ..hello }));
    check("hello 3 auth k v setname me", {
        Command::Hello(Hello {
            version: Some(Version::Resp3),
            credentials: Some(user(K, false)),
            name: Some(b"me"),
        })
    });
}

#[test]
fn a_connection_refuses_in_words() {
    check_refused(&["ping a b"], "ERR wrong number of arguments for 'ping' command");
    check_refused(&["select x"], "ERR value is not an integer or out of range");
    check_refused(&["auth a b c"], "ERR syntax error");
    check_refused(&["hello x"], "ERR Protocol version is not an integer or out of range");
    check_refused(&["hello 4", "hello 1"], "NOPROTO unsupported protocol version");
    check_refused(&["hello 2 foo"], "ERR Syntax error in HELLO option 'foo'");
    check_refused(&["hello 2 auth k"], "ERR Syntax error in HELLO option 'auth'");
    check_refused(
        &["hello 2 setname 'a b'", "client setname 'a b'", "client setname \"a\\n\""],
        "ERR Client names cannot contain spaces, newlines or special characters.",
    );
}

#[test]
fn client_has_subcommands() {
    let check = |line, client| check(line, Command::Client(client));
    check("client id", Client::Id);
    check("client INFO", Client::Info { bytes: 26 });
    check("client getname", Client::GetName);
    check("client setname k", Client::SetName { name: K });
    check("client setname ''", Client::SetName { name: b"" });
    check("client setinfo LIB-NAME k", Client::SetLibraryName { name: K });
    check("client setinfo lib-ver 1.0", Client::SetLibraryVersion { version: b"1.0" });
    check("client no-evict on", Client::NoEvict { is_on: true });
    check("client no-touch off", Client::NoTouch { is_on: false });
    check("client list", Client::List { kind: None, ids: None, bytes: 26 });
    let kind = Some(ClientKind::Replica);
    check("client list type slave", Client::List { kind, ids: None, bytes: 47 });
    with_command("client list id 3 4", |command| {
        let Ok(Command::Client(Client::List { kind: None, ids: Some(ids), .. })) = command else {
            panic!("{command:?} lists no ids");
        };
        assert!(ids.iter().eq([b"3", b"4"]));
    });
}

#[test]
fn client_refuses_in_words() {
    check_refused(&["client"], "ERR wrong number of arguments for 'client' command");
    check_refused(&["client foo"], "ERR unknown subcommand 'foo'. Try CLIENT HELP.");
    check_refused(&["client setname"], {
        "ERR wrong number of arguments for 'client|setname' command"
    });
    check_refused(&["client id 1"], "ERR wrong number of arguments for 'client|id' command");
    check_refused(
        &[
            "client no-evict x",
            "client list foo",
            "client list id",
            "client list type",
            "client list type normal id 3",
        ],
        "ERR syntax error",
    );
    check_refused(&["client list type foo"], "ERR Unknown client type 'foo'");
    check_refused(&["client list id x", "client list id 1 0"], "ERR Invalid client ID");
    check_refused(&["client setinfo foo x"], "ERR Unrecognized option 'foo'");
    check_refused(&["client setinfo lib-name 'a b'"], {
        "ERR lib-name cannot contain spaces, newlines or special characters."
    });
}

#[test]
fn the_server_tells_about_itself() {
    let check = |line, describe| check(line, Command::Describe(describe));
    check("command", Describe::Every);
    check("command count", Describe::Count);
    check("command list", Describe::List { filter: ListFilter::Every });
    check("command list filterby aclcat k", Describe::List { filter: ListFilter::Category(K) });
    with_command("info server memory", |command| {
        let Ok(Command::Info { sections }) = command else { panic!("{command:?} is not INFO") };
        assert!(sections.iter().eq([&b"server"[..], b"memory"]));
    });
    with_command("config get a b", |command| {
        let Ok(Command::Config(Config::Get { patterns })) = command else {
            panic!("{command:?} gets not")
        };
        assert!(patterns.iter().eq([b"a", b"b"]));
    });
    check_refused(&["command foo"], "ERR unknown subcommand 'foo'. Try COMMAND HELP.");
    check_refused(&["config mend"], "ERR unknown subcommand 'mend'. Try CONFIG HELP.");
    check_refused(&["config"], "ERR wrong number of arguments for 'config' command");
    check_refused(&["config get"], "ERR wrong number of arguments for 'config|get' command");
    check_refused(&["command list filterby x y", "command list x"], "ERR syntax error");
}

#[test]
fn an_unknown_command_is_quoted() {
    let unknown = "ERR unknown command 'foo', with args beginning with: ";
    check_refused(&["foo"], unknown);
    check_refused(&["foo 'a b' c"], &format!("{unknown}'a b' 'c' "));
    check_refused(&["foo \"a\\x00b\" c"], &format!("{unknown}'a' 'c' "));
    let long = "x".repeat(200);
    check_refused(&[&format!("foo {long} y")], &format!("{unknown}'{}' ", &long[..128]));
    check_refused(&[&long], &unknown.replace("foo", &long[..128]));
    for name in ["ge", "getx", "client|id", "a-name-of-more-than-16-bytes"] {
        check_refused(&[name], &unknown.replace("foo", name));
    }
}

#[test]
fn every_command_holds_to_its_arity() {
    let subcommands = rows().flat_map(|row| row.subcommands);
    for row in rows().chain(subcommands) {
        for count in 0..8 {
            let names = row.name.split('|').map(str::as_bytes);
            let input = encoded(names.clone().chain(std::iter::repeat_n(&b"1"[..], count)));
            let mut parser = Parser::default();
            parser.parse(&input).expect("it is well formed");
            let arguments = parser.arguments(&input);
            let found = find(arguments);
            if row.admits(names.count() + count) {
                let is_container = !row.subcommands.is_empty() && count > 0;
                assert!(is_container || found == Ok(row), "{} with {count}: {found:?}", row.name);
                // Whatever it makes of ones, it must not panic.
                let _ = Command::from_arguments(arguments);
            } else {
                let wrong = Refusal::WrongArity { command: row.name };
                assert_eq!(found, Err(wrong), "{} with {count}", row.name);
            }
        }
    }
}

#[test]
fn every_row_is_whole() {
    let subcommands = rows().flat_map(|row| row.subcommands);
    for row in rows().chain(subcommands) {
        let name = row.name;
        assert_eq!(name, name.to_lowercase());
        assert!(!row.since.is_empty(), "{name} has no version");
        assert!(row.summary.ends_with('.'), "{name} has no sentence");
        assert_eq!(row.first_key == 0, row.key_step == 0, "{name} has half its keys");
        assert_eq!(
            rows().filter(|other| other.name == name).count(),
            usize::from(!name.contains('|'))
        );
    }
    assert_eq!(rows().filter(|row| row.flags.is_free_to_ask()).count(), 4);
    assert!(rows().filter(|row| Flags::is_write(row.flags)).count() > 20);
}

/// What `line` answers, in RESP2 with bars for line ends.
fn described(line: &str) -> String {
    with_command(line, |command| {
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, Version::Resp2);
        match command.expect(line) {
            Command::Describe(describe) => describe.write(&mut encoder),
            Command::Help { of } => of.write_help(&mut encoder),
            other => panic!("{other:?} describes nothing"),
        }
        String::from_utf8(out).expect("it is text").replace("\r\n", "|")
    })
}

#[test]
fn commands_are_described_as_redis_does() {
    assert_eq!(described("command count"), format!(":{}|", rows().count()));
    assert_eq!(
        described("command info nosuch get"),
        "*2|$-1|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@string|+@read|+@fast|*0|*0|*0|"
    );
    assert_eq!(
        described("command docs nosuch GET"),
        "*2|$3|get|*6|$7|summary|$27|Returns the value of a key.|$5|since|$5|1.0.0|$5|group|$6|\
         string|"
    );
    assert_eq!(described("command list filterby pattern GETE*"), "*1|$5|getex|");
    assert_eq!(described("command list filterby module x"), "*0|");
    assert!(described("command info client|id").starts_with("*1|*10|$9|client|id|:2|*0|"));
    for row in rows().filter(|row| !row.subcommands.is_empty()) {
        let name = row.name.to_uppercase();
        let head = format!("*{}|+{name} <subcommand>", 1 + 2 * row.subcommands.len());
        assert!(described(&format!("{name} help")).starts_with(&head), "{name}");
    }
    assert!(described("command").starts_with(&format!("*{}|*10|", rows().count())));
}
