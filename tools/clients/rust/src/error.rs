//! Every way of failing that a caller can act on.

use std::fmt;
use std::time::Duration;

use engram_proto::google::rpc::{RetryInfo, Status as RichStatus};
use prost::Message as _;
use tonic::{Code, Status};

/// What went wrong, and so what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call is not as it must be: mend it.
    InvalidRequest,
    /// The server refuses this observation for what it holds: mend [`Error::field`], or leave it out. Those behind it
    /// went on.
    InvalidObservation,
    /// A message is longer than the server reads: send less at once.
    MessageTooLarge,
    /// There is no such space: observe something first, or correct the name.
    NotFound,
    /// The session is unknown or has expired: open a new one.
    SessionNotFound,
    /// Another connection resumed this session: leave it to that one.
    SessionTakenOver,
    /// The session was closed or left here: resume it by its id.
    SessionClosed,
    /// The server takes no more now: come back after [`Error::retry_after`].
    Overloaded,
    /// The server cannot be reached, or nothing came of it for as long as the client was to try: resume the session
    /// later, by its id. What was not acked may or may not be durable; the resumed session tells.
    Unavailable,
    /// The contract has this, the server does not serve it: do without.
    NotServed,
    /// The server failed in a way that no caller can mend: look into its log.
    Server,
    /// The server answered what cannot be: nothing is known of what was not acked.
    Protocol,
}

/// A failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    code: Option<Code>,
    retry_after: Option<Duration>,
    field: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), code: None, retry_after: None, field: None }
    }

    /// The refusal of an observation; the server names the field at the end: `… (field: NAME)`.
    pub(crate) fn invalid_observation(told: &str) -> Error {
        let named = told.strip_suffix(')').and_then(|told| told.rsplit_once(" (field: "));
        let (message, field) = named.map_or((told, None), |(text, field)| (text, Some(field)));
        Error {
            code: Some(Code::InvalidArgument),
            field: field.map(str::to_owned),
            ..Error::new(ErrorKind::InvalidObservation, message)
        }
    }

    /// The end of a call.
    pub(crate) fn of_status(status: &Status) -> Error {
        let retry_after = retry_after(status);
        let kind = match status.code() {
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::FailedPrecondition
            | Code::AlreadyExists => ErrorKind::InvalidRequest,
            Code::NotFound if status.message().starts_with("Session error") => {
                ErrorKind::SessionNotFound
            }
            Code::NotFound => ErrorKind::NotFound,
            Code::Aborted => ErrorKind::SessionTakenOver,
            // An overload names its time; without one, it is the length of a message, which no waiting mends.
            Code::ResourceExhausted if retry_after.is_none() => ErrorKind::MessageTooLarge,
            Code::ResourceExhausted => ErrorKind::Overloaded,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorKind::Unavailable,
            Code::Unimplemented => ErrorKind::NotServed,
            _ => ErrorKind::Server,
        };
        let code = Some(status.code());
        Error { code, retry_after, ..Error::new(kind, status.message()) }
    }

    /// What it says about what to do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the server said, or what the client found.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// gRPC's code, where the server was asked.
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// How long to wait before the same is tried again, where the server named it.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The field of an observation that is at fault, by its name on the wire.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// Whether the same may succeed over another connection.
    pub(crate) fn passes(&self) -> bool {
        match self.code {
            // What breaks a connection has one of these, beside what a server says that ends in order.
            Some(code) => matches!(
                code,
                Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
                    | Code::Internal
                    | Code::Unknown
            ),
            None => matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Overloaded),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} (field: {field})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}

/// The delay of the RetryInfo in the rich status, where there is one.
fn retry_after(status: &Status) -> Option<Duration> {
    let rich = RichStatus::decode(status.details()).ok()?;
    let named = |detail: &&prost_types::Any| detail.type_url.ends_with("/google.rpc.RetryInfo");
    let detail = rich.details.iter().find(named)?;
    let retry = RetryInfo::decode(detail.value.as_slice()).ok()?;
    Duration::try_from(retry.retry_delay?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_observation_names_its_field() {
        let error = Error::invalid_observation("Embedding must be finite (field: embedding)");
        assert_eq!(
            (error.message(), error.field()),
            ("Embedding must be finite", Some("embedding"))
        );
        assert_eq!(error.to_string(), "Embedding must be finite (field: embedding)");
        assert_eq!(Error::invalid_observation("odd)").field(), None);
    }

    #[test]
    fn an_overload_has_a_time_and_a_long_message_has_none() {
        let retry = RetryInfo {
            retry_delay: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
        };
        let detail = prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: retry.encode_to_vec(),
        };
        let rich = RichStatus { code: 8, message: "full".to_owned(), details: vec![detail] };
        let details = rich.encode_to_vec().into();
        let error =
            Error::of_status(&Status::with_details(Code::ResourceExhausted, "full", details));
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(1_500)));
        let error = Error::of_status(&Status::resource_exhausted("4 MiB"));
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::MessageTooLarge, None));
    }

    #[test]
    fn what_breaks_a_connection_passes() {
        let passes = |code| Error::of_status(&Status::new(code, "")).passes();
        assert!(passes(Code::Unavailable) && passes(Code::Unknown) && passes(Code::Internal));
        assert!(!passes(Code::NotFound) && !passes(Code::Aborted));
    }
}
