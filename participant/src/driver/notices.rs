//! What the coordinator says, taken in order: each notice becomes an event, a proposal under judgement, or nothing.

use veilsum_common::limits::MAX_HELD_NOTICES;
use veilsum_daemon::clock;
use veilsum_engine::participant::{self, Event, Step};
use veilsum_engine::rejection::Rejection;
use veilsum_proto::convert::notice::{self, Received};
use veilsum_proto::convert::round::Finished;
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::message::Advertisement;

use super::{Driver, RunError, Task};
use crate::leftovers;

impl Driver {
    pub(super) async fn hear(&mut self, news: pb::PollResponse) -> Result<(), RunError> {
        self.held.extend(news.notices);
        self.listen().await
    }

    /// Takes in what was said, in its order, up to what depends on a roster that is still being fetched; nothing follows the end of a run.
    async fn listen(&mut self) -> Result<(), RunError> {
        while !self.over && !self.waits() {
            let Some(told) = self.held.pop_front() else {
                return Ok(());
            };
            if told.run_id != self.run.as_bytes() {
                tracing::error!(run = %self.run, "a notice about another run than the one asked for is ignored");
                continue;
            }
            let members = self.machine.roster().map_or(0, |roster| roster.len());
            match notice::received(told.clone(), members) {
                Ok(received) => self.notice(received).await?,
                Err(_) if self.witness_of_another_size(&told) => {}
                Err(error) => {
                    tracing::error!(run = %self.run, %error, "a notice of the coordinator cannot be read: it is of another version or at fault")
                }
            }
        }
        Ok(())
    }

    /// Whether the roster has to be there first. Not for ever: the next epoch and the end of the run do without.
    fn waits(&self) -> bool {
        let moves_on = |told: &pb::Notice| match &told.notice {
            Some(pb::notice::Notice::EpochOpen(open)) => Some(open.epoch) > self.fetching,
            Some(pb::notice::Notice::RunEnded(_)) => true,
            _ => false,
        };
        self.fetching.is_some()
            && self.held.len() <= MAX_HELD_NOTICES
            && !self.held.iter().any(moves_on)
    }

    async fn notice(&mut self, received: Received) -> Result<(), RunError> {
        match received {
            Received::RunOffered { .. } => Ok(()),
            Received::EpochOpen { epoch, .. } => self.epoch_open(epoch),
            Received::RosterReady {
                epoch,
                members,
                root,
            } => {
                self.roster_ready(epoch, members, root);
                Ok(())
            }
            Received::RosterCertified(certificate) => {
                self.submit(Event::RosterCertified(certificate)).map(drop)
            }
            Received::RoundOpen {
                announcement,
                signature,
                round_config,
                proofs,
            } => {
                self.certificate = None;
                let ann_hash = announcement.hash();
                let opened = Event::Opened {
                    announcement,
                    signature,
                    round_config,
                    proofs,
                };
                if let Some(missed) = self.machine.result_before(clock::now(), &opened) {
                    self.submit(missed)?;
                }
                if let Err(rejection) = self.try_submit(opened)? {
                    self.answer(ann_hash, &rejection);
                }
                Ok(())
            }
            Received::CohortReady { cohort, signature } => self
                .step(cohort.ann_hash, Step::CohortSeen { cohort, signature })
                .map(drop),
            Received::SurvivorProposal {
                proposal,
                signature,
            } => {
                self.witness_proposal(&proposal, &signature);
                match self.machine.propose(proposal, &signature) {
                    Ok(()) | Err(Rejection::Repeated | Rejection::Elsewhere(_)) => {}
                    Err(rejection) => {
                        tracing::error!(run = %self.run, %rejection, "survivor proposal refused")
                    }
                }
                Ok(())
            }
            Received::SurvivorsCertified(certificate) => self.released(certificate),
            Received::AbortProposal {
                announcement,
                signature,
                code,
                text,
            } => {
                tracing::warn!(run = %self.run, code, text, "the attempt is given up");
                self.submit(Event::AbortProposed {
                    announcement,
                    signature,
                })
                .map(drop)
            }
            Received::Result(finished) => self.finished(*finished),
            Received::Ended { code, text, .. } => self.ended(&code, &text).await,
        }
    }

    /// Nobody shall wait for a site that refuses an attempt; its operator learns what would let it take part.
    fn answer(&mut self, ann_hash: Digest, rejection: &Rejection) {
        let Some(why) = participant::answer_to(rejection) else {
            return;
        };
        if let Rejection::Spent { round, seq } = rejection {
            tracing::warn!(
                run = %self.run, round, seq,
                "sitting out until the next model. To let the same update into one more sum, read in docs/running-by-hand.md what \
                 that may reveal, stop this daemon, run `veilsum participant consent {} --config site.toml`, and start it again",
                self.run
            );
        }
        self.decline(ann_hash, why, None);
    }

    fn finished(&mut self, finished: Finished) -> Result<(), RunError> {
        let Finished {
            round,
            epoch,
            seq,
            result,
            certificate,
        } = finished;
        let event = Event::Finished {
            place: (epoch, seq),
            result: Box::new(result.value),
            certificate,
            signature: result.signature,
        };
        self.witness(&event); // also one that waits, or is never taken in
        let Some(event) = self.machine.hear_result(event) else {
            tracing::info!(run = %self.run, round, "a round went by without this site; its result counts with the next announcement");
            return Ok(());
        };
        if self.submit(event)? {
            tracing::info!(run = %self.run, round, "round done");
        }
        Ok(())
    }

    fn epoch_open(&mut self, epoch: u64) -> Result<(), RunError> {
        if epoch <= self.machine.epoch() {
            return Ok(());
        }
        self.fetching = None; // the roster of an epoch that came to nothing
        match self.site.binding() {
            Ok(binding) => self
                .submit(Event::Joined {
                    epoch,
                    binding: Box::new(binding),
                })
                .map(drop),
            Err(error) => {
                tracing::error!(run = %self.run, %error, "the identity key cannot be bound to the certificate; joining no epoch");
                Ok(())
            }
        }
    }

    fn roster_ready(&mut self, epoch: u64, members: u32, root: Digest) {
        let limit = self.machine.spec().params().config().n_max;
        if members > limit {
            tracing::error!(run = %self.run, epoch, members, limit, "the coordinator says that the roster is larger than the run allows");
            return;
        }
        self.witness_roster(epoch, members, root);
        let known = self
            .machine
            .roster()
            .is_some_and(|roster| roster.epoch() >= epoch);
        if known || epoch != self.machine.epoch() {
            return;
        }
        self.fetching = Some(epoch);
        self.fetch_roster(epoch, members);
    }

    /// A roster came: accepted once its members' certificates and this site's rules allow it; else it is asked for again.
    pub(super) async fn enrol(
        &mut self,
        epoch: u64,
        members: u32,
        mut advertisements: Vec<Advertisement>,
    ) -> Result<(), RunError> {
        if self.fetching != Some(epoch) || self.machine.epoch() != epoch {
            return Ok(());
        }
        let backed = self.site.check_bindings(&mut advertisements);
        let accepted = match backed {
            Ok(()) => self.submit(Event::Enrolled { advertisements })?,
            Err(error) => {
                tracing::error!(run = %self.run, %error, "roster refused; nothing was signed");
                false
            }
        };
        if accepted {
            self.fetching = None;
            return self.listen().await;
        }
        self.doubt(Task::Roster(epoch));
        self.fetch_roster(epoch, members);
        Ok(())
    }

    /// The run is over: nothing of it stays in clear. Files go before the journal forgets the run, so that a crash in between repeats it.
    async fn ended(&mut self, code: &str, text: &str) -> Result<(), RunError> {
        if code.is_empty() {
            tracing::info!(run = %self.run, "run completed");
        } else {
            tracing::warn!(run = %self.run, code, text, "run ended");
        }
        self.tasks.shutdown().await; // a trainer that is still at it writes nothing any more
        leftovers::erase(&self.site.data_dir, &self.run.to_string())?;
        self.site.journal().forget(&self.stream)?;
        self.over = true;
        Ok(())
    }
}
