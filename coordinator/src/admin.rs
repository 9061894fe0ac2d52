//! The admin listener: gRPC health and reflection for the operators of this machine, on a loopback address and only if one is configured.
//!
//! There is no TLS and no certificate here: whoever reaches the port is answered. So it offers what is no secret, the descriptions of the
//! services and whether they are served, and none of the services themselves; [`crate::config`] refuses an address that another machine
//! could reach. The loop is tonic's own, which [`crate::serve`] avoids, because no stranger can reach it.

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Error, Server};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::Builder;
use veilsum_common::limits;
use veilsum_proto::pb;

/// Answers on `listener` until `shutdown` is ready; calls in flight are the caller's to cut off.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: HealthServer<impl Health>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    Server::builder()
        .max_concurrent_streams(limits::MAX_STREAMS)
        .http2_keepalive_interval(Some(Duration::from_millis(limits::KEEPALIVE_MS)))
        .add_routes(routes(health))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown)
        .await
}

/// Health, and reflection in both versions that tools speak.
fn routes(health: HealthServer<impl Health>) -> Routes {
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let built = "the descriptors are ours and committed, and a test asks for each of them";
    Routes::new(health)
        .add_service(reflection().build_v1().expect(built))
        .add_service(reflection().build_v1alpha().expect(built))
}

#[cfg(test)]
mod tests;
