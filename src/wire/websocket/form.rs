//! In which form a client is told things: the one in which it speaks.

use engram_proto::engram::v1::observation_response::Result as Answer;
use engram_proto::engram::v1::{ObservationResponse, StreamInitAck, StreamStatus};
use prost::Message as _;
use tungstenite::Message;

use crate::failure::{Code, Failure};
use crate::session::Event;
use crate::wire::convert;
use crate::wire::websocket::outbound::{self, Addressee};

/// The two forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON objects in text frames.
    #[default]
    Json,
    /// The protocol's own messages in binary frames.
    Protobuf,
}

impl Form {
    /// Says an event of a session.
    pub(super) fn say_event(self, event: Event, to: &Addressee<'_>, mut say: impl FnMut(Message)) {
        match self {
            Form::Json => outbound::say_event(&event, to, say),
            Form::Protobuf => {
                if let Event::Ended(failure) = &event
                    && failure.code != Code::Aborted
                {
                    say(self.failed(failure, to));
                }
                convert::say_event(event, to.ack_mode, to.now, |sequence, answer| {
                    say(response(to, sequence, Some(answer)))
                });
            }
        }
    }

    /// A session is open.
    pub(super) fn init_ack(self, ack: StreamInitAck, to: &Addressee<'_>) -> Message {
        match self {
            Form::Json => outbound::init_ack(&ack),
            Form::Protobuf => response(to, 0, Some(Answer::InitAck(ack))),
        }
    }

    /// How a session stands.
    pub(super) fn status(self, status: StreamStatus, sequence: u64, to: &Addressee<'_>) -> Message {
        match self {
            Form::Json => outbound::status(&status, sequence, to.session_id),
            Form::Protobuf => response(to, sequence, Some(Answer::Status(status))),
        }
    }

    /// Why a message as a whole is refused, or what has failed.
    pub(super) fn failed(self, failure: &Failure, to: &Addressee<'_>) -> Message {
        match self {
            Form::Json => outbound::failed(failure, to.session_id, None),
            Form::Protobuf => self.status(convert::failed(failure), 0, to),
        }
    }

    /// The server lives: in the protocol's own messages, one without a result.
    pub(super) fn heartbeat(self, to: &Addressee<'_>) -> Message {
        match self {
            Form::Json => outbound::heartbeat(to),
            Form::Protobuf => response(to, 0, None),
        }
    }
}

fn response(to: &Addressee<'_>, sequence_number: u64, result: Option<Answer>) -> Message {
    let response = ObservationResponse {
        session_id: to.session_id.unwrap_or_default().to_owned(),
        sequence_number,
        server_timestamp: Some(convert::timestamp(to.now)),
        result,
    };
    Message::binary(response.encode_to_vec())
}
