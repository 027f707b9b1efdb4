//! The only folder that knows the wire's types and the engine's both.
//!
//! | file | responsibility |
//! |---|---|
//! | `memories` | what is observed and recalled |
//! | `requests` | what a client asks for |
//! | `answers` | what it is told |

mod memories;
mod requests;
mod answers;

pub(crate) use answers::{
    SESSION_PAUSED, closed, flow_status, init_ack, load_status, recall_closing, recall_failed,
    recall_page, recalled, say_event, status, stored,
};
pub(crate) use memories::{confidence, metadata, observation, timestamp};
pub(crate) use requests::{
    drain, empty_operation, flow_action, forget_mode, forget_target, init, not_served, pace,
    recall, remembered, room, unary_query, unknown_flow_action,
};
