//! Files that strangers or key holders changed: each change has its named error, and none makes us panic.

use proptest::prelude::*;

use super::*;
use crate::age::FileKey;
use crate::age::header::Header;
use crate::age::writer::Chunks;

/// Bytes of a chunk in the file.
const CHUNK: usize = 65_552;

/// Where the chunks begin: behind the header and the nonce.
fn chunks_start(file: &Vec<u8>) -> usize {
    let (_, end) = Header::read(file).unwrap();
    usize::try_from(end).unwrap() + 16
}

fn opened(world: &World, file: &Vec<u8>) -> Result<(), Error> {
    let opened = world.open(file, world.trusting())?;
    three()
        .iter()
        .try_for_each(|(name, _)| opened.tensor(name).map(|_| ()))
}

/// The same file with another plaintext: what somebody with the file key can make, so that every chunk opens.
pub(crate) fn remade(world: &World, file: &Vec<u8>, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (header, end) = Header::read(file).unwrap();
    let unlocked = crate::recipient::unlock(&header, &world.reader).unwrap();
    let mut text = Container::open(file, &world.reader, 1 << 24)
        .unwrap()
        .to_vec();
    change(&mut text);
    let end = usize::try_from(end).unwrap();
    let nonce: [u8; 16] = file[end..end + 16].try_into().unwrap();
    let mut out = file[..end + 16].to_vec();
    write_chunks(&unlocked.file_key, &nonce, &text, &mut out);
    out
}

fn write_chunks(key: &FileKey, nonce: &[u8; 16], text: &[u8], out: &mut Vec<u8>) {
    let mut chunks = Chunks::new(key, nonce, text.len() as u64);
    chunks.write(out, text).unwrap();
    chunks.finish(out).unwrap();
}

/// A sealed file with a literal header inside, for what no library would write.
fn raw(world: &World, header: &str, data_bytes: usize) -> Vec<u8> {
    let mut inside = (header.len() as u64).to_le_bytes().to_vec();
    inside.extend(header.as_bytes());
    inside.resize(inside.len() + data_bytes, 0);
    let recipients = world.recipients();
    Container::seal(&inside, Lock::Recipients(&recipients), &mut Counter(5)).unwrap()
}

#[test]
fn a_file_that_was_cut_is_truncated_wherever_it_was_cut() {
    let world = world();
    let file = world.seal(&three(), true);
    let start = chunks_start(&file);
    let borders = (0..).map(|n| start + n * CHUNK);
    for border in borders.take_while(|border| *border < file.len()) {
        let error = opened(&world, &file[..border].to_vec()).unwrap_err();
        assert!(
            matches!(error, Error::Truncated { .. }),
            "{border}: {error}"
        );
        for cut in [border - 1, border + 1, border + 17] {
            let error = opened(&world, &file[..cut].to_vec()).unwrap_err();
            let named = matches!(error, Error::Truncated { .. } | Error::ChunkRejected { .. });
            assert!(named, "{cut}: {error}");
        }
    }
}

#[test]
fn chunks_that_change_places_are_rejected() {
    let world = world();
    let mut file = world.seal(&three(), true);
    let start = chunks_start(&file);
    let (first, second) = file[start..].split_at_mut(2 * CHUNK);
    first[CHUNK..].swap_with_slice(&mut second[..CHUNK]);
    let error = opened(&world, &file).unwrap_err();
    assert!(
        matches!(error, Error::ChunkRejected { index: 1 }),
        "{error}"
    );
}

#[test]
fn chunks_of_another_file_for_the_same_reader_are_rejected() {
    let world = world();
    let mut file = world.seal(&three(), true);
    let recipients = world.recipients();
    let other = vec![0; 200_000];
    let other = Container::seal(&other, Lock::Recipients(&recipients), &mut Counter(9)).unwrap();
    let (start, from) = (chunks_start(&file), chunks_start(&other));
    file[start + CHUNK..start + 2 * CHUNK].copy_from_slice(&other[from + CHUNK..from + 2 * CHUNK]);
    let error = opened(&world, &file).unwrap_err();
    assert!(
        matches!(error, Error::ChunkRejected { index: 1 }),
        "{error}"
    );
}

#[test]
fn a_flipped_bit_is_noticed_in_every_part_of_a_file() {
    let world = world();
    let file = world.seal(&three(), true);
    let start = chunks_start(&file);
    let flipped = |at: usize| {
        let mut file = file.clone();
        file[at] ^= 1;
        opened(&world, &file).unwrap_err()
    };
    let mac = start - 16 - 20;
    assert!(matches!(flipped(mac), Error::AgeHeaderChanged));
    let share = file.windows(6).position(|six| six == b"X25519").unwrap() + 10;
    assert!(matches!(flipped(share), Error::NotARecipient));
    let nonce = start - 1;
    assert!(matches!(flipped(nonce), Error::ChunkRejected { .. }));
    let head = start + 40;
    assert!(matches!(flipped(head), Error::ChunkRejected { index: 0 }));
    let data = start + CHUNK + 5;
    assert!(matches!(flipped(data), Error::ChunkRejected { index: 1 }));
    let last = file.len() - 1;
    assert!(matches!(flipped(last), Error::ChunkRejected { index: 4 }));
}

#[test]
fn a_stanza_that_was_added_or_taken_out_is_noticed() {
    let world = world();
    let other = Identity::draw(&mut Counter(3000)).recipient().unwrap();
    let [own] = world.recipients();
    let file = seal_to(&[own, other], &three(), None);
    let text = String::from_utf8_lossy(&file[..chunks_start(&file) - 16]).into_owned();
    let second = text.match_indices("-> ").nth(1).unwrap().0;
    let end = text.find("--- ").unwrap();
    let mut without = file.clone();
    without.drain(second..end);
    let mut with = file.clone();
    with.splice(end..end, b"-> grease\n\n".iter().copied());
    for changed in [without, with] {
        let error = opened(&world, &changed).unwrap_err();
        assert!(matches!(error, Error::AgeHeaderChanged), "{error}");
    }
}

#[test]
fn what_is_no_sealed_file_is_said_to_be_none() {
    let world = world();
    let none = Vec::<(String, safetensors::tensor::TensorView<'_>)>::new();
    let plain = safetensors::serialize(none, None).unwrap();
    let armoured = b"-----BEGIN AGE ENCRYPTED FILE-----\n".to_vec();
    for file in [Vec::new(), plain, armoured, b"age-encryption.org".to_vec()] {
        let error = world.open(&file, Verify::Anybody).err().unwrap();
        assert!(matches!(error, Error::NotSealed), "{error}");
    }
    let file = b"age-encryption.org/v2\n-> X25519 a\n\n--- a\n".to_vec();
    let error = world.open(&file, Verify::Anybody).err();
    assert!(matches!(error, Some(Error::Version)));
}

#[test]
fn a_header_that_readers_could_disagree_about_is_refused() {
    let world = world();
    let tensor = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    let open = |header: &str, data_bytes| {
        let file = raw(&world, header, data_bytes);
        world.open(&file, Verify::Anybody).map(|_| ())
    };
    open(&format!(r#"{{"x":{tensor}}}"#), 1).unwrap();
    let error = open(&format!(r#"{{"x":{tensor},"x":{tensor}}}"#), 1).unwrap_err();
    assert!(
        matches!(&error, Error::DuplicateKey { key } if key == "x"),
        "{error}"
    );
    let twice = format!(r#"{{"__metadata__":{{"k":"1","k":"2"}},"x":{tensor}}}"#);
    let error = open(&twice, 1).unwrap_err();
    assert!(
        matches!(&error, Error::DuplicateKey { key } if key == "k"),
        "{error}"
    );
    let hole = r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    let error = open(hole, 2).unwrap_err();
    assert!(
        matches!(&error, Error::Hole { tensor } if tensor == "x"),
        "{error}"
    );
    for data_bytes in [0, 2] {
        let error = open(&format!(r#"{{"x":{tensor}}}"#), data_bytes).unwrap_err();
        assert!(matches!(error, Error::LengthMismatch { .. }), "{error}");
    }
    let unknown = r#"{"x":{"dtype":"F7","shape":[1],"data_offsets":[0,1]}}"#;
    let error = open(unknown, 1).unwrap_err();
    assert!(
        matches!(&error, Error::DtypeUnknown { tensor, .. } if tensor == "x"),
        "{error}"
    );
    let error = open("{", 1).unwrap_err();
    assert!(matches!(error, Error::HeaderInvalid(_)), "{error}");
}

#[test]
fn a_length_word_that_lies_is_refused_before_anything_is_allocated_for_it() {
    let world = world();
    let recipients = world.recipients();
    let seal = |word: u64| {
        let inside = [&word.to_le_bytes()[..], b"{}"].concat();
        Container::seal(&inside, Lock::Recipients(&recipients), &mut Counter(5)).unwrap()
    };
    let error = world.open(&seal(u64::MAX), Verify::Anybody).err().unwrap();
    assert!(matches!(error, Error::HeaderTooLarge { .. }), "{error}");
    let error = world.open(&seal(3), Verify::Anybody).err().unwrap();
    assert!(matches!(error, Error::HeaderInvalid(_)), "{error}");
}

#[test]
fn a_reader_that_changes_the_contents_is_caught_by_the_digests() {
    let world = world();
    let file = world.seal(&three(), true);
    let last = |text: &mut Vec<u8>| *text.last_mut().unwrap() ^= 1;
    let changed = remade(&world, &file, last);
    let opened = world.open(&changed, world.trusting()).unwrap();
    assert!(opened.tensor("a").is_ok());
    for error in [
        opened.tensor("b").unwrap_err(),
        opened.rows("b", 0..1).unwrap_err(),
        opened.verify_all(|_| ()).unwrap_err(),
        opened.copy_to(|_| Ok::<(), Error>(())).unwrap_err(),
    ] {
        let named = matches!(&error, Error::ManifestMismatch { what } if what == "b");
        assert!(named, "{error}");
    }
    // whoever says that the encryption is enough gets what is there
    let opened = world.open(&changed, Verify::AeadOnly).unwrap();
    assert_ne!(opened.tensor("b").unwrap().bytes, bytes(70_001, 2));
}

#[test]
fn tensors_that_change_places_are_caught_by_the_digests() {
    let world = world();
    let two = [("a", bytes(5000, 1)), ("b", bytes(5000, 2))];
    let file = world.seal(&two, true);
    let changed = remade(&world, &file, |text| {
        let start = text.len() - 10_000;
        let (a, b) = text[start..].split_at_mut(5000);
        a.swap_with_slice(b);
    });
    let opened = world.open(&changed, world.trusting()).unwrap();
    for name in ["a", "b"] {
        let error = opened.tensor(name).unwrap_err();
        let named = matches!(&error, Error::ManifestMismatch { what } if what == name);
        assert!(named, "{error}");
    }
}

#[test]
fn names_that_change_places_are_caught_when_the_file_is_opened() {
    let world = world();
    let file = world.seal(&[("a", bytes(500, 1)), ("b", bytes(500, 2))], true);
    let changed = remade(&world, &file, |text| {
        let find = |what: &[u8]| text.windows(what.len()).position(|found| found == what);
        let (a, b) = (find(br#","a":{"#).unwrap(), find(br#","b":{"#).unwrap());
        (text[a + 2], text[b + 2]) = (b'b', b'a');
    });
    let error = world.open(&changed, world.trusting()).err().unwrap();
    let named = matches!(&error, Error::ManifestMismatch { what } if what == "a");
    assert!(named, "{error}");
}

#[test]
fn metadata_that_a_reader_changed_is_caught_when_the_file_is_opened() {
    let world = world();
    let file = world.seal(&three(), true);
    let changed = remade(&world, &file, |text| {
        let at = text.windows(4).position(|four| four == b"\"pt\"");
        let at = at.unwrap();
        text[at + 1..at + 3].copy_from_slice(b"np");
    });
    let error = world.open(&changed, world.trusting()).err().unwrap();
    let named = matches!(&error, Error::ManifestMismatch { what } if what == "the metadata");
    assert!(named, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_change_of_a_file_panics_or_passes(at: prop::sample::Index, change in 1_u8.., cut: prop::sample::Index) {
        let world = world();
        let file = world.seal(&[("a", bytes(3000, 1)), ("b", bytes(90_000, 2))], true);
        let all = |file: &Vec<u8>| {
            let opened = world.open(file, world.trusting())?;
            opened.tensor("a")?;
            opened.tensor("b")
        };
        prop_assert!(all(&file).is_ok());
        let mut changed = file.clone();
        changed[at.index(file.len())] ^= change;
        prop_assert!(all(&changed).is_err());
        prop_assert!(all(&file[..cut.index(file.len())].to_vec()).is_err());
    }

    #[test]
    fn no_change_by_a_reader_panics_or_gives_other_tensors(at: prop::sample::Index, change in 1_u8..) {
        let world = world();
        let file = world.seal(&[("a", bytes(300, 1)), ("b", bytes(200, 2))], true);
        let changed = remade(&world, &file, |text| {
            let at = at.index(text.len());
            text[at] ^= change;
        });
        let read = || {
            let opened = world.open(&changed, world.trusting())?;
            Ok::<_, Error>((opened.tensor("a")?.bytes, opened.tensor("b")?.bytes))
        };
        // a change that means nothing, such as another kind of space, may pass
        if let Ok(found) = read() {
            prop_assert!(found == (bytes(300, 1), bytes(200, 2)));
        }
    }

    #[test]
    fn no_text_makes_the_age_header_panic(text in "(age-encryption.org/v1\n)?(-> [!-~]{1,9}( [!-~]{0,9}){0,2}\n[A-Za-z0-9+/=]{0,70}\n){0,3}(---( [A-Za-z0-9+/]{0,44})?\n?)?") {
        drop(Outline::read(&text.into_bytes()));
    }
}
