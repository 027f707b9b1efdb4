//! How a call ends: `grpc-status`, `grpc-message` and, where it helps, `grpc-status-details-bin`.

use std::fmt::Write;

use base64_simd::STANDARD_NO_PAD;
use engram_proto::google::rpc::{RetryInfo, Status};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use prost_types::Any;

use crate::failure::{Code, Failure};

/// The trailers of a call that ended so.
pub(super) fn trailers(outcome: &Result<(), Failure>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    match outcome {
        Ok(()) => {
            trailers.insert("grpc-status", HeaderValue::from(Code::Ok as u16));
        }
        Err(failure) => {
            trailers.insert("grpc-status", HeaderValue::from(failure.code as u16));
            trailers.insert("grpc-message", ascii(percent_encode(&failure.message)));
            if let Some(details) = details(failure) {
                trailers.insert("grpc-status-details-bin", ascii(details));
            }
        }
    }
    trailers
}

/// The whole status as base64, where it says more than code and message.
fn details(failure: &Failure) -> Option<String> {
    let after = failure.retry_after?;
    let retry_delay = prost_types::Duration {
        seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        nanos: after.subsec_nanos() as i32,
    };
    let retry = RetryInfo { retry_delay: Some(retry_delay) };
    let any = Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: retry.encode_to_vec(),
    };
    let status =
        Status { code: failure.code as i32, message: failure.message.clone(), details: vec![any] };
    Some(STANDARD_NO_PAD.encode_to_string(status.encode_to_vec()))
}

/// Everything but printable ASCII, and `%` itself, as `%XX` of its UTF-8 bytes.
fn percent_encode(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes all"),
        }
    }
    encoded
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("only printable ASCII is left")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        let failure = Failure::new(Code::NotFound, "50 % größer\n");
        let trailers = trailers(&Err(failure));
        assert_eq!(trailers["grpc-status"], "5");
        assert_eq!(trailers["grpc-message"], "50 %25 gr%C3%B6%C3%9Fer%0A");
        assert!(!trailers.contains_key("grpc-status-details-bin"));
    }

    #[test]
    fn a_time_to_come_back_stands_in_the_details() {
        let failure =
            Failure::new(Code::ResourceExhausted, "full").retry_after(Duration::from_millis(1_500));
        let trailers = trailers(&Err(failure));
        let bytes = STANDARD_NO_PAD
            .decode_to_vec(trailers["grpc-status-details-bin"].as_bytes())
            .expect("base64");
        let status = Status::decode(&bytes[..]).expect("a status");
        assert_eq!((status.code, status.message.as_str()), (8, "full"));
        let retry = RetryInfo::decode(&status.details[0].value[..]).expect("a RetryInfo");
        let delay = retry.retry_delay.expect("set");
        assert_eq!((delay.seconds, delay.nanos), (1, 500_000_000));
    }
}
