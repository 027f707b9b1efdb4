//! Names of things: one newtype for each, so that none is taken for another.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// A point in time: microseconds since the UNIX epoch. The engine never reads a clock; it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time that lies `micros` after this one.
    pub fn after_micros(self, micros: u64) -> Time {
        Time(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this time; zero where `earlier` is the later one.
    pub fn micros_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A space, as records and messages name it: the hash of its name, keyed by the folder's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceKey(pub u64);

/// One stripe of a space: what one core owns of it. A space of one core has the one stripe 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StripeKey {
    /// The space.
    pub space: SpaceKey,
    /// Which of its stripes, from 0.
    pub stripe: u16,
}

/// Which of a shard's stripes, in the order in which it got them; they are never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub usize);

/// A client's session: the 128 bits of its UUID. Zero stands for "no session" (a unary call).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

impl SessionId {
    /// What unary calls carry: such records belong to no session.
    pub const NONE: SessionId = SessionId(0);
}

/// Which attachment of a session this is: each (re)opening counts one up and fences those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionEpoch(pub u32);

/// How many observations a stripe has taken, up to and with this one; from 1. A tombstone carries the generation
/// that it follows. So the durable generation of a stripe is the number of its durable observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// A row of one stripe's arrays. Another has its number once it is gone: numbers tell no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub u32);

/// One append-only log: one per shard that ever ran in this folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u16);

/// One segment (file) of a log; numbers rise from 1 and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The log.
    pub log: LogId,
    /// Its number within the log.
    pub number: u32,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The segment.
    pub segment: SegmentId,
    /// Offset of the record's first byte in the segment, in bytes.
    pub offset: u32,
    /// Length of the whole record, in bytes.
    pub bytes: u32,
}

/// The key of every hash in a folder; made once, when the folder is, from the operating system's randomness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FolderSecret(pub [u8; 16]);

impl FolderSecret {
    /// The key of the space called `name`.
    pub fn space_key(&self, name: &str) -> SpaceKey {
        SpaceKey(self.hash(b"space", name.as_bytes()))
    }

    /// The hash under which a stripe knows the memory `id`.
    pub fn memory_hash(&self, id: &str) -> u64 {
        self.hash(b"memory", id.as_bytes())
    }

    pub(crate) fn place_hash(&self, name: &str) -> u64 {
        self.hash(b"place", name.as_bytes())
    }

    pub(crate) fn who_hash(&self, name: &str) -> u64 {
        self.hash(b"who", name.as_bytes())
    }

    pub(crate) fn tag_hash(&self, name: &str) -> u64 {
        self.hash(b"tag", name.as_bytes())
    }

    fn hash(&self, domain: &[u8], bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(domain);
        hasher.write(bytes);
        hasher.finish()
    }
}

impl fmt::Debug for FolderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FolderSecret(..)")
    }
}
