//! What each kind of evidence shows, in words for people, and what it leaves open.

use veilsum_secagg::evidence::Evidence;

/// One kind of evidence in words.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    /// What was done.
    pub fault: &'static str,
    /// What the file shows to anybody.
    pub proves: &'static str,
    /// What it does not show.
    pub leaves_open: &'static str,
}

/// The words for `evidence`.
pub(crate) fn of(evidence: &Evidence) -> Words {
    let words = |fault, proves, leaves_open| Words {
        fault,
        proves,
        leaves_open,
    };
    match evidence {
        Evidence::TwoAnnouncements(_) => words(
            "announcing two different things as one attempt, or two rosters as one epoch",
            "that both announcements carry this key's signature; an honest coordinator announces once",
            ON_PURPOSE,
        ),
        Evidence::TwoCohorts(_) => words(
            "closing the cohort of one attempt twice",
            "that both cohorts carry this key's signature; an honest coordinator closes a cohort once, before anybody masks",
            ON_PURPOSE,
        ),
        Evidence::TwoSurvivorSets(_) => words(
            "naming two survivor sets in one attempt",
            "that both sets, or a set and a result over another one, carry this key's signature; an honest coordinator fixes the set once",
            ON_PURPOSE,
        ),
        Evidence::TwoResults(_) => words(
            "publishing two results of one attempt",
            "that both results carry this key's signature; an honest coordinator publishes one",
            "which of the two is right, if either is, nor which sites were shown which",
        ),
        Evidence::OmittedSurvivor(_) => words(
            "acknowledging an upload before the report deadline and leaving it out of the survivors",
            "that its receipt, dated by its own clock before its own deadline, and the set without that site carry this key's signature",
            "when the upload really arrived; no other clock than the coordinator's is in the proof",
        ),
        Evidence::TwoRosters(_) => words(
            "confirming two rosters of one epoch",
            "that both confirmations carry this member's signature; an honest site confirms one roster per epoch",
            "who showed it two rosters, nor whether its store was put back to an old state by mistake",
        ),
        Evidence::TwoAttestations(_) => words(
            "attesting two survivor sets of one attempt",
            "that both attestations carry this member's signature; an honest holder attests one set per attempt",
            "that shares were released for either, nor whether its store was put back to an old state by mistake",
        ),
        Evidence::TwoContexts(_) => words(
            "signing uploads under two cohorts of one attempt",
            "that both uploads carry this member's signature; an honest site masks under the first cohort it sees and no other",
            "who showed it two cohorts, nor whether its store was put back to an old state by mistake",
        ),
        Evidence::WrongShare(_) => words(
            "sealing a share that is not the one it committed to",
            "that what this member sealed and signed for one holder opens to a share its own commitment does not fit",
            "whether it did so on purpose or its release or machine is faulty",
        ),
        Evidence::WrongScalar(_) => words(
            "releasing a share that is not the one that was committed",
            "that the list this member signed has a scalar that the dealer's commitment, in the cohort it signed for, does not fit",
            "whether it did so on purpose or its release or machine is faulty",
        ),
        Evidence::InconsistentDealing(_) => words(
            "committing to shares that do not give the secret it committed to",
            "that as many of this member's committed shares as the threshold takes give another secret, or one that opens nothing",
            "whether it did so on purpose or its release or machine is faulty",
        ),
    }
}

const ON_PURPOSE: &str = "whether that was on purpose or its store was put back to an old state, nor which sites were shown which";
