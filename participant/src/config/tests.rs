use std::fs;

use veilsum_common::Span;
use veilsum_daemon::config::ConfigError as LoadError;
use veilsum_engine::policy::{Approval, PeerTrust};

use super::*;

const SAMPLE: &str = include_str!("../../../docs/config/site.toml");

const MINIMAL: &str = r#"
schema = "veilsum.site/v1"
coordinator = "https://127.0.0.1:8443"
name = "site-1"
organisation = "One"
data_dir = "data"
approve = { mode = "all" }
[tls]
ca = "ca.pem"
cert = "site.pem"
key = "tls.key"
[trainer]
command = ["train"]
"#;

const ID: &str = "8f14e45fceea167a5a36dedd4bea2543f15c2b1bd4a6d6b1f6e1c3ab1d5c9e70";

struct Loaded {
    dir: PathBuf,
    config: Result<Config, ConfigError>,
}

fn load_with(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.toml");
    fs::write(&path, text).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Loaded {
        dir: dir.path().into(),
        config: Config::load(&path, variables),
    }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &[]).config
}

/// The minimal file with a line more, in the outermost table or in a section.
fn minimal_with(more: &str) -> String {
    match more.starts_with('[') {
        true => format!("{MINIMAL}\n{more}"),
        false => format!("{more}\n{MINIMAL}"),
    }
}

/// Refused for this key; the whole message.
fn refused(text: &str, expected: &str) -> String {
    match load(text).unwrap_err() {
        error @ ConfigError::Refused { key, .. } => {
            assert_eq!(key, expected);
            error.to_string()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_sample_parses_and_warns_of_nothing() {
    let config = load(SAMPLE).unwrap();
    assert_eq!(config.warnings(), []);
    assert_eq!(config.coordinator, "https://coord.example.org:8443");
    assert_eq!(config.name.as_str(), "hospital-a");
    assert_eq!(config.hook.command, ["python", "train.py"]);
    assert!(matches!(config.policy.peers, PeerTrust::Roster(_)));
}

/// Each key with a default says in the sample what it is.
#[test]
fn the_samples_values_are_the_defaults_it_names() {
    let Loaded { dir, config } = load_with(MINIMAL, &[]);
    let (config, sample) = (config.unwrap(), load(SAMPLE).unwrap());
    assert_eq!(config.policy.min_cohort, sample.policy.min_cohort);
    assert_eq!(config.policy.bits_min, sample.policy.bits_min);
    assert_eq!(
        config.policy.max_update_bytes,
        sample.policy.max_update_bytes
    );
    assert_eq!(config.policy.metrics, None);
    assert_eq!(config.policy.peers, PeerTrust::None);
    assert_eq!(config.hook.timeout, sample.hook.timeout);
    assert_eq!(config.hook.timeout, Span::from_secs(1800));
    assert!(config.hook.env.is_empty());
    assert_eq!(config.log, Log::default());
    assert_eq!(config.marker_dir, dir.join("data-marker"));
    assert_eq!(
        sample.marker_dir,
        Path::new("/var/lib/veilsum-participant-marker")
    );
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let Loaded { dir, config } = load_with(MINIMAL, &[]);
    let config = config.unwrap();
    assert_eq!(config.data_dir, dir.join("data"));
    assert_eq!(
        config.tls,
        Tls {
            ca: dir.join("ca.pem"),
            cert: dir.join("site.pem"),
            key: dir.join("tls.key")
        }
    );
    assert_eq!(config.hook.directory, dir);
    assert_eq!(config.identity_key, dir.join("identity.key"));
    assert_eq!(config.store_key, dir.join("store.key"));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_key_that_was_meant() {
    for (more, found, meant, place) in [
        (
            "[policy]\nmin_cohrt = 5",
            "min_cohrt",
            "min_cohort",
            ":16:1",
        ),
        ("data_dr = \"x\"", "data_dr", "data_dir", ":1:1"),
        ("[log]\nfromat = \"json\"", "fromat", "format", ":16:1"),
    ] {
        let error = load(&minimal_with(more)).unwrap_err().to_string();
        assert!(error.contains(&format!("`{found}`")), "{error}");
        assert!(
            error.contains(&format!("did you mean `{meant}`")),
            "{error}"
        );
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn there_is_no_key_to_switch_masking_off() {
    for key in [
        "masking = false",
        "secagg = false",
        "plain = true",
        "[secagg]\nrequired = false",
    ] {
        assert!(load(&minimal_with(key)).is_err());
    }
}

#[test]
fn every_required_key_is_missed() {
    for line in MINIMAL.lines().filter(|line| line.contains('=')) {
        let error = load(&MINIMAL.replace(line, "")).unwrap_err();
        let key = line.split_once(' ').unwrap().0;
        assert!(error.to_string().contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn a_cohort_of_two_is_refused_with_the_reason() {
    for found in [0, 1, 2, 129] {
        let message = refused(
            &minimal_with(&format!("[policy]\nmin_cohort = {found}")),
            "policy.min_cohort",
        );
        assert!(
            message.contains(&format!("is {found}, possible is 3 to 128")),
            "{message}"
        );
        assert!(message.contains("read the other's update"), "{message}");
        assert!(message.contains("site.toml:16:"), "{message}");
    }
}

#[test]
fn a_cohort_of_three_or_four_is_accepted_with_a_warning() {
    let pinned = format!("[peers]\nroster = \"{ID}\"\n");
    for (min_cohort, warned) in [(3, true), (4, true), (5, false), (128, false)] {
        let config = load(&minimal_with(&format!(
            "{pinned}[policy]\nmin_cohort = {min_cohort}"
        )))
        .unwrap();
        assert_eq!(config.policy.min_cohort, min_cohort);
        let expected = warned.then_some(ConfigWarning::SmallCohort { min_cohort });
        assert_eq!(config.warnings(), Vec::from_iter(expected));
    }
}

#[test]
fn without_pins_the_daemon_starts_and_says_that_it_joins_nothing() {
    let config = load(MINIMAL).unwrap();
    assert_eq!(config.policy.peers, PeerTrust::None);
    assert_eq!(config.warnings(), [ConfigWarning::NoPeers]);
    assert!(config.warnings()[0].to_string().contains("joins no epoch"));
}

#[test]
fn peers_are_pinned_by_ids_or_by_roster_and_not_by_both() {
    let ids = |count: usize| {
        (0..count)
            .map(|i| format!("\"{i:064x}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let config = load(&minimal_with(&format!("[peers]\nids = [{}]", ids(5)))).unwrap();
    assert!(matches!(&config.policy.peers, PeerTrust::Ids(pinned) if pinned.len() == 5));
    assert_eq!(config.warnings(), []);
    let few = load(&minimal_with(&format!("[peers]\nids = [{}]", ids(4)))).unwrap();
    assert_eq!(
        few.warnings(),
        [ConfigWarning::FewPeers { have: 4, need: 5 }]
    );
    refused(
        &minimal_with(&format!("[peers]\nids = [{}]\nroster = \"{ID}\"", ids(5))),
        "peers.roster",
    );
    refused(&minimal_with("[peers]\nids = []"), "peers.ids");
    for bad in ["abc", &ID[1..], &format!("{ID}0"), &ID.replace('8', "g")] {
        let message = refused(
            &minimal_with(&format!("[peers]\nids = [\"{bad}\"]")),
            "peers.ids",
        );
        assert!(message.contains("64 hexadecimal digits"), "{message}");
        refused(
            &minimal_with(&format!("[peers]\nroster = \"{bad}\"")),
            "peers.roster",
        );
    }
}

#[test]
fn studies_are_approved_all_or_by_digest() {
    let with = |approve: &str| MINIMAL.replace("{ mode = \"all\" }", approve);
    assert_eq!(load(MINIMAL).unwrap().policy.approve, Approval::All);
    let config = load(&with(&format!(
        "{{ mode = \"digest\", studies = [\"{ID}\"] }}"
    )))
    .unwrap();
    assert_eq!(
        config.policy.approve,
        Approval::Studies([ID.parse().unwrap()].into())
    );
    let none = load(&with("{ mode = \"digest\" }")).unwrap();
    assert!(none.warnings().contains(&ConfigWarning::NoStudies));
    refused(
        &with("{ mode = \"digest\", studies = [\"sha256:00\"] }"),
        "approve.studies",
    );
    refused(&with("{ mode = \"all\", studies = [] }"), "approve.studies");
    let error = load(&with("{ mode = \"manual\" }")).unwrap_err();
    assert!(
        matches!(&error, ConfigError::Load(load) if matches!(**load, LoadError::Unknown { .. })),
        "{error}"
    );
}

#[test]
fn the_coordinator_is_an_https_origin_with_a_port() {
    let with = |url: &str| MINIMAL.replace("https://127.0.0.1:8443", url);
    for (typed, checked) in [
        (
            "https://coord.example.org:8443",
            "https://coord.example.org:8443",
        ),
        (
            "https://coord.example.org:443/",
            "https://coord.example.org:443",
        ),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ] {
        assert_eq!(load(&with(typed)).unwrap().coordinator, checked);
    }
    for typed in [
        "http://coord.example.org:8443",
        "coord.example.org:8443",
        "https://coord.example.org",
        "https://coord.example.org:99999",
        "https://coord.example.org:8443/runs",
        "https://coord.example.org:8443/?a=b",
        "https://user@coord.example.org:8443",
        "https://:8443",
        "",
    ] {
        let message = refused(&with(typed), "coordinator");
        assert!(message.contains("https://HOST:PORT"), "{message}");
    }
}

#[test]
fn sizes_are_whole_numbers_with_a_binary_unit() {
    for (text, bytes) in [
        ("0 B", 0),
        ("512B", 512),
        ("64 KiB", 65_536),
        ("500 MiB", 524_288_000),
        ("2 GiB", 2_147_483_648),
        ("1 TiB", 1_099_511_627_776),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        let config = load(&minimal_with(&format!("[policy]\nmax_update = \"{text}\""))).unwrap();
        assert_eq!(config.policy.max_update_bytes, bytes);
        assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
    }
    for text in [
        "", "2", "GiB", "2 GB", "2 gib", "-1 B", "1.5 GiB", "2 GiB ", "2 Gi B",
    ] {
        assert!(
            matches!(text.parse::<ByteSize>(), Err(SizeError::Form { .. })),
            "{text}"
        );
    }
    assert!(matches!(
        "99999999 TiB".parse::<ByteSize>(),
        Err(SizeError::TooLarge { .. })
    ));
    let error = load(&minimal_with("[policy]\nmax_update = \"2 GB\""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("2 GiB") && error.contains(":16:"), "{error}");
}

#[test]
fn the_marker_lies_outside_the_data_directory() {
    for inside in ["data", "data/marker", "./x/../data/marker"] {
        refused(
            &minimal_with(&format!("marker_dir = \"{inside}\"")),
            "marker_dir",
        );
    }
    for outside in ["data-marker", "data/../marker", "/elsewhere"] {
        load(&minimal_with(&format!("marker_dir = \"{outside}\""))).unwrap();
    }
    refused(
        &MINIMAL.replace("data_dir = \"data\"", "data_dir = \"/\""),
        "data_dir",
    );
}

#[test]
fn the_trainer_needs_a_command_and_a_time() {
    for command in ["[]", "[\"\"]", "[\"\", \"x\"]"] {
        refused(&MINIMAL.replace("[\"train\"]", command), "trainer.command");
    }
    refused(&format!("{MINIMAL}timeout = \"0s\""), "trainer.timeout");
    let error = load(&format!("{MINIMAL}timeout = \"30\""))
        .unwrap_err()
        .to_string();
    assert!(error.contains("500ms"), "{error}");
    let config = load(&format!(
        "{MINIMAL}timeout = \"90s\"\nenv = [\"CUDA_VISIBLE_DEVICES\", \"_x1\"]"
    ))
    .unwrap();
    assert_eq!(config.hook.timeout, Span::from_secs(90));
    assert_eq!(config.hook.env, ["CUDA_VISIBLE_DEVICES", "_x1"]);
    for name in ["", "1X", "A=B", "VEILSUM_ROUND", "A B"] {
        refused(&format!("{MINIMAL}env = [\"{name}\"]"), "trainer.env");
    }
}

#[test]
fn texts_have_bounds() {
    let schema = MINIMAL.replace("site/v1", "site/v2");
    assert!(refused(&schema, "schema").contains("veilsum.site/v1"));
    for organisation in ["", "   ", "a\\nb", &"x".repeat(256)] {
        refused(
            &MINIMAL.replace("\"One\"", &format!("\"{organisation}\"")),
            "organisation",
        );
    }
    assert!(
        load(&MINIMAL.replace("site-1", "Site 1"))
            .unwrap_err()
            .to_string()
            .contains("site name")
    );
    for bits in [0, 3, 33] {
        let message = refused(
            &minimal_with(&format!("[policy]\nbits_min = {bits}")),
            "policy.bits_min",
        );
        assert!(message.contains("4 to 32"), "{message}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_errors_name_the_variable() {
    let loaded = load_with(
        MINIMAL,
        &[
            ("VEILSUM_POLICY__MIN_COHORT", "7"),
            ("VEILSUM__NAME", "other"),
        ],
    );
    let config = loaded.config.unwrap();
    assert_eq!(
        (config.policy.min_cohort, config.name.as_str()),
        (7, "other")
    );
    let error = load_with(MINIMAL, &[("VEILSUM_POLICY__MIN_COHORT", "2")])
        .config
        .unwrap_err();
    assert!(
        error.to_string().contains("VEILSUM_POLICY__MIN_COHORT"),
        "{error}"
    );
}

#[test]
fn no_file_means_no_configuration() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Config::load(&dir.path().join("site.toml"), []).is_err());
}
