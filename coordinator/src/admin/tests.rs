use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_proto::pb::WaitRunRequest;
use veilsum_proto::pb::run_service_client::RunServiceClient;

use super::*;

const SERVICES: [&str; 2] = ["veilsum.v1.RoundService", "veilsum.v1.RunService"];

async fn listening() -> (SocketAddr, Channel) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in SERVICES {
        let serving = tonic_health::ServingStatus::Serving;
        reporter.set_service_status(service, serving).await;
    }
    let never = Shutdown::new();
    tokio::spawn(
        async move { serve(listener, health, async move { never.triggered().await }).await },
    );
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    (address, endpoint.connect().await.unwrap())
}

async fn ask(channel: Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::once(request));
    let answer = answers.await.unwrap().into_inner().next().await;
    answer.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn a_tool_is_told_of_every_service() {
    let (_, channel) = listening().await;
    let answer = ask(channel, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(list) = answer else {
        panic!("not a list of services")
    };
    let names: Vec<&str> = list.service.iter().map(|one| one.name.as_str()).collect();
    for name in SERVICES.iter().chain(&["grpc.health.v1.Health"]) {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
}

#[tokio::test]
async fn a_tool_is_told_what_a_message_is_made_of() {
    let (_, channel) = listening().await;
    let symbol = "veilsum.v1.RoundService".to_owned();
    let answer = ask(channel, MessageRequest::FileContainingSymbol(symbol)).await;
    let MessageResponse::FileDescriptorResponse(files) = answer else {
        panic!("not a file")
    };
    assert_eq!(files.file_descriptor_proto.len(), 1);
}

#[tokio::test]
async fn health_is_what_the_coordinator_reports() {
    let (_, channel) = listening().await;
    let request = HealthCheckRequest {
        service: SERVICES[0].to_owned(),
    };
    let answer = HealthClient::new(channel).check(request).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn the_services_themselves_are_not_there() {
    let (_, channel) = listening().await;
    let refused = RunServiceClient::new(channel)
        .wait_run(WaitRunRequest::default())
        .await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unimplemented);
}
