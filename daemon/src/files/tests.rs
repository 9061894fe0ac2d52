use veilsum_common::blob::BlobRef;
use veilsum_common::model::Source as _;

use super::*;

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names_in(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_secret_is_written_for_its_owner_alone_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tls.key");
    write_secret(&path, b"first").unwrap();
    write_secret(&path, b"second").unwrap();
    assert_eq!(mode_of(&path), 0o600);
    assert_eq!(read_secret(&path).unwrap().as_slice(), b"second");
    assert_eq!(
        names_in(directory.path()),
        ["tls.key"],
        "no temporary file is left"
    );
}

#[test]
fn a_secret_that_others_can_reach_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tls.key");
    write_secret(&path, b"secret").unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = read_secret(&path).unwrap_err();
        assert!(matches!(error, FileError::Exposed { mode: found, .. } if found == mode));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_name_that_must_be_free_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.key");
    create_secret(&path, b"first").unwrap();
    assert!(matches!(
        create_secret(&path, b"second"),
        Err(FileError::Exists { .. })
    ));
    assert!(matches!(
        create_atomic(&path, b"second"),
        Err(FileError::Exists { .. })
    ));
    assert_eq!(read_secret(&path).unwrap().as_slice(), b"first");
    assert_eq!(mode_of(&path), 0o600);
    assert_eq!(names_in(directory.path()), ["ca.key"]);
}

#[test]
fn a_failed_write_says_which_file_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing/file");
    assert!(matches!(
        write_atomic(&missing, b"x"),
        Err(FileError::Io {
            act: Act::Write,
            ..
        })
    ));
    assert!(matches!(
        write_atomic(Path::new("/"), b"x"),
        Err(FileError::NoName { .. })
    ));
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn what_is_not_a_short_regular_file_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        read(directory.path(), 10),
        Err(FileError::NotAFile { .. })
    ));
    assert!(matches!(
        read(&directory.path().join("none"), 10),
        Err(FileError::Io { act: Act::Read, .. })
    ));
    let path = directory.path().join("ten");
    write_atomic(&path, &[0; 10]).unwrap();
    assert_eq!(read(&path, 10).unwrap().len(), 10);
    assert!(matches!(
        read(&path, 9),
        Err(FileError::TooLong { limit_bytes: 9, .. })
    ));
}

#[test]
fn a_private_directory_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    private_directory(&path).unwrap();
    private_directory(&path).unwrap();
    assert_eq!(mode_of(&path), 0o700);
}

#[test]
fn a_draft_has_its_name_only_once_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("name");
    write_atomic(&path, b"old").unwrap();
    let mut draft = Draft::secret(directory.path()).unwrap();
    draft.write(b"ab").unwrap();
    draft.write(b"c").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(draft.blob(), BlobRef::of(b"abc"));
    assert_eq!(draft.read().unwrap().blob().unwrap(), BlobRef::of(b"abc"));
    draft.keep(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_eq!(mode_of(&path), 0o600);
    assert_eq!(names_in(directory.path()), ["name"]);
}

#[test]
fn a_draft_that_is_dropped_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut draft = Draft::secret(directory.path()).unwrap();
    draft.write(b"abc").unwrap();
    drop(draft);
    assert!(names_in(directory.path()).is_empty());
}

#[test]
fn a_file_is_read_anywhere_and_one_that_shrank_gives_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long");
    let bytes: Vec<u8> = (0..600_000u32).map(|k| k.to_le_bytes()[0]).collect();
    write_atomic(&path, &bytes).unwrap();
    let reading = Reading::open(&path).unwrap();
    assert_eq!(reading.blob().unwrap(), BlobRef::of(&bytes));
    let mut some = [0; 4];
    reading.read_exact_at(&mut some, 599_996).unwrap();
    assert_eq!(some, bytes[599_996..]);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(599_999)
        .unwrap();
    assert!(reading.read_exact_at(&mut some, 599_996).is_err());
    assert!(reading.blob().is_err());
}

#[test]
fn a_draft_keeps_the_holes_of_a_file() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (
        directory.path().join("holes"),
        directory.path().join("copy"),
    );
    let file = File::create(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"abc", 3 << 20).unwrap();
    let mut draft = Draft::secret(directory.path()).unwrap();
    draft.copy(&path).unwrap();
    assert_eq!(draft.blob(), Reading::open(&path).unwrap().blob().unwrap());
    draft.keep(&copy).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());
    let on_disk = fs::metadata(&copy).unwrap().blocks() * 512;
    assert!(on_disk < 1 << 20, "{on_disk}");
}

#[test]
fn an_unnamed_file_is_written_at_any_place_and_leaves_nothing_if_it_is_given_up() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let write = || {
        let mut file = Unnamed::public(&path).unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        file.write_all(b"def").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"abc").unwrap();
        file
    };
    drop(write());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    write().keep(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abcdef");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
