//! How much memory the server takes at most beside the memories that it holds: a sum over its limits, computed before it
//! serves. What grows with the data is not in it: a memory takes some 1,300 bytes at 768 dimensions with its place in the
//! graph, and a session of the last day some 200.

use std::fmt;

use engram_shards::limits::{
    LOG_BLOCK_BYTES, LOG_COMMIT_BYTES_MAX, RECALL_BYTES_MAX, RECALLS_BYTES_MAX,
    RECALLS_WAITING_MAX, RECORD_BODY_BYTES_MAX,
};

use crate::core::ServeSettings;
use crate::limits::{
    ALLOCATOR_SHARE, CONNECTION_BYTES, EXECUTOR_IO_MEMORY_BYTES, PROCESS_BYTES, QUEUED_BYTES,
    RECALL_WAITING_BYTES, REFUSALS_MAX, UPKEEP_BYTES,
};
use crate::mesh;

/// One of those who take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub name: &'static str,
    /// The most that it takes, of all cores together.
    pub bytes: u64,
}

/// The most that the server takes beside its memories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// Who takes it.
    pub parts: Vec<Part>,
}

impl MemoryBound {
    /// What a server of so many cores takes with these settings.
    pub fn of(settings: &ServeSettings, cores: u16) -> MemoryBound {
        let cores_u64 = u64::from(cores);
        let of_cores = |name, bytes_of_one: u64| Part { name, bytes: bytes_of_one * cores_u64 };
        let commit = u64::from(LOG_COMMIT_BYTES_MAX + LOG_BLOCK_BYTES);
        // Records that wait for the disk, of which the last may be more than fits; one commit that is written, and one
        // that is put together.
        let under_way =
            settings.between_bytes_max as u64 + u64::from(RECORD_BODY_BYTES_MAX) + 2 * commit;
        // Records as they were read and as recalls hold them, and the answer that is made of one.
        let recalls = 2 * RECALLS_BYTES_MAX
            + u64::from(RECALL_BYTES_MAX)
            + (RECALLS_WAITING_MAX * RECALL_WAITING_BYTES) as u64;
        let connections = u64::from(settings.connections_max.next_multiple_of(u32::from(cores)))
            + REFUSALS_MAX as u64 * cores_u64;
        let mut parts = vec![
            Part { name: "process", bytes: PROCESS_BYTES },
            of_cores("executors", EXECUTOR_IO_MEMORY_BYTES as u64 + UPKEEP_BYTES),
            of_cores("rings", mesh::ring_bytes(cores) as u64),
            Part { name: "connections", bytes: connections * CONNECTION_BYTES as u64 },
            of_cores("requests", settings.request_memory_bytes as u64),
            of_cores("observations", under_way),
            of_cores("queue", u64::from(settings.capacity) * QUEUED_BYTES),
            of_cores("recalls", recalls),
            of_cores("record cache", settings.record_cache_bytes),
        ];
        let bytes = parts.iter().map(|part| part.bytes).sum::<u64>() / ALLOCATOR_SHARE;
        parts.push(Part { name: "allocator", bytes });
        MemoryBound { parts }
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
        write!(f, "{} MiB at most beside memories (", mebibytes(self.bytes()))?;
        for (at, part) in self.parts.iter().enumerate() {
            let before = if at == 0 { "" } else { ", " };
            write!(f, "{before}{} {}", part.name, mebibytes(part.bytes))?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_moves_the_bound_by_what_it_allows() {
        let settings = ServeSettings::default();
        let bytes = |settings: &ServeSettings, cores| MemoryBound::of(settings, cores).bytes();
        let grown = |change: &dyn Fn(&mut ServeSettings)| {
            let mut more = settings.clone();
            change(&mut more);
            (bytes(&more, 2) - bytes(&settings, 2)) * ALLOCATOR_SHARE / (ALLOCATOR_SHARE + 1)
        };
        let near = |one: u64, other: u64| one.abs_diff(other) <= 16;
        let connection = CONNECTION_BYTES as u64;
        assert!(near(grown(&|more| more.connections_max += 100), 100 * connection));
        assert!(near(grown(&|more| more.request_memory_bytes += 1 << 20), 2 << 20));
        assert!(near(grown(&|more| more.record_cache_bytes += 1 << 20), 2 << 20));
        assert!(near(grown(&|more| more.between_bytes_max += 1 << 20), 2 << 20));
        assert!(near(grown(&|more| more.capacity += 1_000), 2_000 * QUEUED_BYTES));
        assert!(bytes(&settings, 4) > bytes(&settings, 2));
    }

    #[test]
    fn it_is_told_with_its_parts() {
        let parts = vec![Part { name: "one", bytes: 3 << 20 }, Part { name: "other", bytes: 1 }];
        let told = MemoryBound { parts }.to_string();
        assert_eq!(told, "4 MiB at most beside memories (one 3, other 1)");
    }
}
