//! The only folder that knows the wire's types and the engine's both.
//!
//! | file | responsibility |
//! |---|---|
//! | `memories` | what is observed and recalled |
//! | `requests` | what a client asks for |
//! | `happenings` | events of a space |
//! | `answers` | what it is told |

mod memories;
mod requests;
mod happenings;
mod answers;

pub(crate) use answers::{
    SESSION_PAUSED, Told, closed, failed, flow_status, init_ack, load_status, recall_closing,
    recall_failed, recall_page, recalled, say_event, status, stored, subscribed,
};
pub(crate) use happenings::{events_missed, happened, wanted};
pub(crate) use memories::{confidence, metadata, observation, timestamp};
pub(crate) use requests::{
    drain, empty_operation, flow_action, forget_mode, forget_target, init, not_served, pace,
    recall, remembered, room, time_of, unary_query, unknown_flow_action,
};
