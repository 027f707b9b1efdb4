//! Server reflection. Version `v1alpha` has the same messages under another name, so one service serves both.

use std::future::poll_fn;

use bytes::Bytes;
use engram_proto::grpc::reflection::v1::server_reflection_request::MessageRequest;
use engram_proto::grpc::reflection::v1::server_reflection_response::MessageResponse;
use engram_proto::grpc::reflection::v1::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

use super::method::SERVICES;
use super::{Call, decode, flush};
use crate::failure::{Code, Failure};

/// Answers each question in turn.
pub(super) async fn serve(call: &mut Call) -> Result<(), Failure> {
    let files = Files::of(engram_proto::DESCRIPTOR_SET);
    while let Some(bytes) = poll_fn(|cx| call.requests.poll_message(cx)).await? {
        let request: ServerReflectionRequest = decode(bytes)?;
        let response = ServerReflectionResponse {
            valid_host: request.host.clone(),
            message_response: Some(files.answer(request.message_request.as_ref())),
            original_request: Some(request),
        };
        call.respond(&response).await?;
        flush(&mut call.responses).await?;
    }
    Ok(())
}

/// The contract's files.
#[derive(Debug)]
struct Files(Vec<FileDescriptorProto>);

impl Files {
    fn of(descriptor_set: &[u8]) -> Files {
        let set = FileDescriptorSet::decode(descriptor_set)
            .expect("the descriptors are generated with the types");
        Files(set.file)
    }

    fn answer(&self, request: Option<&MessageRequest>) -> MessageResponse {
        let file = match request {
            Some(MessageRequest::ListServices(_)) => return list(),
            Some(MessageRequest::FileByFilename(name)) => {
                self.0.iter().find(|file| file.name() == name)
            }
            Some(MessageRequest::FileContainingSymbol(symbol)) => {
                self.0.iter().find(|file| declares(file, symbol))
            }
            Some(
                MessageRequest::FileContainingExtension(_)
                | MessageRequest::AllExtensionNumbersOfType(_),
            ) => None,
            None => return error(Code::InvalidArgument, "the question is empty"),
        };
        match file {
            Some(file) => MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
                file_descriptor_proto: self.with_imports(file),
            }),
            None => error(Code::NotFound, "no such file or symbol"),
        }
    }

    /// The file and all that it needs, each once: a client that has no file at all can build on the answer.
    fn with_imports(&self, file: &FileDescriptorProto) -> Vec<Bytes> {
        let mut names = vec![file.name()];
        let mut next = 0;
        let mut encoded = Vec::new();
        while next < names.len() {
            if let Some(file) = self.0.iter().find(|file| file.name() == names[next]) {
                encoded.push(file.encode_to_vec().into());
                let new =
                    file.dependency.iter().map(String::as_str).filter(|name| !names.contains(name));
                let new: Vec<&str> = new.collect();
                names.extend(new);
            }
            next += 1;
        }
        encoded
    }
}

fn list() -> MessageResponse {
    let service = SERVICES.map(|name| ServiceResponse { name: name.to_owned() }).into();
    MessageResponse::ListServicesResponse(ListServiceResponse { service })
}

fn error(code: Code, message: &str) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse {
        error_code: code as i32,
        error_message: message.to_owned(),
    })
}

/// Whether the file declares the message, field, enum, service or method of this full name.
fn declares(file: &FileDescriptorProto, symbol: &str) -> bool {
    let Some(local) = symbol.strip_prefix(file.package()).and_then(|rest| rest.strip_prefix('.'))
    else {
        return false;
    };
    let in_service = file.service.iter().any(|service| match strip(local, service.name()) {
        Some("") => true,
        Some(method) => service.method.iter().any(|candidate| candidate.name() == method),
        None => false,
    });
    in_service
        || file.enum_type.iter().any(|candidate| candidate.name() == local)
        || file.message_type.iter().any(|message| message_declares(message, local))
}

fn message_declares(message: &DescriptorProto, local: &str) -> bool {
    let Some(inner) = strip(local, message.name()) else {
        return false;
    };
    inner.is_empty()
        || message.field.iter().any(|field| field.name() == inner)
        || message.enum_type.iter().any(|candidate| candidate.name() == inner)
        || message.nested_type.iter().any(|nested| message_declares(nested, inner))
}

/// What follows `name` and a dot in `path`; empty where nothing does.
fn strip<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    match path.strip_prefix(name)? {
        "" => Some(""),
        rest => rest.strip_prefix('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(request: MessageRequest) -> Vec<String> {
        match Files::of(engram_proto::DESCRIPTOR_SET).answer(Some(&request)) {
            MessageResponse::FileDescriptorResponse(response) => response
                .file_descriptor_proto
                .iter()
                .map(|bytes| {
                    FileDescriptorProto::decode(&bytes[..]).expect("a file").name().to_owned()
                })
                .collect(),
            MessageResponse::ListServicesResponse(response) => {
                response.service.into_iter().map(|service| service.name).collect()
            }
            MessageResponse::ErrorResponse(error) => vec![format!("error {}", error.error_code)],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_service_that_is_listed_can_be_described() {
        let services = names(MessageRequest::ListServices(String::new()));
        assert_eq!(services, SERVICES);
        for service in services {
            let files = names(MessageRequest::FileContainingSymbol(service.clone()));
            assert!(files[0].ends_with(".proto"), "{service}: {files:?}");
        }
    }

    #[test]
    fn symbols_are_found_with_what_their_files_import() {
        for symbol in [
            "engram.v1.EngramService.ObserveStream",
            "engram.v1.ObservationAck.Status",
            "engram.v1.Episode.what",
        ] {
            let files = names(MessageRequest::FileContainingSymbol(symbol.to_owned()));
            assert!(files[0].starts_with("engram/v1/"), "{symbol}: {files:?}");
            assert!(
                files.contains(&"google/protobuf/timestamp.proto".to_owned()),
                "{symbol}: {files:?}"
            );
        }
        for absent in ["engram.v1.Nothing", "engram.v1.EngramService.Nothing", "engram.v1.Epi", ""]
        {
            assert_eq!(
                names(MessageRequest::FileContainingSymbol(absent.to_owned())),
                ["error 5"],
                "{absent}"
            );
        }
    }
}
