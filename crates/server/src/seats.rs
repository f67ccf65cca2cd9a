//! A row of seats: each has an index that is its own until it is left, and is then given again.
//!
//! Promises: every operation but [`Seats::indices`] is O(1); room once made is kept.

/// A row of seats.
#[derive(Debug)]
pub(crate) struct Seats<T> {
    seats: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Seats<T> {
    /// Takes a free seat; returns its index.
    pub(crate) fn add(&mut self, who: T) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.seats[index] = Some(who);
                index
            }
            None => {
                self.seats.push(Some(who));
                self.seats.len() - 1
            }
        }
    }

    /// Returns who sits at `index`.
    pub(crate) fn get(&mut self, index: usize) -> Option<&mut T> {
        self.seats.get_mut(index)?.as_mut()
    }

    /// Frees a seat; returns who sat there.
    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let who = self.seats.get_mut(index)?.take()?;
        self.free.push(index);
        Some(who)
    }

    /// Returns the indices of all seats that were ever taken; some may be free.
    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.seats.len()
    }

    /// Whether nobody is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.seats.len()
    }
}

impl<T> Default for Seats<T> {
    fn default() -> Self {
        Self { seats: Vec::new(), free: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_left_seat_is_given_again() {
        let mut seats = Seats::default();
        assert_eq!((seats.add('a'), seats.add('b')), (0, 1));
        assert_eq!((seats.remove(0), seats.remove(0)), (Some('a'), None));
        assert_eq!(seats.add('c'), 0);
        assert_eq!(seats.get(0), Some(&mut 'c'));
        assert_eq!(seats.get(2), None);
        assert!(seats.remove(0).is_some() && seats.remove(1).is_some() && seats.is_empty());
    }
}
