//! `grpc.health.v1`: whether the process serves.

use std::time::Duration;

use engram_proto::grpc::health::v1::health_check_response::ServingStatus;
use engram_proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use glommio::timer::Timer;

use super::method::SERVICES;
use super::{Call, flush};
use crate::core::{Core, Readiness};
use crate::failure::{Code, Failure};

/// How often a watch looks whether something changed.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// The status now; NOT_FOUND for a service that is not here.
pub(super) async fn check(call: &mut Call) -> Result<(), Failure> {
    let request: HealthCheckRequest = call.request().await?;
    if !is_known(&request.service) {
        return Err(Failure::new(Code::NotFound, format!("unknown service {}", request.service)));
    }
    let response = response(status(&call.core));
    call.respond(&response).await
}

/// The status now and whenever it changes.
pub(super) async fn watch(call: &mut Call) -> Result<(), Failure> {
    let request: HealthCheckRequest = call.request().await?;
    let known = is_known(&request.service);
    let mut told = None;
    loop {
        let status = if known { status(&call.core) } else { ServingStatus::ServiceUnknown };
        if told != Some(status) {
            told = Some(status);
            call.respond(&response(status)).await?;
            flush(&mut call.responses).await?;
        }
        if call.core.is_stopping() {
            return Err(Failure::new(Code::Unavailable, "the server stops"));
        }
        let pause = async {
            Timer::new(WATCH_INTERVAL).await;
            Ok(())
        };
        call.unless_gone(pause).await?;
    }
}

fn is_known(service: &str) -> bool {
    service.is_empty() || SERVICES.contains(&service)
}

fn status(core: &Core) -> ServingStatus {
    match core.readiness() {
        Readiness::Ready => ServingStatus::Serving,
        Readiness::Recovering | Readiness::Draining | Readiness::Failed => {
            ServingStatus::NotServing
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
