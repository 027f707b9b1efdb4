//! Why a call or a message is refused: one type for every transport.

use std::time::Duration;

use engram_shards::limits::RECALL_BYTES_MAX;
use engram_shards::message::{Pressure, Refusal};

use crate::limits::{CONNECTIONS_RETRY, LOANS_RETRY, UNAVAILABLE_RETRY};

/// gRPC's status codes; HTTP and WebSocket show the same in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Success.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// Nothing better is known.
    Unknown = 2,
    /// The request is wrong whatever the state.
    InvalidArgument = 3,
    /// Too late.
    DeadlineExceeded = 4,
    /// No such space, session, …
    NotFound = 5,
    /// It exists with other settings.
    AlreadyExists = 6,
    /// Not allowed.
    PermissionDenied = 7,
    /// Overload, a full disk, a message that is too long.
    ResourceExhausted = 8,
    /// The request does not fit the state.
    FailedPrecondition = 9,
    /// Another connection took over.
    Aborted = 10,
    /// Older than what is kept.
    OutOfRange = 11,
    /// Not served.
    Unimplemented = 12,
    /// A fault of ours.
    Internal = 13,
    /// A shard failed, or the server is starting or stopping; resume.
    Unavailable = 14,
    /// What was stored is damaged.
    DataLoss = 15,
    /// Who are you?
    Unauthenticated = 16,
}

impl Code {
    /// The code in snake case, as JSON has it.
    pub fn label(self) -> &'static str {
        match self {
            Code::Ok => "ok",
            Code::Cancelled => "cancelled",
            Code::Unknown => "unknown",
            Code::InvalidArgument => "invalid_argument",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::PermissionDenied => "permission_denied",
            Code::ResourceExhausted => "resource_exhausted",
            Code::FailedPrecondition => "failed_precondition",
            Code::Aborted => "aborted",
            Code::OutOfRange => "out_of_range",
            Code::Unimplemented => "unimplemented",
            Code::Internal => "internal",
            Code::Unavailable => "unavailable",
            Code::DataLoss => "data_loss",
            Code::Unauthenticated => "unauthenticated",
        }
    }
}

/// A refusal: code, text (the words of the wire contract), and when to come back where that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: Code,
    /// What a person reads; clients match on its words.
    pub message: String,
    /// After how long the same request may succeed.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A refusal without a time to come back.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), retry_after: None }
    }

    /// A shard does not answer.
    pub fn unavailable() -> Failure {
        Failure::new(
            Code::Unavailable,
            "the shard is starting, stopping or has failed; try again or resume",
        )
        .retry_after(UNAVAILABLE_RETRY)
    }

    /// As many connections are open as may be.
    pub fn too_many_connections() -> Failure {
        Failure::new(Code::Unavailable, "As many connections are open as this server takes")
            .retry_after(CONNECTIONS_RETRY)
    }

    /// The core that would serve it has lent all its memory.
    pub fn out_of_memory() -> Failure {
        Failure::new(
            Code::ResourceExhausted,
            "The memory that the server has for requests is used up",
        )
        .retry_after(LOANS_RETRY)
    }

    /// An owner has no credit left to give.
    pub fn over_capacity(pressure: Pressure) -> Failure {
        let Pressure { depth, capacity, retry_after_micros, .. } = pressure;
        let message = format!("Queue error: Queue over capacity: {depth} of {capacity}");
        Failure::new(Code::ResourceExhausted, message)
            .retry_after(Duration::from_micros(retry_after_micros))
    }

    /// After how many milliseconds the same request may succeed; 0 where nothing is known of that.
    pub fn retry_after_ms(&self) -> u32 {
        let after_ms = self.retry_after.map_or(0, |after| after.as_millis());
        u32::try_from(after_ms).unwrap_or(u32::MAX)
    }

    /// The same refusal, with the time after which the request may succeed.
    pub fn retry_after(self, after: Duration) -> Failure {
        Failure { retry_after: Some(after), ..self }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::UnknownSpace => Failure::new(Code::NotFound, "Memory space not found"),
            Refusal::UnknownSession => {
                Failure::new(Code::NotFound, "Session error: Session not found")
            }
            Refusal::SpaceDiffers(_) => {
                Failure::new(Code::AlreadyExists, "The memory space exists with other settings")
            }
            Refusal::KeyTaken => Failure::new(
                Code::AlreadyExists,
                "Invalid memory_space_id: choose another name, this one collides",
            ),
            Refusal::WrongSpace => Failure::new(
                Code::InvalidArgument,
                "Invalid memory_space_id: the session is of another space",
            ),
            Refusal::Fenced => {
                Failure::new(Code::Aborted, "Session taken over by another connection")
            }
            Refusal::WrongDimension { expected } => Failure::new(
                Code::InvalidArgument,
                format!("Embedding must be exactly {expected} dimensions"),
            ),
            Refusal::DiskFull => {
                Failure::new(Code::ResourceExhausted, "The disk is full; resume once it has room")
                    .retry_after(DISK_FULL_RETRY)
            }
            Refusal::TooManyRecalls => {
                Failure::new(Code::ResourceExhausted, "Too many recalls wait on this shard")
                    .retry_after(RECALLS_RETRY)
            }
            Refusal::RecallTooLarge => Failure::new(
                Code::ResourceExhausted,
                format!("The results take more than {RECALL_BYTES_MAX} bytes: ask for fewer"),
            ),
            Refusal::TooManyForgets => Failure::new(
                Code::ResourceExhausted,
                "Too many memories are being forgotten on this shard",
            )
            .retry_after(RECALLS_RETRY),
            Refusal::TooManySessions => {
                Failure::new(Code::ResourceExhausted, "Too many sessions are open on this shard")
            }
            Refusal::TooManySubscribers => {
                Failure::new(Code::ResourceExhausted, "Too many subscribers of this memory space")
            }
            Refusal::TooLongAgo { oldest } => {
                let (seconds, micros) = (oldest.0 / 1_000_000, oldest.0 % 1_000_000);
                let message = format!(
                    "snapshot_time is too long ago: the oldest is {seconds}.{micros:06} s after 1970"
                );
                Failure::new(Code::OutOfRange, message)
            }
            Refusal::Unavailable => Failure::unavailable(),
        }
    }
}

/// A full disk is mended by people, not by the next millisecond.
const DISK_FULL_RETRY: Duration = Duration::from_secs(10);

/// Waiting recalls, and memories that are being forgotten, take milliseconds.
const RECALLS_RETRY: Duration = Duration::from_millis(50);
