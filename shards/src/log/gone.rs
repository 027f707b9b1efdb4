//! What is no more: the bodies of tombstones and suppressions, of cancellations, and of the list of generations that are
//! gone; and the time that a copied record keeps of its first commit.

use crate::ids::{Generation, Time};
use crate::limits;
use crate::log::body::Body;
use crate::log::field::{BodyFault, Fields, push_field, push_text, put_at, u32_at, u64_at};
use crate::log::ranges::Ranges;

const TAG_ID: u8 = 1;

/// Encodes the body of a `Tombstone` or a `Suppression` record: the id of the memory that it is about.
pub fn encode_forgotten(id: &str) -> Body {
    let mut out = Vec::with_capacity(5 + id.len());
    push_text(&mut out, TAG_ID, id);
    Body::of(out)
}

/// Reads the body of a `Tombstone` or a `Suppression` record.
pub fn decode_forgotten(bytes: &[u8]) -> Result<&str, BodyFault> {
    let mut id = "";
    let mut fields = Fields::new(bytes);
    while let Some((tag, field)) = fields.next()? {
        if tag == TAG_ID {
            id = std::str::from_utf8(field).map_err(|_| BodyFault)?;
        }
    }
    if id.is_empty() { Err(BodyFault) } else { Ok(id) }
}

/// Length of one entry of a cancellation: a generation.
const CANCELLED_BYTES: usize = 8;

/// Encodes the body of a `Cancellation` record: the generations that it cancels, which rise.
pub fn encode_cancelled(generations: &[Generation]) -> Body {
    let bytes = generations.iter().flat_map(|generation| generation.0.to_le_bytes());
    Body::of(bytes.collect())
}

/// Reads the body of a `Cancellation` record.
pub fn decode_cancelled(bytes: &[u8]) -> Result<Vec<Generation>, BodyFault> {
    let (entries, rest) = bytes.as_chunks::<CANCELLED_BYTES>();
    let generations: Vec<Generation> =
        entries.iter().map(|entry| Generation(u64::from_le_bytes(*entry))).collect();
    let rise = generations.is_sorted_by(|one, other| one < other);
    if rest.is_empty() && rise { Ok(generations) } else { Err(BodyFault) }
}

const AFTER_AT: usize = 0;
/// Length of the fixed part of a list of generations that are gone.
pub const GONE_FIXED_BYTES: usize = AFTER_AT + 8;
const LIVING_AT: usize = 0;
const GONE_AT: usize = LIVING_AT + 4;
/// Length of one of its runs.
pub const GONE_RUN_BYTES: usize = GONE_AT + 4;

/// Encodes the bodies of `Gone` records: together they list these generations.
pub fn encode_gone(gone: &Ranges) -> Vec<Body> {
    let mut after = 0;
    let next = || {
        let (body, last) = encode_gone_behind(gone, after)?;
        after = last;
        Some(body)
    };
    std::iter::from_fn(next).collect()
}

/// Encodes the body of the next one: it lists the first of these generations that lie behind `after`. Also the last that
/// it lists. None where none is left.
pub fn encode_gone_behind(gone: &Ranges, after: u64) -> Option<(Body, u64)> {
    let mut out: Vec<u8> = Vec::new();
    let mut end = after;
    for (first, last) in gone.runs_behind(after) {
        let mut first = first.max(after + 1);
        while first <= last {
            let is_full = out.len() + GONE_RUN_BYTES > limits::LOG_GONE_BYTES_MAX;
            if !out.is_empty() && (is_full || first - 1 - end > u64::from(u32::MAX)) {
                return Some((Body::of(out), end));
            }
            if out.is_empty() {
                end = first - 1;
                out.extend_from_slice(&end.to_le_bytes());
            }
            let living = (first - 1 - end) as u32;
            let count = u32::try_from(last - first + 1).unwrap_or(u32::MAX);
            out.extend_from_slice(&living.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
            end = first - 1 + u64::from(count);
            first = end + 1;
        }
    }
    (!out.is_empty()).then(|| (Body::of(out), end))
}

/// Reads the body of a `Gone` record into `gone`.
pub fn decode_gone(bytes: &[u8], gone: &mut Ranges) -> Result<(), BodyFault> {
    let (fixed, rest) = bytes.split_at_checked(GONE_FIXED_BYTES).ok_or(BodyFault)?;
    let (runs, rest) = rest.as_chunks::<GONE_RUN_BYTES>();
    if !rest.is_empty() {
        return Err(BodyFault);
    }
    let mut end = u64_at(fixed, AFTER_AT);
    for run in runs {
        let first = end.checked_add(u64::from(u32_at(run, LIVING_AT)) + 1).ok_or(BodyFault)?;
        let count = u64::from(u32_at(run, GONE_AT)).checked_sub(1).ok_or(BodyFault)?;
        end = first.checked_add(count).ok_or(BodyFault)?;
        gone.insert_run(first, end);
    }
    Ok(())
}

/// Tag of the time at which a copied observation was committed first; it is the last of its fields.
const TAG_COMMITTED_AT: u8 = 11;
/// What the field takes beyond the body as it was.
pub const COPY_BYTES_MORE: usize = crate::log::field::FIELD_HEAD_BYTES + 8;

/// The body of a copy of an observation, which keeps the time of its first commit.
pub fn encode_copy(body: &[u8], committed_at: Time) -> Result<Body, BodyFault> {
    let mut out = Vec::with_capacity(body.len() + COPY_BYTES_MORE);
    out.extend_from_slice(body);
    if first_commit(body)?.is_none() {
        let mut time = [0; 8];
        put_at(&mut time, 0, committed_at.0.to_le_bytes());
        push_field(&mut out, TAG_COMMITTED_AT, &time);
    }
    Ok(Body::of(out))
}

/// When the observation of this body was committed first, if it is a copy.
pub fn first_commit(body: &[u8]) -> Result<Option<Time>, BodyFault> {
    let mut fields = Fields::new(crate::log::body::fields_of(body)?);
    while let Some((tag, field)) = fields.next()? {
        if tag == TAG_COMMITTED_AT {
            let bytes = field.try_into().map_err(|_| BodyFault)?;
            return Ok(Some(Time(u64::from_le_bytes(bytes))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_gone_comes_back(
            runs in prop::collection::vec((0..100_000u64, 0..3_000u64), 0..200)
        ) {
            let mut gone = Ranges::default();
            runs.iter().for_each(|&(first, more)| gone.insert_run(first + 1, first + 1 + more));
            let bodies = encode_gone(&gone);
            let mut read = Ranges::default();
            for body in &bodies {
                prop_assert!(body.bytes.len() <= limits::LOG_GONE_BYTES_MAX);
                prop_assert_eq!(decode_gone(&body.bytes, &mut read), Ok(()));
            }
            prop_assert_eq!(read, gone);
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_forgotten(&bytes);
            let _ = decode_cancelled(&bytes);
            let _ = first_commit(&bytes);
            let _ = decode_gone(&bytes, &mut Ranges::default());
        }
    }

    #[test]
    fn a_long_list_takes_several_records() {
        let mut gone = Ranges::default();
        (1..200_000).for_each(|number| assert!(gone.insert(2 * number)));
        // Further off, and longer, than one entry can say.
        gone.insert_run(1 << 40, (1 << 40) + (1 << 33));
        let bodies = encode_gone(&gone);
        assert!(bodies.len() > 2);
        let mut read = Ranges::default();
        bodies.iter().for_each(|body| assert_eq!(decode_gone(&body.bytes, &mut read), Ok(())));
        assert_eq!(read, gone);
    }

    #[test]
    fn ids_and_generations_come_back() {
        assert_eq!(decode_forgotten(&encode_forgotten("an id").bytes), Ok("an id"));
        assert_eq!(decode_forgotten(&[]), Err(BodyFault));
        let generations = [Generation(3), Generation(9)];
        assert_eq!(
            decode_cancelled(&encode_cancelled(&generations).bytes),
            Ok(generations.to_vec())
        );
        let falling = [Generation(9), Generation(3)];
        assert_eq!(decode_cancelled(&encode_cancelled(&falling).bytes), Err(BodyFault));
    }
}
