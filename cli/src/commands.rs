//! One module a verb. Each takes what was typed and returns what to show; none prints its result or exits by itself, but for those that
//! show something while it happens.

pub(crate) mod ca;
pub(crate) mod consent;
pub(crate) mod coordinator;
pub(crate) mod csr;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod faults;
pub(crate) mod model;
pub(crate) mod participant;
pub(crate) mod run;
pub(crate) mod synthetic;
pub(crate) mod tensor;
pub(crate) mod trainer;
pub(crate) mod verify_fault;

use std::future::Future;

use crate::args::{Command, OperatorCommand};
use crate::error::Error;
use crate::render::{Form, Output};

/// Does what was typed.
pub(crate) fn dispatch(command: Command, form: Form) -> Result<Output, Error> {
    match command {
        Command::Demo(demo) => demo::run(demo, form),
        Command::Coordinator(coordinator) => coordinator::run(coordinator),
        Command::Participant(participant) => participant::run(participant),
        Command::Operator(OperatorCommand::Csr(csr)) => csr::operator(&csr),
        Command::Ca(ca) => ca::run(ca),
        Command::Run(run) => run::run(run, form),
        Command::Model(model) => model::run(model),
        Command::Tensor(tensor) => tensor::run(tensor, form),
        Command::VerifyFault(asked) => verify_fault::run(&asked),
        Command::Explain(asked) => explain::run(&asked),
        Command::Trainer(trainer) => trainer::run(&trainer),
    }
}

/// Runs `work` on this thread: a command waits for one thing at a time, and a child's death signal hangs on the thread that started it.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|source| Error::System {
            what: "start the runtime",
            source,
        })?
        .block_on(work)
}
