//! `veilsum explain`: what an error's code word means and what to do about it; all of them without one.

use serde_json::{Value, json};

use crate::args::Explain;
use crate::error::Error;
use crate::exit::known::{self, Known};
use crate::render::Output;

pub(crate) fn run(asked: &Explain) -> Result<Output, Error> {
    let Some(code) = &asked.code else {
        let all: Vec<_> = known::all().map(data).collect();
        return Ok(output(json!({ "errors": all }), known::page()));
    };
    let wanted = code.to_uppercase();
    let known = known::all()
        .find(|known| known.code == wanted)
        .ok_or(Error::NoSuchCode { code: code.clone() })?;
    Ok(output(data(known), known.to_string()))
}

fn output(data: Value, text: String) -> Output {
    Output {
        data,
        text,
        next: Vec::new(),
    }
}

fn data(known: &Known) -> Value {
    json!({
        "code": known.code,
        "exit": known.exit.code(),
        "cause": known.cause,
        "remedy": known.remedy,
    })
}
