//! Pieces: what one process plays, and the command line that says so.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::workloads::{Measure, WORKLOADS};
use crate::{footprint, recorded, scaling};

/// How often a recording is played: once takes a twentieth of a second.
const TIMES: u32 = 10;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A workload, by its name.
    Workload,
    /// A recording, by the file of its calls.
    Recording,
    /// A point of a show, by its name.
    Point,
}

/// One process of a show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Operations in so many threads.
    Threads(usize),
    /// Operations while so many payloads live.
    Live(usize),
    /// Operations while so many payloads of 16 bytes live.
    Tiny(usize),
    /// The rise and fall of what lives.
    Footprint,
    /// Nothing: what the program itself has resident, on whatever malloc.
    Nothing,
}

impl Piece {
    const ALL: [Self; 3] = [Self::Workload, Self::Recording, Self::Point];

    const fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Recording => "recording",
            Self::Point => "point",
        }
    }

    /// The piece that is called so.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|piece| piece.name() == name)
    }

    /// The arguments with which the program plays it.
    pub fn arguments(self, what: impl Into<OsString>, measure: Measure) -> Vec<OsString> {
        let (seed, part) = (measure.seed.to_string(), measure.part.to_string());
        vec![self.name().into(), what.into(), seed.into(), part.into()]
    }

    /// Plays it in this process, and prints the outcome.
    ///
    /// # Errors
    /// - Nothing is called so, or the recording cannot be read.
    pub fn play(self, what: &OsStr, measure: Measure) -> io::Result<()> {
        let name = what.to_string_lossy();
        match self {
            Self::Workload => {
                let found = WORKLOADS.iter().find(|workload| workload.name == name);
                let workload = found.ok_or_else(|| unknown("workload", &name))?;
                println!("{}", workload.play(measure));
            }
            Self::Recording => {
                let times = (TIMES / measure.part).max(1);
                println!("{}", recorded::play(Path::new(what), times)?);
            }
            Self::Point => {
                let point: Point = name.parse().map_err(|()| unknown("point", &name))?;
                point.play(measure)?;
            }
        }
        Ok(())
    }
}

fn unknown(kind: &str, name: &str) -> io::Error {
    io::Error::other(format!("no {kind} is called {name}"))
}

impl Point {
    /// The points of how the cost of an operation grows.
    #[must_use]
    pub fn of_scaling() -> Vec<Self> {
        let threads = scaling::THREADS.into_iter().map(Self::Threads);
        let live = scaling::LIVE.into_iter().map(Self::Live);
        let tiny = scaling::TINY.into_iter().map(Self::Tiny);
        threads.chain(live).chain(tiny).collect()
    }

    /// Its name in the command line of the process that plays it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Threads(count) => format!("threads:{count}"),
            Self::Live(count) => format!("live:{count}"),
            Self::Tiny(count) => format!("tiny:{count}"),
            Self::Footprint => "footprint".to_string(),
            Self::Nothing => "nothing".to_string(),
        }
    }

    /// Plays it in this process and tells the numbers, one or more a line, behind their name.
    fn play(self, measure: Measure) -> io::Result<()> {
        match self {
            Self::Threads(count) => {
                println!("{count} threads::{}", scaling::in_threads(measure, count));
            }
            Self::Live(count) => {
                println!("{count} live::{}", scaling::with_live(measure, count));
            }
            Self::Tiny(count) => {
                let (fill, operation) = scaling::with_tiny(measure, count);
                println!("{count} tiny, to fill::{fill}");
                println!("{count} tiny::{operation}");
            }
            Self::Footprint => {
                for moment in footprint::play(measure)? {
                    let footprint::Moment { name, live_bytes, resident_bytes } = moment;
                    println!("{name}:{live_bytes}:{resident_bytes}");
                }
            }
            Self::Nothing => println!("nothing"),
        }
        Ok(())
    }
}

impl FromStr for Point {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let others = [Self::Footprint, Self::Nothing];
        let mut all = Self::of_scaling().into_iter().chain(others);
        all.find(|point| point.name() == name).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_point_is_found_by_its_name() {
        for point in Point::of_scaling().into_iter().chain([Point::Footprint, Point::Nothing]) {
            assert_eq!(point.name().parse(), Ok(point));
        }
        assert_eq!("live:7".parse::<Point>(), Err(()));
    }

    #[test]
    fn each_piece_is_found_by_its_arguments() {
        for piece in Piece::ALL {
            let arguments = piece.arguments("it", Measure { seed: 7, part: 2 });
            assert_eq!(arguments[1..], ["it", "7", "2"]);
            assert_eq!(arguments[0].to_str().and_then(Piece::from_name), Some(piece));
        }
    }
}
