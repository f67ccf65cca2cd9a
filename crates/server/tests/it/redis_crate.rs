//! The `redis` crate, unmodified, finds what it expects.

use ::redis::{self, Commands, ExistenceCheck, SetExpiry, SetOptions, pipe};

use crate::house::{House, under_every_model};

#[test]
fn the_redis_crate_works() {
    under_every_model(|options| {
        let house = House::open(options);
        for suffix in ["", "?protocol=resp3"] {
            let client = redis::Client::open(format!("redis://{}/{suffix}", house.address));
            let mut connection = client.unwrap().get_connection().unwrap();
            speak(&mut connection).unwrap();
            () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
        }
    });
}

fn speak(connection: &mut redis::Connection) -> redis::RedisResult<()> {
    () = connection.set("number", 41)?;
    let number: i64 = connection.incr("number", 1)?;
    assert_eq!(number, 42);
    let nothing: Option<String> = connection.get("nothing")?;
    assert_eq!(nothing, None);
    let options = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::EX(100));
    let set: Option<String> = connection.set_options("lock", "mine", options.clone())?;
    assert_eq!(set.as_deref(), Some("OK"));
    let set: Option<String> = connection.set_options("lock", "yours", options)?;
    assert_eq!(set, None);
    let left: i64 = connection.ttl("lock")?;
    assert!((1..=100).contains(&left), "{left}");
    let (a, b): (String, Vec<Option<i64>>) =
        pipe().cmd("SET").arg("a").arg(1).cmd("MGET").arg("a").arg("b").query(connection)?;
    assert_eq!((a.as_str(), b), ("OK", vec![Some(1), None]));
    let mut keys: Vec<String> = connection.scan()?.collect::<redis::RedisResult<_>>()?;
    keys.sort();
    assert_eq!(keys, ["a", "lock", "number"]);
    let refused: redis::RedisResult<i64> = connection.incr("lock", 1);
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("value is not an integer or out of range"), "{words}");
    Ok(())
}
