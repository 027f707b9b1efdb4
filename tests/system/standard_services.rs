//! The standard services that every gRPC tool expects, and an honest answer where a call is not served.

use std::collections::BTreeSet;

use engram_proto::engram::v1::{CompleteRequest, CompleteResponse};
use engram_proto::grpc::health::v1::health_check_response::ServingStatus;
use engram_proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use engram_proto::grpc::reflection::{v1, v1alpha};
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;
use tonic::{Code, Streaming};

use crate::harness::{Client, Server, owed};

const HEALTH: &str = "/grpc.health.v1.Health/";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_for_the_server_and_its_service() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    for service in ["", "engram.v1.EngramService"] {
        let answer: HealthCheckResponse =
            client.call_of(HEALTH, "Check", of(service)).await.expect("health is always told");
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown: Result<HealthCheckResponse, _> =
        client.call_of(HEALTH, "Check", of("no.such.Service")).await;
    assert_eq!(unknown.expect_err("no such service").code(), Code::NotFound);

    let mut watch: Streaming<HealthCheckResponse> =
        client.server_stream(HEALTH, "Watch", of("")).await.expect("health can be watched");
    let first = owed("first health", watch.message())
        .await
        .expect("the watch lives")
        .expect("and tells at once");
    assert_eq!(first.status(), ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_describes_all_that_is_served() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let (ask, questions) = mpsc::channel(8);
    let put = |question| v1::ServerReflectionRequest {
        message_request: Some(question),
        ..Default::default()
    };
    ask.send(put(MessageRequest::ListServices(String::new()))).await.expect("room for eight");
    let mut answers: Streaming<v1::ServerReflectionResponse> = client
        .both_streams("/grpc.reflection.v1.ServerReflection/", "ServerReflectionInfo", questions)
        .await
        .expect("reflection is served");

    let Some(MessageResponse::ListServicesResponse(list)) =
        next(&mut answers).await.message_response
    else {
        panic!("no list of services")
    };
    let services: BTreeSet<&str> =
        list.service.iter().map(|service| service.name.as_str()).collect();
    for served in
        ["engram.v1.EngramService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    {
        assert!(services.contains(served), "{served} is not among {services:?}");
    }

    // All that a client needs to make a request comes with, or can be asked for by, file names.
    let mut wanted =
        vec![put(MessageRequest::FileContainingSymbol("engram.v1.EngramService".to_owned()))];
    let mut files: BTreeSet<String> = BTreeSet::new();
    let mut calls = BTreeSet::new();
    while let Some(question) = wanted.pop() {
        ask.send(question).await.expect("room for eight");
        let Some(MessageResponse::FileDescriptorResponse(found)) =
            next(&mut answers).await.message_response
        else {
            panic!("no descriptor")
        };
        for bytes in found.file_descriptor_proto {
            let file = FileDescriptorProto::decode(bytes.as_ref()).expect("descriptors decode");
            calls.extend(
                file.service
                    .iter()
                    .flat_map(|service| &service.method)
                    .map(|m| m.name().to_owned()),
            );
            files.insert(file.name().to_owned());
            let unknown = file.dependency.iter().filter(|import| !files.contains(*import));
            wanted
                .extend(unknown.map(|import| put(MessageRequest::FileByFilename(import.clone()))));
        }
    }
    assert!(files.contains("engram/v1/memory.proto"), "{files:?}");
    assert!(files.contains("google/protobuf/timestamp.proto"), "{files:?}");
    assert!(calls.contains("ObserveStream") && calls.contains("Dream"), "{calls:?}");

    ask.send(put(MessageRequest::FileContainingSymbol("no.such.Symbol".to_owned())))
        .await
        .expect("room");
    let Some(MessageResponse::ErrorResponse(error)) = next(&mut answers).await.message_response
    else {
        panic!("an unknown symbol was found")
    };
    assert_eq!(error.error_code, Code::NotFound as i32);
}

async fn next<A>(answers: &mut Streaming<A>) -> A {
    let answer = owed("answer of reflection", answers.message()).await;
    answer.expect("reflection lives on").expect("reflection answers each question")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_clients_find_reflection_under_its_old_name() {
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let (ask, questions) = mpsc::channel(1);
    let list = MessageRequest::ListServices(String::new());
    let question =
        v1alpha::ServerReflectionRequest { message_request: Some(list), ..Default::default() };
    ask.send(question).await.expect("room for one");
    let mut answers: Streaming<v1alpha::ServerReflectionResponse> = client
        .both_streams(
            "/grpc.reflection.v1alpha.ServerReflection/",
            "ServerReflectionInfo",
            questions,
        )
        .await
        .expect("reflection is served");
    let Some(MessageResponse::ListServicesResponse(list)) =
        next(&mut answers).await.message_response
    else {
        panic!("no list of services")
    };
    assert!(list.service.iter().any(|service| service.name == "engram.v1.EngramService"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_not_served_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let client = Client::connect(server.address).await;
    let answer: Result<CompleteResponse, _> = client.call("Complete", CompleteRequest {}).await;
    let status = answer.expect_err("Complete is not served");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("Complete"), "which call? {}", status.message());
    let answer: Result<CompleteResponse, _> = client.call("NoSuchCall", CompleteRequest {}).await;
    assert_eq!(answer.expect_err("there is no such call").code(), Code::Unimplemented);
}
