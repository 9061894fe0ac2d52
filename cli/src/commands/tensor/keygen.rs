//! `veilsum tensor keygen`: an identity that opens files and a key that signs them, made where they stay.

use serde_json::json;
use veilsum_daemon::{entropy, files};
use veilsum_sealed::{Identity, SshIdentity};
use zeroize::Zeroizing;

use super::home::Home;
use crate::args::tensor::Keygen;
use crate::error::Error;
use crate::render::Output;

pub(super) fn run(asked: &Keygen) -> Result<Output, Error> {
    let name = &asked.name;
    veilsum_sealed::manifest::check_name(name)
        .map_err(|error| super::sealed(name.as_ref(), error))?;
    let home = Home::of(&asked.home)?;
    home.make()?;
    let entropy = &mut entropy::fill;
    let identity = if asked.post_quantum {
        Identity::draw_post_quantum(entropy)
    } else {
        Identity::draw(entropy)
    };
    let signer = SshIdentity::draw(entropy);
    let recipient = identity
        .recipient()
        .expect("a fresh identity has a public half");
    let fingerprint = identity.fingerprint();
    let secret = identity.expose().expect("a fresh identity has a text form");
    let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", *secret));
    files::create_secret(&home.identity(), text.as_bytes())?;
    let text = signer.expose(name, entropy);
    files::create_secret(&home.signer(), text.as_bytes())?;
    let public = format!("{} {name}", signer.public());
    let trusted = format!("{name} {}", signer.public());
    for (path, text) in [
        (home.signer_public(), &public),
        (home.name(), name),
        (home.signers(), &trusted),
    ] {
        files::create_atomic(&path, format!("{text}\n").as_bytes())?;
    }
    let home = home.path().display().to_string();
    Ok(Output {
        data: json!({
            "home": home,
            "recipient": recipient.to_string(),
            "fingerprint": fingerprint.as_str(),
            "name": name,
            "signer": signer.public().to_string(),
        }),
        text: format!("home         {home}\nrecipient    {recipient}\nfingerprint  {fingerprint}\nsigner       {trusted}"),
        next: vec![
            "give the recipient to whoever seals files for you, and the signer's line to whoever opens yours: they add it to their \
             `signers`"
                .to_owned(),
        ],
    })
}
