//! The one type that faces use.
#![allow(clippy::missing_errors_doc)]

use crate::{
    Broken, Census, Change, Create, Entry, Error, Listed, Meta, Name, Set, SetDone, Stat, Verified,
};

/// One attached participant: Send, not Sync; one for each thread.
pub struct Store;
/// A store attached read-only.
pub struct Observer;

impl Store {
    /// To come.
    pub fn create(_name: &Name, _how: &Create) -> Result<Store, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn attach(_name: &Name) -> Result<Store, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn observe(_name: &Name) -> Result<Observer, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn list() -> Result<Vec<Listed>, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn remove(_name: &Name) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn anonymous(_how: &Create) -> Result<Store, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn try_clone(&self) -> Result<Store, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn set_now(&mut self, _now_ms: Option<u64>) {}

    /// To come.
    pub fn get(&mut self, _key: &[u8], _value: &mut Vec<u8>) -> Result<Option<Meta>, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn peek(&mut self, _key: &[u8]) -> Result<Option<Meta>, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn get_many(
        &mut self,
        _keys: &[&[u8]],
        _each: impl FnMut(usize, Option<(&[u8], Meta)>),
    ) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn set(&mut self, _key: &[u8], _value: &[u8], _how: &Set) -> Result<SetDone, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn delete(&mut self, _key: &[u8]) -> Result<bool, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn increment(&mut self, _key: &[u8], _by: i64) -> Result<i64, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn update<R>(
        &mut self,
        _key: &[u8],
        _change: impl FnOnce(Option<Entry<'_>>) -> (Change, R),
    ) -> Result<R, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn update_many<R>(
        &mut self,
        _keys: &[&[u8]],
        _change: impl FnOnce(&[Option<Entry<'_>>]) -> (Vec<Change>, R),
    ) -> Result<R, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn scan(
        &mut self,
        _cursor: u64,
        _count: usize,
        _each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn random_key(&mut self, _key: &mut Vec<u8>) -> Result<bool, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn len(&mut self) -> u64 {
        Default::default()
    }

    /// To come.
    pub fn is_empty(&mut self) -> bool {
        true
    }

    /// To come.
    pub fn clear(&mut self) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn stat(&mut self) -> Stat {
        Default::default()
    }

    /// To come.
    pub fn census(&mut self) -> Census {
        Default::default()
    }

    /// To come.
    pub fn verify(&mut self) -> Result<Verified, Vec<Broken>> {
        Err(Vec::new())
    }

    /// To come.
    pub fn tidy(&mut self) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn memory_bytes(&self) -> u64 {
        Default::default()
    }

    /// To come.
    pub fn name(&self) -> String {
        Default::default()
    }
}

impl Observer {
    /// To come.
    pub fn set_now(&mut self, _now_ms: Option<u64>) {}

    /// To come.
    pub fn get(&mut self, _key: &[u8], _value: &mut Vec<u8>) -> Result<Option<Meta>, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn peek(&mut self, _key: &[u8]) -> Result<Option<Meta>, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn scan(
        &mut self,
        _cursor: u64,
        _count: usize,
        _each: impl FnMut(&[u8], Meta),
    ) -> Result<u64, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn random_key(&mut self, _key: &mut Vec<u8>) -> Result<bool, Error> {
        Err(Error::ReadOnly)
    }

    /// To come.
    pub fn len(&mut self) -> u64 {
        Default::default()
    }

    /// To come.
    pub fn stat(&mut self) -> Stat {
        Default::default()
    }

    /// To come.
    pub fn census(&mut self) -> Census {
        Default::default()
    }

    /// To come.
    pub fn verify(&mut self) -> Result<Verified, Vec<Broken>> {
        Err(Vec::new())
    }

    /// To come.
    pub fn memory_bytes(&self) -> u64 {
        Default::default()
    }

    /// To come.
    pub fn name(&self) -> String {
        Default::default()
    }
}
