//! What an `ObservationRequest` does to an open session, whether it came over gRPC or WebSocket.

use std::task::{Context, Poll};

use engram_proto::engram::v1::{
    Episode, ObservationRequest, StreamSubscription, StreamingRecallRequest,
};

use crate::content::ContentFault;
use crate::events::Wanted;
use crate::failure::Failure;
use crate::session::{Recall, Session};
use crate::wire::convert;

/// Hands an observation of a request in; one that is meant for elsewhere is refused in its place.
pub(super) fn poll_observe(
    session: &mut Session,
    cx: &mut Context<'_>,
    request: &ObservationRequest,
    sequence: u64,
    episode: &Episode,
) -> Poll<()> {
    match check(request, session) {
        Ok(()) => session.poll_observe(cx, sequence, &convert::observation(episode)),
        Err(fault) => {
            session.refuse(sequence, episode.id.clone(), fault.into());
            Poll::Ready(())
        }
    }
}

/// The recall that a request asks for, if it is one for this session.
pub(super) fn recall<'a>(
    request: &ObservationRequest,
    recall: &'a StreamingRecallRequest,
    session: &Session,
) -> Result<Recall<'a>, Failure> {
    check(request, session)?;
    session.check_names(&recall.memory_space_id, &recall.session_id)?;
    convert::recall(recall)
}

/// What a subscription asks for. (Its `enable_backpressure` changes nothing: a slow subscriber always hears what it missed.)
pub(super) fn wanted(subscription: &StreamSubscription) -> Result<Wanted, Failure> {
    let StreamSubscription { event_types, min_importance, buffer_size, .. } = subscription;
    convert::wanted(event_types, *min_importance, *buffer_size)
}

fn check(request: &ObservationRequest, session: &Session) -> Result<(), ContentFault> {
    session.check_names(&request.memory_space_id, &request.session_id)
}
