//! A machine with its journal, and the crashes of the process that drives it.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;

use veilsum_common::time::Timestamp;

use super::drain;
use crate::machine::Machine;
use crate::rejection::Rejection;

/// Which processes crash, and when; appends are counted over the whole federation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crash {
    #[default]
    Never,
    /// Nothing of this append is durable.
    Before(usize),
    /// The append is durable and has had no effect yet.
    After(usize),
    /// As `Before`, at every append there is.
    BeforeEach,
    /// As `After`, at every append there is.
    AfterEach,
}

/// What becomes of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    Never,
    DurableOnly,
}

/// Counts the appends of all processes and decides which of them crash.
#[derive(Clone, Default)]
pub struct Appends(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    crash: Crash,
    kinds: Vec<String>,
    stumbled: Option<usize>,
    hub_crashed: bool,
}

impl Appends {
    pub fn crashing(crash: Crash) -> Self {
        let state = State {
            crash,
            ..State::default()
        };
        Self(Rc::new(RefCell::new(state)))
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
        let first_try = state.stumbled != Some(number);
        let fate = match state.crash {
            Crash::Before(at) if at == number && first_try => Fate::Never,
            Crash::BeforeEach if first_try => Fate::Never,
            Crash::After(at) if at == number => Fate::DurableOnly,
            Crash::AfterEach => Fate::DurableOnly,
            _ => Fate::Done,
        };
        if fate == Fate::Never {
            state.stumbled = Some(number);
        } else {
            state.kinds.push(format!("{kind:?}"));
        }
        fate
    }

    /// Whether it has crashed and nobody has asked yet.
    pub fn hub_has_crashed(&self) -> bool {
        self.0.borrow().hub_crashed
    }

    /// Whether the coordinator's process crashed since this was asked last.
    pub fn hub_crashed(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().hub_crashed)
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
            self.appends.0.borrow_mut().hub_crashed = true;
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
