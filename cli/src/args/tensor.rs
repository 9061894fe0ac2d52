//! What is typed after `veilsum tensor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where keys, lists and the access log are by default.
#[derive(Clone, Debug, Args)]
pub(crate) struct Home {
    /// Directory of keys, signers, recipients and the access log
    #[arg(long, env = "VEILSUM_SEALED_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TensorCommand {
    /// Make an identity that opens files and a key that signs them
    Keygen(Keygen),
    /// Encrypt a safetensors file to recipients, and sign it
    Seal(Seal),
    /// Decrypt a sealed file to a plain safetensors file, once its sender is proved
    Open(Open),
    /// Show what a sealed file is: without a key its outside, with one its tensors and who vouches for them
    Inspect(Inspect),
    /// Check everything about a sealed file, every tensor included, and write nothing
    Verify(Verify),
}

/// Makes keys; none that is there already is replaced.
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Name under which you sign, as others will list it; for a site its SPIFFE ID
    pub name: String,
    /// Make the identity post-quantum (ML-KEM-768 with X25519); readers with age need version 1.3
    #[arg(long)]
    pub post_quantum: bool,
    #[command(flatten)]
    pub home: Home,
}

#[derive(Debug, Args)]
pub(crate) struct Seal {
    /// Safetensors file; `-` is standard input
    pub file: PathBuf,
    /// Who may open it: age1…, age1pq1…, ssh-ed25519 AAAA…, or a name from recipients.toml; may be repeated
    #[arg(
        short,
        long = "recipient",
        value_name = "R",
        required_unless_present = "passphrase_file",
        conflicts_with = "passphrase_file"
    )]
    pub recipients: Vec<String>,
    /// Lock it with the passphrase in this file (mode 0600) instead
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Where it goes; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What it is for; readers can insist on it
    #[arg(
        long,
        default_value = "",
        value_name = "TEXT",
        hide_default_value = true
    )]
    pub purpose: String,
    /// Key that signs it, in the form of OpenSSH (Ed25519) [default: the home directory's]
    #[arg(long, value_name = "KEY", requires = "sender")]
    pub signer: Option<PathBuf>,
    /// Name of the signer [default: that of keygen]
    #[arg(long, value_name = "NAME")]
    pub sender: Option<String>,
    /// Do not sign it: anybody who knows the recipients could have made it
    #[arg(long, conflicts_with_all = ["signer", "sender", "purpose"])]
    pub unsigned: bool,
    #[command(flatten)]
    pub home: Home,
}

/// Keys to open with, and what must be true of a file.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reader {
    /// Identity to open with: an age identity file or an OpenSSH key; may be repeated [default: the home directory's]
    #[arg(short, long = "identity", value_name = "FILE")]
    pub identities: Vec<PathBuf>,
    /// Open with the passphrase in this file (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Signers that you trust, as an allowed_signers file of OpenSSH [default: the home directory's]
    #[arg(long, value_name = "FILE")]
    pub signers: Option<PathBuf>,
    /// The purpose that it must be for
    #[arg(long, value_name = "TEXT")]
    pub purpose: Option<String>,
    /// Whoever made it, and for whomever: also read what is not signed
    #[arg(long, conflicts_with_all = ["signers", "purpose"])]
    pub any_sender: bool,
    #[command(flatten)]
    pub home: Home,
}

#[derive(Debug, Args)]
pub(crate) struct Open {
    /// Sealed file
    pub file: PathBuf,
    /// Where the safetensors file goes, with mode 0600; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    pub reader: Reader,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Sealed file
    pub file: PathBuf,
    /// Write the signed manifest to FILE and its signature to FILE.sig, for ssh-keygen -Y verify
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Show only what is visible without a key
    #[arg(long, conflicts_with = "manifest")]
    pub outside: bool,
    #[command(flatten)]
    pub reader: Reader,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Sealed file
    pub file: PathBuf,
    #[command(flatten)]
    pub reader: Reader,
}
