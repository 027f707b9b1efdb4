//! Memory for what a core is about to load or to take in, found by the kernel beside that.
//!
//! To hand out pages takes the kernel as long as it takes the core to fill them. So a thread of the lowest priority has
//! them handed out a little ahead: on CPUs that have nothing to do, and on those hardly ever that load or serve.

use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use engram_shards::vector::slab::{Ahead, Reserve, SLAB_BYTES};
use rustix::process::setpriority_process;

use crate::cores::CoreIndex;
use crate::limits::{LOWEST_PRIORITY, RESERVES_AHEAD_MAX};

/// Memory that comes while it is used. Once this is dropped no more is asked for.
#[derive(Debug)]
pub struct MemoryAhead {
    /// None where no one finds any.
    reserves: Option<Receiver<Reserve>>,
}

impl MemoryAhead {
    /// Begins to find about so many bytes for a core; no more than that.
    pub fn find(bytes: u64, core: CoreIndex) -> MemoryAhead {
        let slabs = bytes / SLAB_BYTES as u64;
        if slabs == 0 {
            return MemoryAhead { reserves: None };
        }
        let (found, reserves) = sync_channel(RESERVES_AHEAD_MAX);
        let find = move || {
            if let Err(error) = setpriority_process(None, LOWEST_PRIORITY) {
                tracing::debug!(%error, "no memory is found ahead");
                return;
            }
            let mut reserves = (0..slabs).map_while(|_| Reserve::new(SLAB_BYTES));
            // Ends early where no one waits for it any more.
            while reserves.next().is_some_and(|reserve| found.send(reserve).is_ok()) {}
        };
        let name = format!("engram-{}-memory", core.0);
        match thread::Builder::new().name(name).spawn(find) {
            Ok(_) => MemoryAhead { reserves: Some(reserves) },
            Err(error) => {
                tracing::debug!(%error, "no memory is found ahead");
                MemoryAhead { reserves: None }
            }
        }
    }

    /// Has this thread's arrays grow into what was found.
    pub fn adopt(&self) {
        let reserves = self.reserves.iter().flat_map(Receiver::try_iter);
        reserves.for_each(Reserve::adopt);
    }
}

/// The way to a thread that has pages handed out ahead, for cores that take in rows. On a virtual machine each may take its
/// host milliseconds. Where that thread is not, each core does so itself as it comes to a page.
#[derive(Clone, Debug)]
pub struct PageFinder(Sender<Ahead>);

impl PageFinder {
    /// Begins to wait for cores.
    pub fn start() -> PageFinder {
        let (wanted, wishes) = channel::<Ahead>();
        let find = move || {
            if let Err(error) = setpriority_process(None, LOWEST_PRIORITY) {
                tracing::debug!(%error, "pages are found ahead at the priority of cores");
            }
            wishes.iter().for_each(Ahead::touch);
        };
        if let Err(error) = thread::Builder::new().name("engram-memory".to_owned()).spawn(find) {
            tracing::warn!(%error, "no pages are found ahead");
        }
        PageFinder(wanted)
    }

    /// Has found what this thread's arrays will grow into next.
    pub fn find_ahead(&self) {
        while let Some(ahead) = Ahead::of_this_thread() {
            // Where there is no such thread, the pages are found as they are used.
            let _ = self.0.send(ahead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_found_than_is_needed() {
        let slabs = 2 + RESERVES_AHEAD_MAX as u64;
        let memory = MemoryAhead::find((slabs + 1) * SLAB_BYTES as u64 - 1, CoreIndex(0));
        let reserves = memory.reserves.as_ref().expect("they are found");
        assert_eq!(reserves.iter().count() as u64, slabs);
    }

    #[test]
    fn who_needs_little_finds_it_alone() {
        assert!(MemoryAhead::find(SLAB_BYTES as u64 - 1, CoreIndex(0)).reserves.is_none());
    }
}
