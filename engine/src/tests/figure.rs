//! A whole round, line by line as in the protocol's figure.

use veilsum_common::blob::BlobRef;

use super::kit::{Federation, Kind, initial_model};
use crate::round::Outcome;

#[test]
fn a_round_reads_line_by_line_like_the_protocols_figure() {
    for n in [3, 4, 5, 7] {
        let mut fed = Federation::of(n);

        //                    coordinator S                                     participants and holders
        // -- once per epoch --
        fed.hear(); //        EpochOpen ------------------------------------->
        fed.act(Kind::Join); //  <------------------------------------------- JoinEpoch(advertisement)
        fed.hear(); //        RosterReady, GetRoster ------------------------>
        fed.act(Kind::Confirm); // <----------------------------------------- ConfirmRoster
        assert!(fed.hub.epoch().certificate().is_some());

        // -- A --
        fed.hear(); //        RosterCert, RoundOpen(announcement) ----------->
        fed.act(Kind::Train); //                                              FetchModel; train; pin the update

        // -- B --
        fed.act(Kind::Commit); // <------------------------------------------ CommitRound
        assert_eq!(
            fed.round().cohort().unwrap().members.count(),
            n,
            "all there: the cohort is fixed"
        );

        // -- C --
        fed.hear(); //        CohortReady ----------------------------------->
        fed.act(Kind::Upload); // GetNeighbourKeys <-> SubmitMasked, receipt
        fed.act(Kind::OpenShares); // GetShares ----------------------------->
        assert_eq!(
            fed.round().proposal().unwrap().survivors.count(),
            n,
            "all there: the survivors are fixed"
        );

        // -- D --
        fed.hear(); //        SurvivorProposal ------------------------------>
        fed.act(Kind::Judge); // GetSurvivors ------------------------------->
        fed.act(Kind::Attest); // <------------------------------------------ AttestSurvivors
        assert!(fed.round().certificate().is_some());

        // -- E --
        fed.hear(); //        SurvivorCert ---------------------------------->
        fed.act(Kind::Unmask); // <------------------------------------------ Unmask

        // -- F --
        fed.hear(); //        RoundResult ----------------------------------->
        let first = BlobRef::of(&initial_model()).digest;
        assert_eq!(
            fed.hub.sums[0].sum,
            fed.plain(&first, 0..n),
            "the sum is the plain sum, bit for bit"
        );
        assert!(matches!(fed.hub.last_outcome(), Outcome::Published(_)));
        for site in &fed.sites {
            assert_eq!(
                site.machine.last_result().unwrap().next_model,
                fed.hub.run().model().digest
            );
            assert!(site.refused.is_empty(), "{:?}", site.refused);
            let mut asked = site.pending.iter().map(Kind::of);
            assert!(
                asked.all(|kind| kind == Kind::Forget),
                "nothing is asked for twice"
            );
        }
    }
}
