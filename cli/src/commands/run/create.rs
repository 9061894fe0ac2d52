//! `veilsum run create`: the run exists, durably, when this returns.

use serde_json::Value;

use super::{flags, show, study, wait};
use crate::args::{Awaited, RunCreate};
use crate::client::{Client, fresh_request_id};
use crate::error::Error;
use crate::render::{Output, note, warn};

pub(super) async fn run(create: RunCreate) -> Result<Output, Error> {
    let study::Submission { text, study, model } = study::read(&create.file, &create.config)?;
    for warning in study.warnings() {
        warn(&warning.to_string());
    }
    let client = Client::open(&create.connection)?;
    note(&format!("study digest  {}", study.digest()));
    let request_id = create.request_id.unwrap_or_else(fresh_request_id);
    let run = client.create(text, model, request_id.clone()).await?;
    if create.wait {
        note(&format!("run {} created", run.run_id));
        let id = show::id(&run)?;
        return wait::until(&client, id, Awaited::Completed, None, &create.connection).await;
    }
    let mut data = show::data(&run);
    if let Value::Object(data) = &mut data {
        data.insert("study_digest".to_owned(), study.digest().to_string().into());
        data.insert("request_id".to_owned(), request_id.into());
    }
    let flags = flags(&create.connection);
    Ok(Output {
        data,
        text: run.run_id.clone(),
        next: vec![format!("veilsum run wait {}{flags}", run.run_id)],
    })
}
