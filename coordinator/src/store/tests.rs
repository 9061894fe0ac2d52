use super::*;

const RUN: RunId = RunId::from_bytes([7; 16]);

#[test]
fn a_streams_name_is_shown_and_parsed() {
    let run = RUN.to_string();
    let check = |stream: StreamId, name: String| {
        assert_eq!(stream.to_string(), name);
        assert_eq!(name.parse(), Ok(stream));
    };
    check(StreamId::run(RUN), format!("run/{run}"));
    check(StreamId::epoch(RUN, 3), format!("epoch/{run}/3"));
    check(
        StreamId::round(RUN, 3, u64::MAX),
        format!("round/{run}/3-18446744073709551615"),
    );
}

#[test]
fn any_other_text_is_no_streams_name() {
    let run = RUN.to_string();
    let wrong = [
        String::new(),
        "run".to_owned(),
        "run/".to_owned(),
        "registry".to_owned(),
        format!("run/{run}/"),
        format!("runs/{run}"),
        format!("epoch/{run}"),
        format!("epoch/{run}/-1"),
        format!("epoch/{run}/03"),
        format!("epoch/{run}/+3"),
        format!("epoch/{run}/18446744073709551616"),
        format!("round/{run}/3"),
        format!("round/{run}/3-"),
        format!("round/{run}/3-4-5"),
        format!(" run/{run}"),
    ];
    for text in wrong {
        assert_eq!(
            text.parse::<StreamId>(),
            Err(ParseStreamIdError),
            "{text:?}"
        );
    }
}

#[test]
fn an_entrys_payload_is_not_shown() {
    let entry = conformance::entry(b"hunter2", Some("site-1"));
    let shown = format!("{entry:?}");
    assert!(
        shown.contains("payload_bytes: 7") && shown.contains("site-1"),
        "{shown}"
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("104"),
        "{shown}"
    );
}
