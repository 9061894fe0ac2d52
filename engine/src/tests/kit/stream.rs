//! A machine with its journal, and the crashes of the process that drives it.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

use veilsum_common::time::Timestamp;

use super::drain;
use crate::machine::Machine;
use crate::rejection::Rejection;

/// Where a process crashes, counted in appends of the whole federation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing of this append is durable.
    Before(usize),
    /// The append is durable and has had no effect yet.
    After(usize),
}

/// What becomes of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    Never,
    DurableOnly,
}

/// Counts the appends of all processes, and crashes one of them once.
#[derive(Clone, Default)]
pub struct Appends(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    kinds: Vec<String>,
    crash: Option<Crash>,
}

impl Appends {
    pub fn crashing(crash: Crash) -> Self {
        let crash = Some(crash);
        let kinds = Vec::new();
        Self(Rc::new(RefCell::new(State { kinds, crash })))
    }

    pub fn count(&self) -> usize {
        self.0.borrow().kinds.len()
    }

    /// What append `number` was.
    pub fn kind(&self, number: usize) -> String {
        self.0.borrow().kinds[number].clone()
    }

    pub fn append(&self, kind: &impl Debug) -> Fate {
        let mut state = self.0.borrow_mut();
        let number = state.kinds.len();
        let fate = match state.crash {
            Some(Crash::Before(at)) if at == number => Fate::Never,
            Some(Crash::After(at)) if at == number => Fate::DurableOnly,
            _ => Fate::Done,
        };
        if fate != Fate::Done {
            state.crash = None;
        }
        if fate != Fate::Never {
            state.kinds.push(format!("{kind:?}"));
        }
        fate
    }
}

/// One machine of the coordinator, driven as its driver drives it.
pub struct Stream<M: Machine> {
    pub machine: M,
    pub journal: Vec<(Timestamp, M::Event)>,
    /// Everything that was ever asked of the world.
    pub asked: Vec<String>,
    open: Box<dyn Fn() -> M>,
    appends: Appends,
}

impl<M> Stream<M>
where
    M: Machine,
    M::Event: Clone + Debug,
    M::Output: Debug,
{
    pub fn new(open: impl Fn() -> M + 'static, appends: &Appends) -> Self {
        Self {
            machine: open(),
            journal: Vec::new(),
            asked: Vec::new(),
            open: Box::new(open),
            appends: appends.clone(),
        }
    }

    /// admit → append → handle; the sender of an event that a crash swallowed sends it again.
    pub fn submit(&mut self, at: Timestamp, event: M::Event) -> Result<(), Rejection> {
        self.machine.admit(at, &event)?;
        match self.append(at, &event) {
            Fate::Done => self.machine.handle(at, event),
            Fate::DurableOnly => Ok(()),
            Fate::Never => self.submit(at, event),
        }
    }

    /// Journals everything that is due.
    pub fn decide(&mut self, at: Timestamp) {
        for _ in 0..100 {
            let Some(event) = self.machine.due(at) else {
                return;
            };
            if self.append(at, &event) == Fate::Done {
                self.machine.handle(at, event).unwrap();
            }
        }
        panic!("there is always one more decision due");
    }

    fn append(&mut self, at: Timestamp, event: &M::Event) -> Fate {
        let fate = self.appends.append(event);
        if fate != Fate::Never {
            self.journal.push((at, event.clone()));
        }
        if fate != Fate::Done {
            self.reboot();
        }
        fate
    }

    /// The process starts again and replays.
    pub fn reboot(&mut self) {
        self.machine = self.replayed();
        self.machine.resume();
    }

    /// The machine before its first entry.
    pub fn fresh(&self) -> M {
        (self.open)()
    }

    /// A fresh machine after every entry of the journal; outputs thrown away.
    pub fn replayed(&self) -> M {
        let mut machine = self.fresh();
        for (at, event) in &self.journal {
            machine.handle(*at, event.clone()).unwrap();
            drain(&mut machine);
        }
        machine
    }

    pub fn outputs(&mut self) -> Vec<M::Output> {
        let outputs = drain(&mut self.machine);
        self.asked
            .extend(outputs.iter().map(|output| format!("{output:?}")));
        outputs
    }
}
