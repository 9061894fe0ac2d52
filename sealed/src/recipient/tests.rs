use super::*;
use crate::age::Container;

fn random(seed: u8) -> impl Entropy {
    let mut counter = 0_u64;
    move |out: &mut [u8]| {
        counter += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[seed]);
        hasher.update(&counter.to_le_bytes());
        hasher.finalize_xof().fill(out);
    }
}

fn identities() -> [Identity; 3] {
    [
        Identity::draw(&mut random(1)),
        Identity::draw_post_quantum(&mut random(2)),
        Identity::ssh(&SshIdentity::draw(&mut random(3))),
    ]
}

#[test]
fn every_kind_of_recipient_opens_what_is_sealed_to_it_and_nothing_else() {
    for (at, identity) in identities().into_iter().enumerate() {
        let to = [identity.recipient().unwrap()];
        let sealed = Container::seal(b"text", Lock::Recipients(&to), &mut random(9)).unwrap();
        let mut others: Vec<_> = identities().into();
        others.remove(at);
        let error = Container::open(&sealed, &others, 10).unwrap_err();
        assert!(matches!(error, Error::NotARecipient), "{error}");
        assert_eq!(*Container::open(&sealed, &[identity], 10).unwrap(), b"text");
    }
}

#[test]
fn keys_survive_their_text_form() {
    for identity in identities() {
        let recipient = identity.recipient().unwrap();
        let again: Recipient = recipient.to_string().parse().unwrap();
        assert_eq!(again, recipient);
        if let Some(text) = identity.expose() {
            let parsed = Identity::parse_file(&format!("# a comment\n\n {} \n", *text)).unwrap();
            assert_eq!(parsed[0].recipient().unwrap(), recipient);
        }
    }
}

#[test]
fn mistyped_keys_are_refused_and_never_quoted() {
    let secret = identities()[0].expose().unwrap();
    let public = identities()[0].recipient().unwrap().to_string();
    let post_quantum = identities()[1].recipient().unwrap().to_string();
    let last = |text: &str| {
        let end = if text.ends_with(['q', 'Q']) { 'p' } else { 'q' };
        format!("{}{end}", &text[..text.len() - 1])
    };
    for text in [
        &public[..40],
        &last(&public),
        &last(&post_quantum),
        "age1",
        "",
    ] {
        assert!(text.parse::<Recipient>().is_err(), "{text}");
    }
    for text in [
        &secret[..60],
        &last(&secret).to_uppercase(),
        &public,
        "",
        "#",
    ] {
        let error = Identity::parse_file(text).err().unwrap().to_string();
        assert!(
            !error.contains("AGE-SECRET") && !error.contains(&secret[20..40]),
            "{error}"
        );
    }
    let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 x".parse::<Recipient>();
    assert!(matches!(rsa, Err(Error::Key(text)) if text.contains("ssh-ed25519")));
}

#[test]
fn recipients_that_would_weaken_each_other_are_refused() {
    let [classic, post_quantum, ssh] = identities().map(|one| one.recipient().unwrap());
    let seal = |to: &[Recipient]| {
        let sealed = Container::seal(b"", Lock::Recipients(to), &mut random(9));
        sealed.map(|_| ())
    };
    let mixed = [post_quantum.clone(), classic.clone()];
    assert!(matches!(seal(&mixed), Err(Error::MixedRecipients)));
    assert!(matches!(seal(&[]), Err(Error::NoRecipients)));
    seal(&[classic.clone(), ssh]).unwrap();
    seal(&[post_quantum.clone(), post_quantum]).unwrap();
    let many = vec![classic; MAX_RECIPIENTS + 1];
    assert!(matches!(seal(&many), Err(Error::TooManyRecipients { .. })));
}

#[test]
fn a_weak_recipient_is_refused() {
    // the point of order one: every shared secret would be zero
    let weak = bech::encode("age", &[0; 32]).parse::<Recipient>().unwrap();
    let sealed = Container::seal(b"", Lock::Recipients(&[weak]), &mut random(9));
    assert!(matches!(sealed, Err(Error::Key(_))));
}

#[test]
fn a_passphrase_opens_and_another_does_not() {
    let passphrase = |text: &str| Passphrase::with_work(text.to_owned().into(), 4);
    let lock = passphrase("right");
    let sealed = Container::seal(b"text", Lock::Passphrase(&lock), &mut random(9)).unwrap();
    let open = |text| Container::open(&sealed, &[Identity::passphrase(passphrase(text))], 10);
    assert_eq!(*open("right").unwrap(), b"text");
    assert!(matches!(open("wrong"), Err(Error::NotARecipient)));
    assert_eq!(
        Identity::passphrase(lock).fingerprint().as_str(),
        "passphrase"
    );
}

#[test]
fn a_fingerprint_names_a_key_however_its_file_is_written() {
    let identity = Identity::draw(&mut random(1));
    let recipient = identity.recipient().unwrap();
    assert_eq!(identity.fingerprint(), recipient.fingerprint());
    assert_eq!(recipient.fingerprint().as_str().len(), 32);
    let ssh = Identity::ssh(&SshIdentity::draw(&mut random(3)));
    let commented = format!("{} somebody@somewhere", ssh.recipient().unwrap());
    let again: Recipient = commented.parse().unwrap();
    assert_eq!(again.fingerprint(), ssh.fingerprint());
}

#[test]
fn a_file_too_long_for_memory_is_refused_before_it_is_read() {
    let identity = [Identity::draw(&mut random(1))];
    let to = [identity[0].recipient().unwrap()];
    let sealed = Container::seal(&[0; 100], Lock::Recipients(&to), &mut random(9)).unwrap();
    let error = Container::open(&sealed, &identity, 99).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLong {
                len_bytes: 100,
                limit_bytes: 99
            }
        ),
        "{error}"
    );
}

#[test]
fn more_identities_than_are_tried_is_an_error_and_not_a_silent_cut() {
    let own = Identity::draw(&mut random(1));
    let to = [own.recipient().unwrap()];
    let sealed = Container::seal(b"", Lock::Recipients(&to), &mut random(9)).unwrap();
    let mut identities: Vec<_> = (0..MAX_IDENTITIES)
        .map(|_| Identity::draw(&mut random(2)))
        .collect();
    identities.push(own);
    let error = Container::open(&sealed, &identities, 10).unwrap_err();
    assert!(matches!(error, Error::Key(_)), "{error}");
    assert!(Container::open(&sealed, &identities[1..], 10).is_ok());
}
