//! Events of a space: which a client wants, and how they are told.

use engram_proto::engram::v1::{StreamEventType, StreamResponse};
use engram_shards::ids::Time;
use engram_shards::message::{Happened, Interest, StripeEvent};

use super::memories::timestamp;
use super::requests::not_served;
use crate::events::Wanted;
use crate::failure::{Code, Failure};
use crate::limits::{SUBSCRIPTION_ROOM_DEFAULT, SUBSCRIPTION_ROOM_MAX};

/// What a subscription asks for: no types stand for all, 0 for no least importance, and for as much room as the server
/// chooses.
pub(crate) fn wanted(
    types: &[i32],
    min_importance: f32,
    buffer_size: i32,
) -> Result<Wanted, Failure> {
    let invalid = |message: &str| Failure::new(Code::InvalidArgument, message);
    if !min_importance.is_finite() {
        return Err(invalid("min_importance must be finite"));
    }
    let room = u32::try_from(buffer_size)
        .map_err(|_| invalid("buffer_size must not be negative"))?
        .min(SUBSCRIPTION_ROOM_MAX);
    let mut interest = Interest {
        stored: types.is_empty(),
        recalled: types.is_empty(),
        importance_min: if min_importance == 0.0 { f32::NEG_INFINITY } else { min_importance },
    };
    for &number in types {
        match StreamEventType::try_from(number) {
            Ok(StreamEventType::Unspecified) => {
                (interest.stored, interest.recalled) = (true, true);
            }
            Ok(StreamEventType::Storage) => interest.stored = true,
            Ok(StreamEventType::Recall) => interest.recalled = true,
            // They never happen here.
            Ok(_) => {}
            Err(_) => return Err(invalid(&format!("event type {number} is not known"))),
        }
    }
    match interest.stored || interest.recalled {
        true => {
            Ok(Wanted { interest, room: if room == 0 { SUBSCRIPTION_ROOM_DEFAULT } else { room } })
        }
        false => Err(not_served("events of these types; STORAGE and RECALL are")),
    }
}

/// Something that happened.
pub(crate) fn happened(event: StripeEvent) -> StreamResponse {
    let StripeEvent { at, importance, happened } = event;
    let (event_type, description, metadata) = match happened {
        Happened::Stored { id, generation } => (
            StreamEventType::Storage,
            format!("stored {id}"),
            vec![("memory_id", id.into_string()), ("generation", generation.0.to_string())],
        ),
        Happened::Recalled { results, best } => {
            let mut metadata = vec![("results", results.to_string())];
            metadata.extend(best.map(|id| ("memory_id", id.into_string())));
            (StreamEventType::Recall, format!("recalled {results} memories"), metadata)
        }
    };
    response(event_type, at, description, metadata, importance)
}

/// So many events were missed.
pub(crate) fn events_missed(count: u64, now: Time) -> StreamResponse {
    let description = format!("{count} events were missed: the subscriber is slow");
    let metadata = vec![("missed", count.to_string())];
    response(StreamEventType::Unspecified, now, description, metadata, 0.0)
}

fn response(
    event_type: StreamEventType,
    at: Time,
    description: String,
    metadata: Vec<(&str, String)>,
    importance: f32,
) -> StreamResponse {
    StreamResponse {
        event_type: event_type.into(),
        timestamp: Some(timestamp(at)),
        description,
        metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        importance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happens_is_not_waited_for_in_vain() {
        let types = |types: &[StreamEventType]| {
            let types: Vec<i32> = types.iter().map(|&one| one.into()).collect();
            wanted(&types, 0.0, 0).map(|wanted| (wanted.interest.stored, wanted.interest.recalled))
        };
        assert_eq!(types(&[]), Ok((true, true)));
        assert_eq!(types(&[StreamEventType::Unspecified]), Ok((true, true)));
        assert_eq!(types(&[StreamEventType::Decay, StreamEventType::Recall]), Ok((false, true)));
        assert_eq!(types(&[StreamEventType::Storage]), Ok((true, false)));
        assert_eq!(types(&[StreamEventType::Decay]).unwrap_err().code, Code::Unimplemented);
        assert_eq!(wanted(&[99], 0.0, 0).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(wanted(&[], f32::NAN, 0).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(wanted(&[], 0.0, -1).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn room_has_a_default_and_an_end() {
        let room = |size| wanted(&[], 0.0, size).map(|wanted| wanted.room);
        assert_eq!(room(0), Ok(SUBSCRIPTION_ROOM_DEFAULT));
        assert_eq!(room(7), Ok(7));
        assert_eq!(room(i32::MAX), Ok(SUBSCRIPTION_ROOM_MAX));
    }
}
