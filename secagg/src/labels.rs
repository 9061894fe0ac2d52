//! The protocol's version and every label it hashes, derives or signs under; nothing else.
//!
//! A label is ASCII without a zero byte. [`crate::codec`] puts [`PREFIX`] before it and a zero byte behind it, so no two labels
//! can mean the same bytes. Source: protocol, sections 3 and 5.

/// Version of the protocol; part of every run's configuration.
pub const PROTOCOL_VERSION: u32 = 1;
/// Stands before every label.
pub const PREFIX: &[u8] = b"veilsum/v1/";

macro_rules! labels {
    ($($name:ident = $text:literal;)*) => { $(pub(crate) const $name: &str = $text;)* };
}

labels! {
    // hashes
    ID = "id";
    RUN = "run";
    ROUND_CONFIG = "roundcfg";
    BINDING = "binding";
    MEMBERS = "members";
    NONCE_COMMIT = "nonce-commit";
    EPOCH = "epoch";
    ANNOUNCE = "announce";
    COM_B = "com-b";
    COM_K = "com-k";
    SHARE_B = "share-b";
    SHARE_K = "share-k";
    COMMIT_CORE = "commit-core";
    BLOB = "blob";
    CTS = "cts";
    SHARE_AAD = "share-aad";
    ROUND_CTX = "round-ctx";
    UPLOAD_CORE = "upload-core";
    SURVIVORS = "survivors";
    UNMASK_LIST = "unmask-list";
    RESULT = "result";
    MERKLE_LEAF = "merkle-leaf";
    MERKLE_NODE = "merkle-node";

    // keys
    EPOCH_SEED = "epoch-seed";
    CHAN = "chan";
    RATCHET = "ratchet";
    ROUND_KEY = "round";
    SHARE = "share";
    RESCUE = "rescue";
    MASK = "mask";
    SELF = "self";

    // local expansion of a site's own seeds; not part of the protocol
    LOCAL_CHANNEL = "local/x";
    LOCAL_REVEAL = "local/reveal";
    LOCAL_ATTEMPT = "local/attempt";
    LOCAL_MASK_KEY = "local/e";
    LOCAL_NONCE = "local/nonce";
    LOCAL_SCALARS = "local/scalars";

    // signatures; the prefix "sig/" belongs to the label
    SIG_RUN = "sig/run";
    SIG_BINDING = "sig/binding";
    SIG_ADVERTISEMENT = "sig/advertisement";
    SIG_ROSTER = "sig/roster";
    SIG_ANNOUNCE = "sig/announce";
    SIG_MASKKEY = "sig/maskkey";
    SIG_COMMIT = "sig/commit";
    SIG_COHORT = "sig/cohort";
    SIG_UPLOAD = "sig/upload";
    SIG_RECEIPT = "sig/receipt";
    SIG_PROPOSAL = "sig/proposal";
    SIG_SURVIVORS = "sig/survivors";
    SIG_COMPLAINT = "sig/complaint";
    SIG_UNMASK = "sig/unmask";
    SIG_ABORT = "sig/abort";
    SIG_RESULT = "sig/result";
}
