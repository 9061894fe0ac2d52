//! `veilsum demo`: the main job on one machine, with real processes, real mutual TLS and real masks, in one command.
//!
//! The path: [`plan`] checks what was asked → [`directory`] makes room → [`federation`] makes keys, certificates and configurations, with
//! the code of `ca` and `csr` → [`processes`] starts this very executable as coordinator and participants → [`drive`] submits the run and
//! follows it, and [`mod@drop`] kills sites if asked to → [`report`] shows what came out and what it cost. The daemons know nothing of a demo:
//! no flag or key of theirs makes masks predictable or leaves one out. [`plain`] is the comparison without masks, and starts no daemon;
//! [`mod@size`] the same without learning, for a model of any size.

mod directory;
mod drive;
mod drop;
mod error;
mod federation;
mod figures;
mod plain;
mod plan;
mod processes;
mod progress;
mod report;
mod size;

use veilsum_trainers::{Model, Reference};

pub(crate) use error::DemoError;

use crate::args;
use crate::commands::block_on;
use crate::error::Error;
use crate::render::{Form, Output, warn};
use directory::Directory;
use plan::Plan;
use progress::Show;
use report::{Report, Scores};

/// Does what `veilsum demo` was asked for.
pub(crate) fn run(demo: args::Demo, form: Form) -> Result<Output, Error> {
    if let Some(params) = demo.params {
        return size(params, &demo, form);
    }
    let plan = Plan::new(&demo)?;
    for warning in plan.warnings() {
        warn(&warning);
    }
    let directory = Directory::prepare(&demo.out)?;
    let show = shown(&demo, form);
    let trained = if demo.plain {
        plain::train(&plan, show).map_err(Error::from)
    } else {
        block_on(drive::train(&plan, &directory, show))
    };
    let model_file = format!("{}.safetensors", plan.recipe.name);
    if !demo.keep {
        directory.tidy(&model_file)?;
    }
    let trained = trained?;
    let model = directory.write(&model_file, &trained.model)?;
    let scores = score(&plan, &trained.model)?;
    Ok(Report {
        plan: &plan,
        trained: &trained,
        scores: &scores,
        model: &model,
        directory: directory.path(),
    }
    .output())
}

/// `veilsum demo --params`.
fn size(params: u64, demo: &args::Demo, form: Form) -> Result<Output, Error> {
    let directory = Directory::prepare(&demo.out)?;
    let done = block_on(size::run(params, demo, &directory, shown(demo, form)));
    if !demo.keep {
        directory.tidy(size::MODEL)?;
    }
    done
}

fn shown(demo: &args::Demo, form: Form) -> Show {
    Show {
        verbose: demo.verbose,
        bar: form == Form::Text && !demo.verbose,
    }
}

/// What the models can do on the rows that nobody trained with.
fn score(plan: &Plan, model: &[u8]) -> Result<Scores, DemoError> {
    let Plan {
        recipe,
        partition,
        rounds,
        seed,
        ..
    } = plan;
    let reference = Reference {
        recipe,
        partition,
        rounds: *rounds,
        seed: *seed,
    };
    let alone = (0..partition.site_count()).map(|site| reference.alone(site));
    Ok(Scores {
        federated: Model::from_safetensors(model)?
            .score(&partition.test())?
            .accuracy,
        alone: alone.collect::<Result<_, _>>()?,
        pooled: reference.pooled()?,
    })
}
