//! Every maximum in the system, in one table, each with the reason for its value.
//!
//! A bound is checked once, where foreign data becomes a typed value; behind that border nothing is checked again.
//! Limits that an operator may set live in the configuration files, not here.

use std::num::NonZeroUsize;

use veilsum_secagg::params;

// --- studies and runs ---

/// Longest `study.toml`: fifty times a normal one.
pub const MAX_STUDY_BYTES: usize = 64 * 1024;
/// Longest `[config]` as JSON: every round hands it to every site, and with three abort certificates it fits one journal entry.
pub const MAX_CONFIG_BYTES: usize = 32 * 1024;
/// Longest encoded run: it travels in one message, with 64 KiB to spare for what surrounds it.
pub const MAX_RUN_BYTES: usize = MAX_MESSAGE_BYTES - 64 * 1024;
/// Longest name of a study: fits a table column and a file name.
pub const MAX_STUDY_NAME: usize = 64;
/// Longest path in a study: `PATH_MAX` of Linux.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most rounds of a run: at one round a second a whole day, and every round costs a stream in the journal.
pub const MAX_ROUNDS: u64 = 100_000;
/// Tries of one round, and set-ups of an epoch in a row, before the run ends: what fails three times does not fail by chance, and a site
/// that restarts has three join timeouts to be back.
pub const MAX_ATTEMPTS: u32 = 3;
/// Fewest sites of a cohort: with two, each would read the other's update off the sum.
pub const MIN_COHORT: u32 = 3;
/// Fewest sites without a warning, and the default: at 3 or 4 a single colluding site leaves too few honest inputs.
pub const DEFAULT_COHORT: u32 = 5;
/// Most sites of a cohort: in the silo profile every site holds a share of every other, so cost grows with the square.
pub const MAX_COHORT: u32 = params::MAX_SILO;
/// Shortest timeout of a study: below it a loopback round with a trainer's start cannot finish.
pub const MIN_TIMEOUT_MS: u64 = 100;
/// Longest life of an attempt that a site accepts: one week, the life of an epoch. Its secrets lie ready that long.
pub const MAX_ATTEMPT_MS: u64 = EPOCH_SECONDS * 1000;
/// How long an attempt stays open after its report deadline: a day for holders to come back.
pub const EXPIRY_MS: u64 = 24 * 3600 * 1000;
/// Longest timeout of a study, and longest sum of its two: with the day for holders no site would accept more.
pub const MAX_TIMEOUT_MS: u64 = MAX_ATTEMPT_MS - EXPIRY_MS;
/// Rounds an epoch may last: bounds what one compromised set of epoch keys could ever touch.
pub const EPOCH_ROUNDS: u32 = 100;
/// Seconds an epoch may last: one week.
pub const EPOCH_SECONDS: u64 = 604_800;

// --- models ---

/// Longest header of a safetensors file; parsed only after this check.
pub const MAX_MODEL_HEADER_BYTES: u64 = 8 * 1024 * 1024;
/// Most tensors of a model: ten times the largest published state dictionaries.
pub const MAX_TENSORS: usize = 65_536;
/// Most elements of all tensors together: 2^34 values are 64 GiB of f32.
pub const MAX_ELEMENTS: u64 = params::MAX_ELEMENTS;
/// Longest name of a tensor in bytes: module paths stay far below.
pub const MAX_TENSOR_NAME: usize = 512;
/// Most dimensions of a tensor: frameworks stop at 8 or earlier in practice.
pub const MAX_RANK: usize = 8;
/// Most patterns in `aggregate` or `keep_global`: bounds the work of matching every tensor against each.
pub const MAX_GLOBS: usize = 32;
/// Longest pattern in bytes, for the same reason.
pub const MAX_GLOB_BYTES: usize = 128;

// --- sealed tensors ---

/// Longest header of the safetensors file inside a sealed one: a manifest of as many tensors as a model may have, with names of 80
/// bytes, stands in it.
pub const MAX_SEALED_HEADER_BYTES: u64 = 32 * 1024 * 1024;
/// Longest header of an age file: as many post-quantum recipients as there may be, and a grant for them.
pub const MAX_AGE_HEADER_BYTES: u64 = 2 * 1024 * 1024;
/// Most recipients of a sealed file: opening tries every key on every one of them.
pub const MAX_RECIPIENTS: usize = 1024;
/// Most identities that are tried on a file, for the same reason.
pub const MAX_IDENTITIES: usize = 64;
/// Highest work factor of a passphrase in a file that others made: 2^20 is 1 GiB of memory, four times the usual one.
pub const MAX_SCRYPT_LOG_N: u8 = 20;
/// Longest file of recipients, signers or a registry: a thousand post-quantum recipients.
pub const MAX_KEYS_BYTES: u64 = MAX_AGE_HEADER_BYTES;
/// Longest name of a sender: the longest SPIFFE ID.
pub const MAX_PRINCIPAL_BYTES: usize = 2048;
/// Longest purpose: a few words.
pub const MAX_PURPOSE_BYTES: usize = 256;
/// Longest armoured signature: one of Ed25519 with the longest namespace of ours has 300 bytes.
pub const MAX_SSHSIG_BYTES: usize = 1024;
/// Chunks of 64 KiB that one thread seals or opens at a time: 2 MiB are worth a thread's start, and little memory.
pub const SEALED_BATCH_CHUNKS: usize = 32;
/// Longest line of an access log: as many names as one request may have.
pub const MAX_ACCESS_LINE_BYTES: usize = 64 * 1024;

// --- numbers ---

/// Elements of one chunk of a vector: 1 MiB packed at 32 bits; leaf of the upload's hash and counter of the mask stream.
pub const CHUNK_ELEMS: u32 = 1 << 18;
/// Fewest bits of a quantised value: of fewer, the sum of all can give single inputs away.
pub const MIN_BITS: u8 = 4;
/// Most bits of a quantised value: more than an f32 update carries.
pub const MAX_BITS: u8 = 32;
/// Bits of a quantised value by default: on measured studies no accuracy is lost against floating point.
pub const DEFAULT_BITS: u8 = 16;
/// Largest weight cap: every sum of weights stays exact in binary64 (2^40 × 128 sites < 2^53).
pub const MAX_WEIGHT: u64 = 1 << 40;
/// Largest sample count of one site, for the same reason.
pub const MAX_EXAMPLES: u64 = 1 << 40;
/// Smallest clipping bound: far below any update, far above where binary64 loses digits.
pub const MIN_CLIP: f64 = 1e-9;
/// Largest clipping bound: the mirror of the smallest.
pub const MAX_CLIP: f64 = 1e9;
/// Most metrics of a study: one metadata lane each.
pub const MAX_METRICS: usize = 32;
/// Longest name of a metric.
pub const MAX_METRIC_NAME: usize = 64;
/// Smallest bound of a metric's range: keeps at least three digits in 32 fractional bits.
pub const MIN_METRIC_BOUND: f64 = 1e-6;
/// Largest bound of a metric's range: keeps at least three digits beside the largest weight cap.
pub const MAX_METRIC_BOUND: f64 = 1e12;

// --- wire, journal, processes ---

/// Bytes of payload in one message of a stream: the flow-control window then bounds memory.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Bytes of a piece of a model on its way out: read, encoded and waiting for the network it is in memory several times over.
pub const MODEL_PIECE_BYTES: usize = 64 * 1024;
/// Chunks of one part of an upload, which is made durable at once and sent again at most once after a cut: 10 MiB at the narrowest ring
/// that studies use, 64 MiB at the widest, so that an fsync of 3 ms is a small share of the time to send it.
pub const PART_CHUNKS: u64 = 32;
/// Staged vectors that are folded into one partial: files that one job has open, and the largest number that the final job adds. Journals
/// name folds by it and by [`PART_CHUNKS`], so that neither changes while a round is open.
pub const BATCH_VECTORS: usize = 64;
/// Longest message that is not a stream: the usual gRPC limit, set explicitly.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Longest message of a call that a coordinator takes: half as long again as the longest, an advertisement with a whole chain.
pub const MAX_CALL_BYTES: usize = 64 * 1024;
/// Longest answer to a poll: as many results as one has, each with the signatures of 128 holders, fill two thirds of it.
pub const MAX_NEWS_BYTES: usize = MAX_MESSAGE_BYTES / 4;
/// Longest message that carries a piece, or a study: a piece, and as much as any other call for what surrounds it.
pub const MAX_PART_BYTES: usize = PIECE_BYTES + MAX_CALL_BYTES;
/// Threads that a site masks with: each holds a few chunks, and beyond this a network is the limit.
pub const MASKING_THREADS: NonZeroUsize = NonZeroUsize::new(16).expect("sixteen is not zero");
/// Uploads under way at once, at one coordinator, nearly all of them waiting for their turn: four rounds of the largest cohort.
pub const MAX_UPLOADS: usize = 512;
/// Uploads that transfer at once, and downloads: each holds a chunk of 1 MiB, a message and a window, 2 MiB in all, and eight sites at 150 Mbit/s each fill
/// a link of 1 Gbit/s.
pub const MAX_TRANSFERS: usize = 8;
/// What must get through of one while it is waited for, if others wait for their turn: more than the window that was sent ahead.
pub const TRANSFER_STEP: u64 = 1024 * 1024;
/// How long that may take: 280 kbit/s, what a telephone has in a valley.
pub const TRANSFER_PATIENCE_MS: u64 = 30_000;
/// How long one transfers while others wait, an upload to the end of its part: at 10 Mbit/s seven parts of 10 MiB, and of 128 sites the last
/// waits a quarter of an hour.
pub const TRANSFER_MS: u64 = 60_000;
/// Longest silence of an upload: far above a lost packet's retransmissions, so that only a peer that is gone or idle meets it.
pub const UPLOAD_STALL_MS: u64 = 60_000;
/// When to ask again where there is no room now: long enough for a call to end, short beside a round.
pub const RETRY_AFTER_MS: u64 = 1_000;
/// Longest journal entry; what may be longer is a blob that the entry names.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024;
/// Entries of one append: a batch of answers shares one fsync, and none waits long for it.
pub const MAX_BATCH_ENTRIES: usize = 256;
/// Longest cursor that a site keeps and sends back: a coordinator's have 17 bytes at most.
pub const MAX_CURSOR_BYTES: usize = 64;
/// Notices that a site keeps while it fetches a roster they may depend on: four answers.
pub const MAX_HELD_NOTICES: usize = 4 * MAX_NOTICES;
/// Runs that a site takes part in at once; more offers wait. Each may need a trainer.
pub const MAX_RUNS_AT_ONCE: usize = 32;
/// Runs that a site's daemon takes up between two starts: more than any federation begins in months.
pub const MAX_RUNS_TAKEN_UP: usize = 4096;
/// Epochs in a row that a site joins without a certified roster: an honest coordinator gives up after a few failed set-ups.
pub const MAX_IDLE_EPOCHS: u32 = 64;
/// Longest hold of a poll: below the 60 s after which common proxies close an idle answer.
pub const HOLD_MAX_MS: u64 = 55_000;
/// Longest fault file: two rosters of the largest size, or a commit and a list beside one, take a third of it.
pub const MAX_FAULT_BYTES: usize = 256 * 1024;
/// Fault files that a daemon keeps of one run: the first lies say the most, and 64 files of the largest size are 16 MiB.
pub const MAX_FAULTS_PER_RUN: usize = 64;
/// Of one kind: a member that repeats its lie in every attempt leaves room for the proofs of other lies.
pub const MAX_FAULTS_PER_KIND: usize = 24;
/// Attempts of a run whose signed statements a site keeps at hand to hold later ones against: some 2 KiB each.
pub const MAX_HEARD_ATTEMPTS: usize = 64;
/// Epochs of a run whose rosters a site keeps for the same purpose.
pub const MAX_HEARD_EPOCHS: usize = 4;
/// Notices of one answer to a poll: a site asks again at once, and what it has to keep stays below a quarter of a message.
pub const MAX_NOTICES: usize = 64;
/// Bytes of a trainer's stderr that a site keeps: the end of a traceback; it never leaves the site.
pub const STDERR_TAIL: usize = 4096;
/// Longest `result.json` of a trainer: thirty-two metrics fill less than a tenth of it.
pub const MAX_RESULT_BYTES: usize = 64 * 1024;
/// Longest name of a site: a DNS label, since it stands in certificates.
pub const MAX_SITE_NAME: usize = 63;

// --- fields of the wire and of journal entries ---

/// Most members of a roster, and so most of anything that each of them, or each holder, has once.
pub const MAX_MEMBERS: usize = MAX_COHORT as usize;
/// Longest name of an organisation or a site in a binding: the longest DNS name.
pub const MAX_BINDING_NAME_BYTES: usize = 255;
/// Longest signature of an organisation: RSA of 8,192 bits.
pub const MAX_BINDING_SIG_BYTES: usize = 1024;
/// Most certificates of a chain: leaf and three authorities.
pub const MAX_CHAIN: usize = 4;
/// Longest certificate: a whole chain then fits one journal entry, with room for what surrounds it.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;
/// Most hashes of a path: a tree over 2^32 leaves, more than an index can name.
pub const MAX_PATH_HASHES: usize = 32;
/// Longest stable word of a reason, or of a part of a journal.
pub const MAX_CODE_BYTES: usize = 64;
/// Longest reason in words: one that names 128 members by index has under 1 KiB.
pub const MAX_REASON_BYTES: usize = 2048;
/// Most abort certificates of one model: one for each attempt at it.
pub const MAX_PROOFS: usize = MAX_ATTEMPTS as usize;
/// Longest configuration of a round: the study's part, and 32 names of metrics with room to spare.
pub const MAX_ROUND_CONFIG_BYTES: usize = MAX_STUDY_BYTES + 4096;
/// Length of a UUID in its text form, as request ids are written.
pub const REQUEST_ID_BYTES: usize = 36;

// --- what operators ask for ---

/// Largest initial model: as many elements as a model may have, in the widest type, and its header.
pub const MAX_INITIAL_BYTES: u64 = 8 * MAX_ELEMENTS + MAX_MODEL_HEADER_BYTES;
/// Studies submitted at once, for the same reason.
pub const MAX_SUBMISSIONS: usize = 2;
/// Runs that go on at once: all of them are offered to a site in one answer.
pub const MAX_RUNNING: usize = MAX_NOTICES;
/// Items of one page, if nobody says how many.
pub const PAGE_LEN: usize = 100;
/// Most items of one page: what a person or a script looks through at once.
pub const MAX_PAGE_LEN: usize = 1000;
/// Longest page: a quarter of a message, so that what surrounds it always fits.
pub const MAX_PAGE_BYTES: usize = MAX_MESSAGE_BYTES / 4;
/// Longest answer to an operator: a page, and as much as any other call for what surrounds it.
pub const MAX_ANSWER_BYTES: usize = MAX_PAGE_BYTES + MAX_CALL_BYTES;

// --- connections to a coordinator ---

/// How long after its last poll a site still counts as online: one hold and a little.
pub const PRESENCE_MS: u64 = HOLD_MAX_MS + 5_000;

/// Connections at once, handshakes included: four thousand hold about 160 MiB.
pub const MAX_CONNECTIONS: usize = 4096;
/// Connections of one site, or of any daemon: it needs one, and a second while the first is found dead.
pub const MAX_PEER_CONNECTIONS: usize = 4;
/// Connections of one operator, whose every command is one: a script with thirty waits.
pub const MAX_OPERATOR_CONNECTIONS: usize = 32;
/// Handshakes at once: they keep every core busy even if most of them are stalled.
pub const MAX_HANDSHAKES: usize = 64;
/// Longest handshake: twenty round trips across the world.
pub const HANDSHAKE_MS: u64 = 5_000;
/// From the handshake to the first bytes of HTTP/2, which every client sends with the end of its own.
pub const PREFACE_MS: u64 = 5_000;
/// From the handshake to the first call: clients connect because they have one.
pub const FIRST_CALL_MS: u64 = 10_000;
/// Longest drain of a coordinator that stops: leaves a service manager's minute to the rest.
pub const DRAIN_MS: u64 = 30_000;
/// Calls of one connection at once: a poll for each of many runs, an upload, a download, and what an operator looks at.
pub const MAX_STREAMS: u32 = 32;
/// Calls of one peer at once over all its connections: two full ones.
pub const MAX_PEER_CALLS: usize = 64;
/// Streams that a peer may reset before they were looked at (rapid reset): what h2 thinks right, set explicitly.
pub const MAX_PENDING_RESETS: usize = 20;
/// Streams that are reset for a peer's errors before it is sent away (RUSTSEC-2024-0003).
pub const MAX_ERROR_RESETS: usize = 1024;
/// All headers of one call: ten times what gRPC needs.
pub const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Longest HTTP/2 frame: what the standard prescribes as the least.
pub const FRAME_BYTES: u32 = 16 * 1024;
/// What one call may send ahead: 20 MB/s over 50 ms. It bounds the memory of a stalled upload.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What all calls of a connection may send ahead: two uploads at full speed.
pub const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Between pings, and for an answer to one: a dead peer is found within 40 s.
pub const KEEPALIVE_MS: u64 = 20_000;
