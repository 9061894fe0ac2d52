//! Every code word with its cause and its remedy: the one table from which errors are explained on the terminal and in `docs/errors.md`.
//!
//! Words of runs come from `engine`, those of calls from the coordinator's `grpc/status.rs`, those of a site's policy from `engine`'s
//! `policy.rs`, the rest from here. Prose only: which error has which word is decided in [`super`].

use std::fmt;

use super::Exit;

/// A code word, what it makes the process exit with, why it comes, and what to do.
pub(crate) struct Known {
    pub code: &'static str,
    pub exit: Exit,
    pub cause: &'static str,
    pub remedy: &'static str,
}

/// Words that belong together.
pub(crate) struct Section {
    pub title: &'static str,
    pub words: &'static [Known],
}

const fn known(code: &'static str, exit: Exit, cause: &'static str, remedy: &'static str) -> Known {
    Known {
        code,
        exit,
        cause,
        remedy,
    }
}

/// Every word.
pub(crate) fn all() -> impl Iterator<Item = &'static Known> {
    SECTIONS.iter().flat_map(|section| section.words)
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            exit,
            cause,
            remedy,
        } = self;
        let exit = exit.code();
        write!(
            f,
            "### `{code}` (exit {exit})\n\n{cause}\n\n**What to do**: {remedy}."
        )
    }
}

/// `docs/errors.md`.
pub(crate) fn page() -> String {
    let sections = SECTIONS.iter().map(|Section { title, words }| {
        let words: String = words.iter().map(|known| format!("\n{known}\n")).collect();
        format!("\n## {title}\n{words}")
    });
    sections.fold(HEAD.to_owned(), |page, section| page + &section)
}

const HEAD: &str = "\
# Error codes

Each error has a word that stays the same from release to release: `error.code` with `--json`, `google.rpc.ErrorInfo.reason` on the
wire, `reason.code` of a run. What a command exits with, and how scripts use it, is in [exit codes](exit-codes.md).

This page is made from the table in `cli/src/exit/known.rs`; `veilsum explain` prints it, and `veilsum explain CODE` one word of it.
";

/// The table, in the order of the page.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "The command and its files",
        words: &[
            known(
                "USAGE",
                Exit::Usage,
                "The command line was not understood. `--help` after any command shows what it takes.",
                "add --help to the command to see what it takes",
            ),
            known(
                "FILE_INVALID",
                Exit::Invalid,
                "A file cannot be read or written, or is not what the command needs: a key that others can \
read, a certificate that is no PEM, a name that is taken. The message names the file. Keys \
must have mode 0600.",
                "correct the file or its path and repeat the command",
            ),
            known(
                "FAULT_FILE_INVALID",
                Exit::Invalid,
                "`verify-fault` was given a file that is no fault file, was damaged on its way (its hash does \
not fit), or has a form that this release does not know. Nothing follows from it for \
anybody. Fetch it again from the site that keeps it.",
                "fetch the file again from the site that keeps it, with a release that is not older than that \
site's",
            ),
            known(
                "CONFIG_INVALID",
                Exit::Invalid,
                "`coordinator.toml` or `site.toml` does not parse, has an unknown key, or names files that do \
not serve. The message names file, line and column, or the environment variable. \
`docs/config` holds a sample of each file with every key explained.",
                "correct the configuration and start again; docs/config has a sample of each file",
            ),
            known(
                "STUDY_INVALID",
                Exit::Invalid,
                "The study, its model, or an override by `-c` is refused; nothing was started. The message \
names key, value, limit and remedy.",
                "correct the study; docs/config/study.toml explains every key",
            ),
            known(
                "CERTIFICATE_NOT_ISSUED",
                Exit::Invalid,
                "`ca init`, `ca issue` or `csr` did nothing: a key is there already (it is never \
overwritten), the request is not signed by its own key, or a coordinator's certificate would \
have no host name.",
                "correct what the message names and repeat the command",
            ),
            known(
                "URL_INVALID",
                Exit::Invalid,
                "`--at` is not the address of a coordinator. It is `https://HOST:PORT`; there is no mode \
without TLS.",
                "give --at the coordinator's address, https://HOST:PORT",
            ),
            known(
                "SYSTEM",
                Exit::Failed,
                "The operating system refused something that is not about a file, such as starting a process.",
                "correct what the message names and repeat the command",
            ),
            known(
                "DAEMON_FAILED",
                Exit::Failed,
                "A daemon could not start or had to stop: the port is taken, another process holds the data \
directory, the disk failed. After a failed write a coordinator stops by itself, since what \
it acknowledges must be durable; start it again when the disk is well.",
                "correct what the message names and start again",
            ),
        ],
    },
    Section {
        title: "Sealed files",
        words: &[
            known(
                "SEALED_FILE_INVALID",
                Exit::Invalid,
                "It is no sealed file, or one that was not written as it should be: no age file, a header that is malformed \
or too long, a name that stands twice in the safetensors file inside, data with holes.",
                "check that it is the right file; else ask its sender to write it anew",
            ),
            known(
                "SEALED_FILE_CHANGED",
                Exit::VerificationFailed,
                "The file is not what was sealed or signed: it was cut, a chunk was changed or moved, a tensor does not fit its \
digest, a signature is not valid. By accident on the way, or by somebody. Nothing of it was given out.",
                "fetch the file again; if it fails again, tell its sender and keep it as evidence",
            ),
            known(
                "SENDER_NOT_PROVED",
                Exit::VerificationFailed,
                "The file is whole, but not proved to be what was asked for: it is not signed, signed by somebody who is not in the \
list of signers, made for other readers without a grant, or for another purpose.",
                "ask its sender; to trust a new one, add its line to the list of signers. --any-sender reads it all the same",
            ),
            known(
                "NOT_A_RECIPIENT",
                Exit::NotPermitted,
                "None of the identities opens the file: it was sealed to other recipients, or under another passphrase.",
                "use the right identity, or ask the sender to seal the file to yours as well",
            ),
            known(
                "ACCESS_DENIED",
                Exit::NotPermitted,
                "This machine's list `allowed-identities` does not have one of the identities that were given. The refusal is in the \
access log.",
                "use an identity of the list, or have whoever keeps it add yours",
            ),
            known(
                "ACCESS_NOT_RECORDED",
                Exit::Failed,
                "The access log cannot be written, is in use by another process, or was changed since its last line. What cannot be \
recorded is not done.",
                "correct what the message names; keep a log that was changed as evidence and begin another",
            ),
            known(
                "SEALED_INPUT_INVALID",
                Exit::Invalid,
                "A key, a recipient, a list of signers or recipients, or what is to be sealed is not as it must be. The message says \
which and why.",
                "correct what the message names and repeat the command",
            ),
        ],
    },
    Section {
        title: "Calls to the coordinator",
        words: &[
            known(
                "COORDINATOR_UNREACHABLE",
                Exit::Unreachable,
                "Nobody answers at the address, or the answer did not come in time. `run wait` and `run \
watch` wait five minutes for a coordinator that goes away while they wait.",
                "check --at, that the coordinator runs, and the network between; then repeat",
            ),
            known(
                "STARTING",
                Exit::Unreachable,
                "The coordinator has just started and is bringing the run back. Sites ask again by \
themselves.",
                "repeat the command in a moment",
            ),
            known(
                "STOPPING",
                Exit::Unreachable,
                "The coordinator is shutting down. Repeat the command when it is back; with the same \
`--request-id` nothing happens twice.",
                "repeat the command when the coordinator is back",
            ),
            known(
                "STORE_UNAVAILABLE",
                Exit::Unreachable,
                "The coordinator cannot write to its disk now, so it refuses instead of promising. Its \
operator frees space or repairs the disk.",
                "the coordinator's operator looks at its disk; then repeat",
            ),
            known(
                "STORE_FULL",
                Exit::Unreachable,
                "The coordinator's disk has no room for what was sent. Its operator frees space; sites \
send again by themselves, as long as their round waits.",
                "the coordinator's operator frees space on its disk; then repeat",
            ),
            known(
                "TOO_MANY_CALLS",
                Exit::Unreachable,
                "The coordinator has as many calls, uploads or submissions under way as it takes, in all or \
from one certificate. The answer says when to ask again (`google.rpc.RetryInfo`), and \
daemons do so by themselves. Of one's own commands fewer have to run at once.",
                "repeat in a moment; let fewer commands with one certificate run at once",
            ),
            known(
                "TOO_MANY_RUNS",
                Exit::Unreachable,
                "As many runs go on as one coordinator has at once. With the same `--request-id` the same \
command gives the run once there is room.",
                "wait for a run to end, or cancel one with `veilsum run cancel`; then repeat",
            ),
            known(
                "RUN_DAMAGED",
                Exit::Unreachable,
                "A run's own files at the coordinator are missing or altered: its key, its parameters, its \
model or its journal. The message says which. The other runs are served, and the sites of this one keep asking.",
                "the coordinator's operator restores the data directory from a backup and starts it again",
            ),
            known(
                "NOT_AUTHENTICATED",
                Exit::NotPermitted,
                "The TLS handshake was refused, or the certificate names nobody this federation knows: none \
was shown, it was issued by another authority, it has expired or was revoked, or the \
coordinator's does not name the host that was called. The message says which.",
                "present a certificate of this federation with --cert and --key, and its authority with --ca",
            ),
            known(
                "NOT_PERMITTED",
                Exit::NotPermitted,
                "The certificate is good but has the wrong role. Runs are controlled with one issued by \
`veilsum ca issue … --role operator`.",
                "use a certificate that was issued with --role operator",
            ),
            known(
                "BINDING_REFUSED",
                Exit::NotPermitted,
                "The organisation's signature on a site's protocol key does not fit the certificate the site \
presents.",
                "issue the site's certificate anew and let it join again",
            ),
            known(
                "NOT_A_MEMBER",
                Exit::NotPermitted,
                "The site is not in the set that may send this message, for example not in the epoch's \
roster.",
                "the site joins with the next epoch",
            ),
            known(
                "RUN_NOT_FOUND",
                Exit::Invalid,
                "There is no such run at this coordinator.",
                "`veilsum run list` shows the runs of this coordinator",
            ),
            known(
                "NOT_FOUND",
                Exit::Invalid,
                "There is no such model version, metric, attempt or message. `details` holds what there is, \
where that helps.",
                "`veilsum run show` and `veilsum model list` show what there is",
            ),
            known(
                "SITE_RUNNING",
                Exit::Invalid,
                "The command works on the data directory of a site whose daemon is stopped, and it runs. Stop \
it, repeat the command, start it.",
                "stop veilsum-participant at this site, repeat the command, and start it again",
            ),
            known(
                "NOTHING_SPENT",
                Exit::Invalid,
                "There is nothing to consent to: this site's update for the current model is in no attempt \
that was lost, or the run is over here.",
                "start the site again; it takes part in the run without a consent",
            ),
            known(
                "REQUEST_ID_CONFLICT",
                Exit::Invalid,
                "The request id was used for another study or model. The same id with the same study gives \
the same run, so that a script may submit again after a lost answer.",
                "use a new --request-id for a new run, or submit the first study again",
            ),
            known(
                "INVALID_MESSAGE",
                Exit::Invalid,
                "One end sent what the other does not understand. Usually the releases differ.",
                "use the same release of veilsum here and at the coordinator",
            ),
            known(
                "UPLOAD_INVALID",
                Exit::Invalid,
                "An upload is not cut as the run's uploads are, or was damaged on the way. Nothing of the \
part under way was kept, and the upload does not count.",
                "use the same release of veilsum here and at the coordinator",
            ),
            known(
                "UPLOAD_REPLACED",
                Exit::Invalid,
                "The same site has begun another upload for the same round, so this one ended; the other \
goes on with the parts that are there. Two daemons with one certificate do this to each other: \
stop one of them.",
                "see that only one daemon runs with this site's certificate",
            ),
            known(
                "TRANSFER_PUT_OFF",
                Exit::Unreachable,
                "Other uploads or downloads wait for their turn, and this one had a whole turn or was too slow in it. \
What got through stays; the site goes on by itself after the others, with what is missing.",
                "nothing, the site goes on by itself; if its round ends before, look at the network between, \
or give the study a longer report timeout",
            ),
            known(
                "UPLOAD_STALLED",
                Exit::Unreachable,
                "Nothing of an upload came for a minute, so the call was ended. The site goes on by itself \
with the parts that are missing; if that goes on, look at the network between.",
                "look at the network between the site and the coordinator; the site sends again by itself",
            ),
            known(
                "MESSAGE_TOO_LARGE",
                Exit::Invalid,
                "A message is longer than its method takes. No honest message is: one end runs another \
release, or something in between alters what passes. Use the same release at both ends.",
                "use the same release of veilsum here and at the coordinator",
            ),
            known(
                "UNIMPLEMENTED",
                Exit::Invalid,
                "The coordinator does not have this call, or was sent a compressed message, which it never \
takes. Use the same release at both ends.",
                "use the same release of veilsum here and at the coordinator",
            ),
            known(
                "OUT_OF_PHASE",
                Exit::Invalid,
                "It came too late or too early: the run has moved on. `run resume` says so of a run that is \
not paused.",
                "look where the run stands with `veilsum run show`",
            ),
            known(
                "CONFLICT",
                Exit::Invalid,
                "Another message under the same name was accepted before; the first one stays.",
                "look where the run stands with `veilsum run show`",
            ),
            known(
                "FAULT_NOT_PROVED",
                Exit::VerificationFailed,
                "A fault file is whole and yet convicts nobody: a signature in it is not the accused's, or \
what is signed may be signed by an honest party. The message says which. It speaks neither \
for nor against the accused; ask whoever handed it to you where it comes from.",
                "hold it against nobody; ask for the file where it was made, and compare the two",
            ),
            known(
                "FAULT_OTHER_PARTY",
                Exit::VerificationFailed,
                "The proof in a fault file holds, but not for whom you asked: the run has another coordinator \
key than `--coordinator-key`, or the convicted member is not among `peers.ids` of \
`--config`. Anybody can make up a run with a key of its own and convict that key.",
                "check what you compare with; anybody can make a run or a key of its own and convict that",
            ),
            known(
                "PROTOCOL_VIOLATION",
                Exit::VerificationFailed,
                "A check of the protocol failed: a signature, a commitment or a certificate is wrong. The \
message says whose.",
                "do not retry; tell the operators of the coordinator and of the named site",
            ),
        ],
    },
    Section {
        title: "How runs end",
        words: &[
            known(
                "RUN_FAILED",
                Exit::Failed,
                "The run ended without all of its rounds and gave no reason. `veilsum run show` and the \
coordinator's log say more.",
                "`veilsum run show` says more",
            ),
            known(
                "RUN_CANCELLED",
                Exit::Failed,
                "An operator cancelled the run.",
                "create the run again if it was cancelled by mistake",
            ),
            known(
                "WAIT_TIMED_OUT",
                Exit::WaitTimedOut,
                "`run wait --timeout` is over. The run goes on.",
                "wait again, or look with `veilsum run show`",
            ),
            known(
                "EPOCH_ROSTER_TOO_SMALL",
                Exit::QuorumLost,
                "Fewer sites joined than `cohort.min` before the join deadline, in three epochs in a row. \
Until then the run goes on with the next epoch number, and `veilsum run show` says why it \
has to.",
                "start the missing sites, then create the run again",
            ),
            known(
                "EPOCH_ROSTER_UNCONFIRMED",
                Exit::QuorumLost,
                "Too few sites confirmed the roster, in three epochs in a row: each site compares it with the \
ids it pins, and its log names the rule that refused. A pinned site that is away has the \
same effect, since no peer signs a roster without it.",
                "read at the missing sites which rule refused the roster, then create the run again",
            ),
            known(
                "ROUND_TOO_FEW_ONLINE",
                Exit::QuorumLost,
                "Too few sites are connected to hold each other's shares. While the run is not over it waits \
for them.",
                "start the missing sites; the run goes on by itself while it is not over",
            ),
            known(
                "ROUND_QUORUM_LOST",
                Exit::QuorumLost,
                "Too few sites committed, uploaded or signed in time, three times in a row. No secret of the \
round was revealed. `veilsum run show` says which sites were missing and, if a site said so, \
why: its trainer failed, or its policy refused.",
                "see with `veilsum run show` which sites were missing, help them, create the run again",
            ),
            known(
                "ROUND_RELEASE_LOST",
                Exit::QuorumLost,
                "Too few holders released their shares before the attempt expired. The sum stays masked for \
good, and the run is *paused*: `veilsum run show` names the holders that are missing \
(`data.lost` with `--json`). What the sites sent is spent. At each site that agrees to \
contribute once more to the same model its operator runs `veilsum participant consent RUN`; \
then `veilsum run resume RUN` opens the next round number, with the sites then online. \
`veilsum run cancel RUN` ends the run at its last model. A paused run is not over, but it \
does not go on by itself: `run wait` ends with this code, and `run watch` shows it and \
follows on.",
                "`veilsum run show` names the missing holders; each site that agrees runs `veilsum \
participant consent`, then `veilsum run resume`, or `veilsum run cancel`",
            ),
            known(
                "ROUND_ABORT_UNCERTIFIED",
                Exit::QuorumLost,
                "Too few holders confirmed that an attempt is over before it expired, so a new one could not \
be told from an attack. The run is paused, as after a lost release.",
                "`veilsum run show` names the missing holders; each site that agrees runs `veilsum \
participant consent`, then `veilsum run resume`, or `veilsum run cancel`",
            ),
            known(
                "ROUND_MODEL_UNCHANGED",
                Exit::Failed,
                "A round left the model exactly as it was, so the next one would ask every site for a second \
update to one model, which no site gives. The run ends with that model, `veilsum model get` \
has it. If the study has converged, that is its result; a trainer that changes nothing, or a \
clip far below what quantisation resolves, looks the same.",
                "use the run's last model; if it has not converged, look at what the trainers write",
            ),
            known(
                "ROUND_MODEL_NOT_FINITE",
                Exit::Failed,
                "The new model would hold NaN or infinity. The last model version stays.",
                "lower the learning rate or secagg.clip and create the run again",
            ),
            known(
                "ROUND_BAD_DEALING",
                Exit::VerificationFailed,
                "More holders complain about the same dealers' shares than can be dishonest. The dealers are \
named.",
                "the named sites check their release and machine before the next run",
            ),
            known(
                "ROUND_DEALER_CONVICTED",
                Exit::VerificationFailed,
                "A site's shares provably do not give what it committed to. The site is named; its release or \
its machine is at fault. The run is paused, as after a lost release; the next round is \
opened without that site.",
                "find out why the named site sent shares that do not fit; let sites consent and resume the \
run without it",
            ),
            known(
                "ROUND_BAD_SUM",
                Exit::VerificationFailed,
                "The sums of weights and metrics are outside what honest sites can send together. Which site \
it was cannot be seen from a sum.",
                "compare the releases of all sites; one of them sent numbers that no honest site sends",
            ),
            known(
                "ROUND_UNBALANCED",
                Exit::VerificationFailed,
                "What the coordinator folded is not the sum of what arrived, or a job that ran twice gave two results. \
Nothing was published. The coordinator's memory, disk or program is at fault, and no site.",
                "the coordinator's operator tests its memory and disk before the run is created again",
            ),
            known(
                "JOURNAL_DIVERGED",
                Exit::VerificationFailed,
                "The coordinator's journal holds a decision that does not follow from its entries: it was \
damaged or altered.",
                "the coordinator's operator restores the journal from a backup",
            ),
            known(
                "DIGEST_MISMATCH",
                Exit::VerificationFailed,
                "A model is not the one that was published: damaged on the way or on disk, or replaced. \
Nothing was written, or what was written must not be used.",
                "do not use the file; tell the coordinator's operator and every site",
            ),
            known(
                "SITE_POLICY",
                Exit::PolicyRefused,
                "A rule of a site's own `site.toml` refused. The word that is shown goes on with the rule: \
`SITE_POLICY_STUDY`, `SITE_POLICY_NO_PEERS`, `SITE_POLICY_MIN_COHORT`, \
`SITE_POLICY_BITS_MIN`, `SITE_POLICY_MAX_UPDATE`, `SITE_POLICY_METRICS`, \
`SITE_POLICY_PEERS`, `SITE_POLICY_ROSTER`. Nobody but that site's operator can change the \
answer.",
                "ask that site's operator; only its own site.toml decides",
            ),
            known(
                "SITE_POLICY_STUDY",
                Exit::PolicyRefused,
                "The site approves single studies, and this one is not among them.",
                "add the study's digest to approve.studies of site.toml, if the site agrees, and start the \
site again",
            ),
            known(
                "SITE_POLICY_NO_PEERS",
                Exit::PolicyRefused,
                "The site pins neither its peers nor a roster, so that it cannot tell sites from inventions \
of the coordinator.",
                "name the peers under peers.ids of site.toml, or the approved roster under peers.roster",
            ),
            known(
                "SITE_POLICY_MIN_COHORT",
                Exit::PolicyRefused,
                "The run, its roster or its cohort has fewer members than the site's own policy.min_cohort.",
                "start the missing sites; a smaller policy.min_cohort lets a sum say more about each",
            ),
            known(
                "SITE_POLICY_BITS_MIN",
                Exit::PolicyRefused,
                "The run quantises to fewer bits than the site's policy.bits_min.",
                "raise secagg.bits in the study, or lower policy.bits_min if the site agrees",
            ),
            known(
                "SITE_POLICY_MAX_UPDATE",
                Exit::PolicyRefused,
                "The run's update is larger than the site's policy.max_update.",
                "raise policy.max_update if the site has the disk for it",
            ),
            known(
                "SITE_POLICY_METRICS",
                Exit::PolicyRefused,
                "The run asks for a metric that the site's policy.metrics does not list.",
                "take the metric out of the study, or add it to policy.metrics if the site agrees",
            ),
            known(
                "SITE_POLICY_PEERS",
                Exit::PolicyRefused,
                "The roster is not exactly the sites that this one pinned: one is unknown, or one is missing.",
                "start the missing site; or correct peers.ids of site.toml at every site",
            ),
            known(
                "SITE_POLICY_ROSTER",
                Exit::PolicyRefused,
                "The roster is not the one that the site approved under peers.roster.",
                "compare the ids with the other operators, then approve the new hash",
            ),
            known(
                "CONSENT_WITHHELD",
                Exit::PolicyRefused,
                "`veilsum participant consent` asked whether this site's update may go into one more sum, and \
nobody said yes. Nothing was changed. In a script add `--yes`, after a person has read what \
it means.",
                "start the site again; without a consent it sits out until the next model",
            ),
            known(
                "TRAINER_FAILED",
                Exit::TrainerFailed,
                "Training failed in the demo's own process. In a run a failed trainer only takes its site out \
of the round.",
                "read the trainer's message at that site",
            ),
        ],
    },
    Section {
        title: "The demo",
        words: &[
            known(
                "DEMO_SITES",
                Exit::Invalid,
                "With two sites each could read the other's update off the sum, so `--sites 2` is refused; \
more sites than the data has rows or classes for cannot be served.",
                "run the demo with --sites 5",
            ),
            known(
                "DEMO_DROP",
                Exit::Invalid,
                "The share to kill is not a share, or more than the threshold of holders survives. \
`details.limit` is how many may go.",
                "lower --drop, or raise --sites",
            ),
            known(
                "DEMO_DIRECTORY",
                Exit::Invalid,
                "`--out` holds files that no demo made, or another demo uses it, or it cannot be written.",
                "choose another directory with --out",
            ),
            known(
                "DEMO_PROCESS_ENDED",
                Exit::Failed,
                "One of the demo's processes ended by itself. The message holds the last line of its log; the \
whole is under `logs/`.",
                "read the end of that process's log",
            ),
            known(
                "DEMO_INTERRUPTED",
                Exit::Failed,
                "Ctrl-C. All processes of the demo are gone.",
                "run `veilsum demo` again; all processes it had started are gone",
            ),
        ],
    },
    Section {
        title: "Ours",
        words: &[known(
            "INTERNAL",
            Exit::Internal,
            "A bug in veilsum. The message names a file with what is needed to report it; it holds no \
argument and no data of yours.",
            "this is a bug; report it with the command and the log",
        )],
    },
];
