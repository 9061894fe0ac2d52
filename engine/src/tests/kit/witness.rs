//! An onlooker who remembers everything that left a site, and protests when two of its messages must not both exist.

use std::collections::BTreeMap;

use veilsum_secagg::Digest;
use veilsum_secagg::message::{AbortAttestation, Attestation, Commit, UnmaskList, UploadTrailer};

/// What left the sites, by attempt and site.
#[derive(Default)]
pub struct Witness {
    commits: BTreeMap<(Digest, String), Commit>,
    uploads: BTreeMap<(Digest, String), (Digest, Vec<u8>, UploadTrailer)>,
    attestations: BTreeMap<(Digest, String), Attestation>,
    lists: BTreeMap<(Digest, String), UnmaskList>,
    aborts: BTreeMap<(Digest, String), AbortAttestation>,
}

impl Witness {
    /// One Commit per attempt: sent again it is the same bytes.
    pub fn commit(&mut self, site: &str, commit: &Commit) {
        let key = (commit.ann_hash, site.to_owned());
        let first = self.commits.entry(key).or_insert_with(|| commit.clone());
        assert_eq!(
            first, commit,
            "{site} sent two Commits for one announcement"
        );
    }

    /// One masked vector per Commit, under one context.
    pub fn upload(
        &mut self,
        site: &str,
        ann: Digest,
        ctx: Digest,
        bytes: &[u8],
        trailer: &UploadTrailer,
    ) {
        let sent = (ctx, bytes.to_vec(), trailer.clone());
        let first = self
            .uploads
            .entry((ann, site.to_owned()))
            .or_insert_with(|| sent.clone());
        assert!(*first == sent, "{site} masked two vectors under one Commit");
    }

    /// One survivor set per holder and attempt.
    pub fn attestation(&mut self, site: &str, ann: Digest, attestation: &Attestation) {
        let key = (ann, site.to_owned());
        let first = self
            .attestations
            .entry(key)
            .or_insert_with(|| attestation.clone());
        assert_eq!(first, attestation, "{site} attested twice");
    }

    /// One list, so never both kinds of share of a member, and never after an abort.
    pub fn list(&mut self, site: &str, ann: Digest, list: &UnmaskList) {
        let key = (ann, site.to_owned());
        assert!(
            !self.aborts.contains_key(&key),
            "{site} released what it had aborted"
        );
        if let Some(attested) = self.attestations.get(&key) {
            assert_eq!(
                attested.digest, list.digest,
                "{site} released another set than it attested"
            );
        }
        let first = self.lists.entry(key).or_insert_with(|| list.clone());
        assert_eq!(first, list, "{site} released two lists");
    }

    /// Never after a release.
    pub fn abort(&mut self, site: &str, attestation: &AbortAttestation) {
        let key = (attestation.ann_hash, site.to_owned());
        assert!(
            !self.lists.contains_key(&key),
            "{site} aborted what it had released"
        );
        self.aborts.insert(key, *attestation);
    }

    pub fn commits_of(&self, site: &str) -> Vec<&Commit> {
        let theirs = self.commits.iter().filter(|((_, who), _)| who == site);
        theirs.map(|(_, commit)| commit).collect()
    }

    pub fn uploads_of(&self, site: &str) -> Vec<&[u8]> {
        let theirs = self.uploads.iter().filter(|((_, who), _)| who == site);
        theirs.map(|(_, (_, bytes, _))| bytes.as_slice()).collect()
    }

    pub fn attested(&self, ann: Digest) -> usize {
        self.attestations
            .keys()
            .filter(|(known, _)| *known == ann)
            .count()
    }

    pub fn has_list(&self, site: &str, ann: Digest) -> bool {
        self.lists.contains_key(&(ann, site.to_owned()))
    }

    pub fn lists(&self, ann: Digest) -> usize {
        self.lists.keys().filter(|(known, _)| *known == ann).count()
    }

    pub fn aborts(&self, ann: Digest) -> usize {
        self.aborts
            .keys()
            .filter(|(known, _)| *known == ann)
            .count()
    }
}
