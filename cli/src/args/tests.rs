use clap::CommandFactory as _;

use super::*;

const RUN: &str = "run_aaaaaaaaaaaaaaaaaaaaaaaaaa";

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn a_daemon_runs_with_and_without_its_verb() {
    let config = |line| match parse(line).unwrap().command {
        Command::Participant(Participant {
            command: Some(ParticipantCommand::Run(run)),
            ..
        }) => run.config,
        Command::Participant(Participant { command: None, run }) => run.config,
        Command::Coordinator(Coordinator {
            command: None,
            config,
            ..
        }) => config,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        config("veilsum participant --config a.toml"),
        PathBuf::from("a.toml")
    );
    assert_eq!(
        config("veilsum participant run --config a.toml"),
        PathBuf::from("a.toml")
    );
    assert_eq!(
        config("veilsum participant"),
        PathBuf::from("/etc/veilsum/site.toml")
    );
    assert_eq!(
        config("veilsum coordinator --config c.toml --json"),
        PathBuf::from("c.toml")
    );
}

#[test]
fn json_may_stand_anywhere() {
    for line in [
        "veilsum --json demo",
        "veilsum demo --json",
        "veilsum participant id --json",
        "veilsum ca init --json",
    ] {
        assert!(parse(line).unwrap().json, "{line}");
    }
}

#[test]
fn a_model_version_is_a_number_or_a_word() {
    let check =
        |text: &str, expected: Option<Version>| assert_eq!(text.parse().ok(), expected, "{text}");
    check("last", Some(Version::Last));
    check("0", Some(Version::Round(0)));
    check("best:accuracy", Some(Version::Best("accuracy".into())));
    check("best:", None);
    check("first", None);
    check("-1", None);
}

#[test]
fn an_override_is_toml_and_else_text() {
    let value = |text: &str| text.parse::<Override>().unwrap().value;
    assert_eq!(value("lr=0.05"), toml::Value::Float(0.05));
    assert_eq!(value("epochs=2"), toml::Value::Integer(2));
    assert_eq!(value("name=resnet"), toml::Value::String("resnet".into()));
    assert_eq!(value("name=a=b"), toml::Value::String("a=b".into()));
    assert_eq!(
        value("name=1\nother=2"),
        toml::Value::String("1\nother=2".into())
    );
    assert_eq!("a.b=1".parse::<Override>().unwrap().path, ["a", "b"]);
    assert!("lr".parse::<Override>().is_err());
    assert!("=1".parse::<Override>().is_err());
}

#[test]
fn a_request_id_is_a_uuid() {
    let line = |id: &str| {
        format!(
            "veilsum run cancel {RUN} --at https://a:1 --ca a --cert b --key c --request-id {id}"
        )
    };
    assert!(parse(&line("0190163d-8694-739b-aea5-966c26f8ad91")).is_ok());
    assert!(parse(&line("again")).is_err());
}

#[test]
fn what_cannot_be_is_a_usage_error() {
    let lines = [
        "veilsum demo --drop 0.2 --plain",
        "veilsum demo --rounds 0",
        "veilsum ca issue a.csr --role king",
        "veilsum ca issue a.csr --days 0",
        "veilsum participant csr Site-1",
        "veilsum participant roster-hash",
        "veilsum participant roster-hash 12ab",
        "veilsum run wait run_1",
    ];
    for line in lines {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}
