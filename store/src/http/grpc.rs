//! `opentelemetry.proto.collector.logs.v1.LogsService/Export`: exposures as OTLP over gRPC.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsService;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::App;
use super::problem::{LATER, SOON};
use crate::error::Error;
use crate::otlp;

#[derive(Debug)]
pub(super) struct Receiver {
    app: App,
}

impl Receiver {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let App { store, rate, .. } = &self.app;
        let records = otlp::records(request.get_ref(), &store.catalog());
        rate.take(records.len()).map_err(|seconds| {
            later(
                Code::ResourceExhausted,
                "more records per second than --max-rate allows",
                seconds,
            )
        })?;
        let taken = store.take(records).await.map_err(|error| status(&error))?;
        Ok(Response::new(super::logs::answer(taken)))
    }
}

fn status(error: &Error) -> Status {
    let text = error.to_string();
    match error {
        Error::Busy => later(Code::ResourceExhausted, &text, SOON),
        Error::Input(_) => Status::invalid_argument(text),
        error if error.is_temporary() => later(Code::Unavailable, &text, LATER),
        _ => Status::internal(text),
    }
}

/// Senders try again only if they are told when.
fn later(code: Code, text: &str, seconds: u32) -> Status {
    let delay = Duration::from_secs(seconds.into());
    Status::with_error_details(code, text, ErrorDetails::with_retry_info(Some(delay)))
}
