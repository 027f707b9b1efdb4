//! How much of each segment counts, as far as the records of all logs tell: what a compaction would have to copy.
//!
//! Memories are told apart by their hashes alone, where a shard compares their ids.

use std::collections::BTreeMap;

use crate::ids::{SegmentId, StripeKey, Time};
use crate::log::gone::decode_gone;
use crate::log::ranges::Ranges;
use crate::log::record::RecordKind;
use crate::log::walk::Replayed;

/// Takes the records of a folder in, in any order.
#[derive(Debug, Default)]
pub struct Counting {
    stripes: BTreeMap<StripeKey, Stripe>,
}

/// What is known of one stripe.
#[derive(Debug, Default)]
struct Stripe {
    /// Its observations, by generation.
    observations: BTreeMap<u64, Observed>,
    gone: Ranges,
    /// By the hash of a memory, up to which generation it is deleted.
    deleted: BTreeMap<u64, u64>,
}

/// Where an observation lies.
#[derive(Clone, Copy, Debug)]
struct Observed {
    memory_hash: u64,
    segment: SegmentId,
    bytes: u32,
    committed_at: Time,
}

impl Counting {
    /// One more record. A list of what is gone that cannot be read says nothing.
    pub fn take(&mut self, record: &Replayed<'_>) {
        let Replayed { head, location, committed_at, .. } = *record;
        let stripe = self.stripes.entry(head.stripe).or_default();
        let (memory_hash, generation) = (head.memory_hash, head.generation.0);
        match head.kind {
            RecordKind::Observation => {
                let (segment, bytes) = (location.segment, location.bytes);
                let found = Observed { memory_hash, segment, bytes, committed_at };
                let known = stripe.observations.entry(generation).or_insert(found);
                if known.committed_at < committed_at {
                    *known = found;
                }
            }
            RecordKind::Tombstone => {
                let until = stripe.deleted.entry(memory_hash).or_default();
                *until = generation.max(*until);
            }
            RecordKind::Gone => {
                let _ = decode_gone(record.body, &mut stripe.gone);
            }
            _ => {}
        }
    }

    /// Bytes of the records that count, by segment; those of which nothing counts are left out.
    pub fn bytes(&self) -> BTreeMap<SegmentId, u64> {
        let mut bytes = BTreeMap::new();
        for Stripe { observations, gone, deleted } in self.stripes.values() {
            let newest: BTreeMap<u64, u64> = observations
                .iter()
                .map(|(generation, observed)| (observed.memory_hash, *generation))
                .collect();
            for (memory_hash, generation) in newest {
                let is_deleted =
                    deleted.get(&memory_hash).is_some_and(|until| generation <= *until);
                if !is_deleted && !gone.contains(generation) {
                    let Observed { segment, bytes: length, .. } = observations[&generation];
                    *bytes.entry(segment).or_default() += u64::from(length);
                }
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, Location, LogId, SessionId, SpaceKey};
    use crate::log::gone::encode_gone;
    use crate::log::record::RecordHead;

    const ONE: SegmentId = SegmentId { log: LogId(0), number: 1 };
    const OTHER: SegmentId = SegmentId { log: LogId(1), number: 4 };

    #[test]
    fn what_counts_is_the_newest_of_each_memory_that_is_not_gone() {
        let mut counting = Counting::default();
        let mut clock = 0;
        let mut take = |kind, (memory_hash, generation), segment, body: &[u8]| {
            clock += 1;
            let head = RecordHead {
                stripe: StripeKey { space: SpaceKey(3), stripe: 0 },
                generation: Generation(generation),
                session: SessionId::NONE,
                sequence: 0,
                memory_hash,
                received_at: Time(0),
                kind,
            };
            counting.take(&Replayed {
                head,
                body,
                body_crc: 0,
                location: Location { segment, offset: 4_096, bytes: 100 },
                committed_at: Time(clock),
                proven: true,
            });
        };
        let observation = RecordKind::Observation;
        take(observation, (7, 1), ONE, &[]); // replaced
        take(observation, (8, 2), ONE, &[]); // deleted
        take(observation, (9, 3), ONE, &[]); // copied
        take(observation, (10, 4), ONE, &[]); // gone
        take(observation, (7, 5), ONE, &[]);
        take(RecordKind::Tombstone, (8, 5), ONE, &[]);
        take(observation, (8, 6), OTHER, &[]); // observed anew
        take(observation, (9, 3), OTHER, &[]);
        let mut gone = Ranges::default();
        gone.insert(4);
        let bodies = encode_gone(&gone);
        take(RecordKind::Gone, (0, 6), OTHER, &bodies[0].bytes);
        assert_eq!(counting.bytes(), BTreeMap::from([(ONE, 100), (OTHER, 200)]));
    }
}
