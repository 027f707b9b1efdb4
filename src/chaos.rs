//! What a test may do to a running server: `engram serve --chaos`, in a build with the feature `chaos`. In any other
//! build there is no such flag, no path that takes such wishes, and no [`Injection`] that could be made.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use crate::cores::CoreIndex;
use crate::failure::{Code, Failure};
use crate::limits::SHARD_FAILURES_MAX;

/// The flags.
#[cfg(feature = "chaos")]
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Let whoever can POST to /chaos make shards panic and disks fail: for tests
    #[arg(long)]
    chaos: bool,
    /// Failures of a shard within a minute after which it stays down: for tests [default: 3]
    #[arg(long, value_name = "COUNT", requires = "chaos")]
    chaos_failures_max: Option<u32>,
    /// How long a session waits for a silent client, be it shorter than is promised: for tests
    #[arg(long, value_name = "TIME", requires = "chaos", value_parser = humantime::parse_duration)]
    chaos_session_silence: Option<Duration>,
}

/// None.
#[cfg(not(feature = "chaos"))]
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {}

/// What the flags say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Whether wishes are taken.
    pub is_on: bool,
    /// Failures of a shard in [`SHARD_FAILURES_WINDOW`](crate::limits::SHARD_FAILURES_WINDOW) after which it stays down.
    pub shard_failures_max: u32,
    /// How long a session waits for a silent client, where that is not what the settings say.
    pub session_silence: Option<Duration>,
}

impl Default for Chaos {
    fn default() -> Chaos {
        Chaos { is_on: false, shard_failures_max: SHARD_FAILURES_MAX, session_silence: None }
    }
}

impl Flags {
    /// What they say.
    #[cfg(feature = "chaos")]
    pub fn chaos(&self) -> Chaos {
        let shard_failures_max = self.chaos_failures_max.unwrap_or(SHARD_FAILURES_MAX);
        let session_silence = self.chaos_session_silence;
        Chaos { is_on: self.chaos, shard_failures_max, session_silence }
    }

    /// Nothing.
    #[cfg(not(feature = "chaos"))]
    pub fn chaos(&self) -> Chaos {
        Chaos::default()
    }
}

/// What is done to one core, once.
#[cfg(feature = "chaos")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Injection {
    /// Its shard panics.
    Panic,
    /// So many of its next writes fail, and write nothing.
    FailWrites(u32),
    /// So many of its next syncs fail.
    FailSyncs(u32),
}

/// There is none.
#[cfg(not(feature = "chaos"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {}

impl Injection {
    /// Does it, in the place of the shard.
    #[cfg(feature = "chaos")]
    pub fn strike(self, faults: &DiskFaults) {
        match self {
            Injection::Panic => panic!("chaos was asked for"),
            Injection::FailWrites(count) => faults.writes.set(count),
            Injection::FailSyncs(count) => faults.syncs.set(count),
        }
    }

    /// There is none to do.
    #[cfg(not(feature = "chaos"))]
    pub fn strike(self, _: &DiskFaults) {
        match self {}
    }
}

/// The wish in a request's body: `{"core": 1, "inject": "panic"}`, `{"core": 0, "inject": {"fail_writes": 2}}`.
#[cfg(feature = "chaos")]
pub fn read(body: &[u8], cores: u16) -> Result<(CoreIndex, Injection), Failure> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        core: u16,
        inject: Injection,
    }
    let invalid = |message: String| Failure::new(Code::InvalidArgument, message);
    let Wish { core, inject } =
        serde_json::from_slice(body).map_err(|error| invalid(format!("Invalid JSON: {error}")))?;
    match core < cores {
        true => Ok((CoreIndex(core), inject)),
        false => Err(invalid(format!("there are {cores} cores"))),
    }
}

/// No wish is taken.
#[cfg(not(feature = "chaos"))]
pub fn read(_: &[u8], _: u16) -> Result<(CoreIndex, Injection), Failure> {
    Err(Failure::new(Code::Unimplemented, "this build has no chaos"))
}

/// How many of one core's next I/Os are to fail. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults {
    writes: Rc<Cell<u32>>,
    syncs: Rc<Cell<u32>>,
}

impl DiskFaults {
    /// Before a write.
    pub fn at_write(&self) -> io::Result<()> {
        DiskFaults::fail_one(&self.writes)
    }

    /// Before a sync.
    pub fn at_sync(&self) -> io::Result<()> {
        DiskFaults::fail_one(&self.syncs)
    }

    fn fail_one(left: &Cell<u32>) -> io::Result<()> {
        match left.get() {
            0 => Ok(()),
            count => {
                left.set(count - 1);
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
    }
}

#[cfg(all(test, feature = "chaos"))]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_its_core_and_what_is_done() {
        let wish = |body: &str| read(body.as_bytes(), 2);
        assert_eq!(wish(r#"{"core":1,"inject":"panic"}"#), Ok((CoreIndex(1), Injection::Panic)));
        let failing = wish(r#"{"core":0,"inject":{"fail_syncs":3}}"#).expect("it is sound");
        assert_eq!(failing, (CoreIndex(0), Injection::FailSyncs(3)));
        assert!(wish(r#"{"core":2,"inject":"panic"}"#).is_err(), "there is no such core");
        assert!(wish(r#"{"core":0,"inject":"peace"}"#).is_err());
        let faults = DiskFaults::default();
        failing.1.strike(&faults);
        assert_eq!([(); 4].map(|()| faults.at_sync().is_err()), [true, true, true, false]);
        assert!(faults.at_write().is_ok());
    }
}
