//! Honest parties, whatever they signed before and after: retries, renewed epochs, other runs. Nothing of it convicts anybody, however
//! it is put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::channel::Envelope;
use crate::context::Attempt;
use crate::evidence::dealing::{InconsistentDealing, WrongScalar, WrongShare};
use crate::evidence::equivocation::{
    Outcome, TwoAnnouncements, TwoCohorts, TwoResults, TwoSurvivorSets,
};
use crate::evidence::omission::OmittedSurvivor;
use crate::evidence::promises::{TwoAttestations, TwoContexts, TwoRosters};
use crate::evidence::{Evidence, NamedAttempt, Signed};
use crate::keys::Signature;
use crate::merkle::Tree;
use crate::message::{Announcement, Cohort, Receipt, RoundResult, SurvivorProposal, UnmaskList};
use crate::params::RunConfig;
use crate::tests::kit::{self, Round, Upload, World, certificate_of};
use crate::{Digest, Secret, commitment};

/// All that honest parties sign in one attempt.
pub struct Story<'w> {
    pub attempt: Arc<Attempt>,
    pub announced: Signature,
    /// By member.
    pub confirmations: Vec<Signature>,
    pub cohort: Signed<Cohort>,
    pub uploads: BTreeMap<u32, Upload>,
    pub receipts: BTreeMap<u32, Signed<Receipt>>,
    pub proposal: Signed<SurvivorProposal>,
    /// Position and signature.
    pub attestations: Vec<(u32, Signature)>,
    pub lists: Vec<UnmaskList>,
    pub result: Signed<RoundResult>,
    pub round: Round<'w>,
}

/// One honest attempt, in which `dropped` upload nothing.
pub fn story<'w>(world: &'w World, announcement: Announcement, dropped: &[u32]) -> Story<'w> {
    let key = kit::coordinator();
    let announced = announcement.sign(&key);
    let mut round = world.open_with(announcement);
    let cohort = round.commit_all();
    let there = cohort.members.iter().filter(|i| !dropped.contains(i));
    let uploads = round.uploads(&cohort, there);
    let items: Vec<_> = uploads.values().map(|upload| upload.item).collect();
    let receipt = |(index, upload): (&u32, &Upload)| {
        let value = Receipt {
            ctx: cohort.ctx(),
            upload_hash: upload.item.upload_hash,
            time_ms: 1500,
        };
        let signature = value.sign(&key);
        (*index, Signed { value, signature })
    };
    let receipts = uploads.iter().map(receipt).collect();
    let proposal = round.propose(&cohort, &items).unwrap();
    let holders: Vec<u32> = round.attempt.holders().map(|(_, h)| h).collect();
    let attest = |h: u32| round.attest(h, &cohort, &proposal, &items);
    let signed: Vec<_> = holders
        .iter()
        .map(|h| attest(*h).attestation(round.identity(*h)))
        .collect();
    let certificate = certificate_of(&signed);
    let list = |h: &u32| {
        let released = round.release(attest(*h), &certificate).unwrap();
        round.list(*h, &released, &cohort)
    };
    let lists = holders.iter().map(list).collect();
    let result = RoundResult {
        ctx: cohort.ctx(),
        digest: proposal.digest(),
        survivors: proposal.survivors.count().into(),
        sum_hash: Digest::of_bulk(&round.attempt.hash().0),
        metadata: vec![0; 24],
        next_model_hash: Digest::of_bulk(b"model-1"),
    };
    let confirm = |i| {
        let identity = &world.site(i).identity;
        world.roster.confirm(identity).unwrap().signature
    };
    Story {
        attempt: Arc::clone(&round.attempt),
        announced,
        confirmations: (0..world.roster.len()).map(confirm).collect(),
        cohort: Signed {
            signature: cohort.sign(&key),
            value: cohort,
        },
        uploads,
        receipts,
        proposal: Signed {
            signature: proposal.sign(&key),
            value: proposal,
        },
        attestations: signed.iter().map(|a| (a.position, a.signature)).collect(),
        lists,
        result: Signed {
            signature: result.sign(&key),
            value: result,
        },
        round,
    }
}

/// Two runs, two epochs, a retry with other holders, the next round; the same identities in all of them.
fn stories(worlds: &[World; 3]) -> Vec<Story<'_>> {
    let [first, renewed, another] = worlds;
    let retried = Announcement {
        seq: 2,
        ..first.announcement_to([1, 3, 4, 5, 6])
    };
    let next = Announcement {
        round: 2,
        seq: 3,
        model_hash: Digest::of_bulk(b"model-1"),
        ..first.announcement()
    };
    vec![
        story(first, first.announcement(), &[0]),
        story(first, retried, &[6]),
        story(first, next, &[]),
        story(renewed, renewed.announcement(), &[]),
        story(another, another.announcement(), &[0]),
    ]
}

fn worlds() -> [World; 3] {
    let another = RunConfig {
        run_id: [1; 16],
        ..kit::config(7)
    };
    [
        World::new(7),
        World::with(7, kit::config(7), 2),
        World::with(7, another, 1),
    ]
}

/// One choice of statements for every kind of evidence: the attempt it is said to be about, two stories, a member, a position.
struct Choice<'s, 'w> {
    about: &'s Story<'w>,
    said: [&'s Story<'w>; 2],
    member: u32,
    position: u32,
}

impl Choice<'_, '_> {
    fn all(&self) -> Vec<Evidence> {
        [self.coordinators(), self.members(), self.dealers()]
            .into_iter()
            .flatten()
            .collect()
    }

    fn coordinators(&self) -> Vec<Evidence> {
        let (attempt, said) = (NamedAttempt::of(&self.about.attempt), self.said);
        let cohort = |story: &Story<'_>| story.cohort.value.clone();
        let mut all = vec![
            Evidence::TwoAnnouncements(TwoAnnouncements {
                announced: said.map(|story| (NamedAttempt::of(&story.attempt), story.announced)),
            }),
            Evidence::TwoCohorts(TwoCohorts {
                attempt: attempt.clone(),
                cohorts: said.map(|story| story.cohort.clone()),
            }),
            Evidence::TwoSurvivorSets(TwoSurvivorSets {
                attempt: attempt.clone(),
                said: [
                    (cohort(said[0]), Outcome::Proposal(said[0].proposal.clone())),
                    (cohort(said[1]), Outcome::Result(said[1].result.clone())),
                ],
            }),
            Evidence::TwoSurvivorSets(TwoSurvivorSets {
                attempt: attempt.clone(),
                said: said.map(|s| (cohort(s), Outcome::Proposal(s.proposal.clone()))),
            }),
            Evidence::TwoResults(TwoResults {
                attempt,
                results: said.map(|story| (cohort(story), story.result.clone())),
            }),
        ];
        let acknowledged = (
            said[0].uploads.get(&self.member),
            said[0].receipts.get(&self.member),
        );
        if let (Some(upload), Some(receipt)) = acknowledged {
            all.push(Evidence::OmittedSurvivor(OmittedSurvivor {
                attempt: Arc::clone(&self.about.attempt),
                member: self.position,
                cohort: cohort(said[1]),
                chunk_root: upload.trailer.chunk_root,
                metadata_hash: Digest::of_bulk(&upload.trailer.metadata),
                receipt: *receipt,
                proposal: said[1].proposal.clone(),
            }));
        }
        all
    }

    fn members(&self) -> Vec<Evidence> {
        let (about, said, place) = (self.about, self.said, self.member as usize);
        let key = |story: &Story<'_>| story.attempt.roster().members()[place].id_pk;
        let confirmed = |story: &Story<'_>| {
            let roster = Arc::clone(story.attempt.roster());
            (roster, story.confirmations[place])
        };
        let attested = |story: &Story<'_>| {
            let (_, signature) = story.attestations[self.position as usize % 5];
            let proposal = story.proposal.value.clone();
            (story.cohort.value.clone(), proposal, signature)
        };
        let mut all = vec![
            Evidence::TwoRosters(TwoRosters {
                member: key(said[0]),
                confirmed: said.map(confirmed),
            }),
            Evidence::TwoAttestations(TwoAttestations {
                attempt: Arc::clone(&about.attempt),
                position: self.position,
                attested: said.map(attested),
            }),
        ];
        let items = said.map(|story| story.uploads.get(&self.member).map(|upload| upload.item));
        if let [Some(first), Some(second)] = items {
            let uploaded = |story: &Story<'_>, item: crate::message::SurvivorItem| {
                (story.cohort.value.clone(), item.upload_hash, item.signature)
            };
            all.push(Evidence::TwoContexts(TwoContexts {
                attempt: Arc::clone(&about.attempt),
                member: self.member,
                uploaded: [uploaded(said[0], first), uploaded(said[1], second)],
            }));
        }
        all
    }

    fn dealers(&self) -> Vec<Evidence> {
        let (about, [first, second], dealer) = (self.about, self.said, self.member);
        let attempt = || Arc::clone(&about.attempt);
        let commit = first.round.commits[&dealer].clone();
        let core = |(i, commit): (&u32, &_)| {
            commitment::core_of_commit(&first.attempt, *i, commit).unwrap()
        };
        let cores: Vec<_> = first.round.commits.iter().map(core).collect();
        let list = &second.lists[self.position as usize % second.lists.len()];
        let released = |which| {
            let share = |list: &UnmaskList| Some((list.position, *list.scalar(dealer)?));
            let t = about.attempt.threshold() as usize;
            Evidence::InconsistentDealing(InconsistentDealing {
                attempt: attempt(),
                dealer,
                commit: commit.clone(),
                which,
                scalars: second.lists.iter().filter_map(share).take(t).collect(),
            })
        };
        let mut all = vec![
            released(Secret::SelfMask),
            released(Secret::Rescue),
            Evidence::WrongScalar(WrongScalar {
                attempt: attempt(),
                dealer,
                commit: commit.clone(),
                core_path: Tree::Cohort.path(&cores, dealer as usize).unwrap(),
                cohort: first.cohort.value.clone(),
                proposal: second.proposal.value.clone(),
                list: list.clone(),
            }),
        ];
        let holder = second.attempt.holder(self.position);
        if let Some(holder) = holder.filter(|holder| *holder != dealer) {
            let keys = second.round.keys(holder).inbound;
            let revealed = WrongShare::reveal(&about.attempt, holder, &keys, dealer, &commit);
            assert!(revealed.is_err(), "no key of an honest dealing leaves");
            let envelope = Envelope {
                attempt: &second.attempt,
                dealer,
                holder,
                nonce: &commit.nonce,
                core: &cores[dealer as usize],
            };
            let k_share = envelope.key(keys.get(dealer).unwrap()).unwrap();
            all.push(Evidence::WrongShare(WrongShare {
                attempt: attempt(),
                dealer,
                commit,
                position: self.position,
                k_share,
            }));
        }
        all
    }
}

#[test]
fn no_honest_party_is_convicted_by_what_it_signed_in_one_attempt() {
    let worlds = worlds();
    for story in &stories(&worlds) {
        for (member, position) in (0..7).flat_map(|m| (0..9).map(move |p| (m, p))) {
            let choice = Choice {
                about: story,
                said: [story, story],
                member,
                position,
            };
            for evidence in choice.all() {
                assert!(evidence.verify().is_err(), "{}", evidence.word());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Each case makes all stories once and puts them together in many ways.
    #[test]
    fn no_honest_party_is_convicted_by_what_it_signed_in_many(
        choices in proptest::collection::vec(any::<([Index; 3], u8, u8)>(), 40),
    ) {
        let worlds = worlds();
        let stories = stories(&worlds);
        for (picked, member, position) in choices {
            let [about, first, second] = picked.each_ref().map(|index| index.get(&stories));
            let (member, position) = (u32::from(member % 7), u32::from(position % 9));
            let choice = Choice { about, said: [first, second], member, position };
            for evidence in choice.all() {
                prop_assert!(evidence.verify().is_err(), "{}", evidence.word());
            }
        }
    }
}
