//! The admin listener of a real coordinator: there when it is configured, and only what it should be.

use std::fs;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use veilsum_tests::{Federation, Process, free_port, patiently};

#[tokio::test]
async fn operators_of_the_machine_can_ask_whether_the_coordinator_serves() {
    let mut federation = Federation::new(0, 1, |_, _| Vec::new());
    drop(federation.coordinator.take());
    let (dir, port) = (federation.dir("main"), free_port());
    let path = dir.join("coordinator.toml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace(
        "data_dir",
        &format!("admin = \"127.0.0.1:{port}\"\ndata_dir"),
    );
    fs::write(&path, text).unwrap();
    let daemon = Process::start("veilsum-coordinator", &dir, "coordinator.toml");
    federation.coordinator = Some(daemon);

    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let request = || HealthCheckRequest {
        service: "veilsum.v1.RoundService".to_owned(),
    };
    let status = patiently("the admin listener does not answer", async {
        loop {
            let mut client = HealthClient::new(endpoint.connect_lazy());
            match client.check(request()).await {
                Ok(answer) => return answer.into_inner().status(),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    });
    assert_eq!(status.await, ServingStatus::Serving);
}
