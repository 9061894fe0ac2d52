use super::*;

fn check(filter: Option<&str>, expected: &str) {
    assert_eq!(directives(filter).unwrap().to_string(), expected);
}

#[test]
fn a_bare_level_is_about_veilsum_and_leaves_the_libraries_at_warn() {
    check(None, "veilsum=info,warn");
    check(Some(""), "veilsum=info,warn");
    check(Some("debug"), "veilsum=debug,warn");
    check(Some("TRACE"), "veilsum=trace,warn");
}

#[test]
fn directives_are_taken_as_they_are() {
    check(
        Some("info,veilsum_engine=debug"),
        "veilsum_engine=debug,info",
    );
}

#[test]
fn a_filter_that_cannot_be_read_is_an_error_that_shows_what_would_be_right() {
    let error = directives(Some("veilsum=verbose")).unwrap_err();
    assert!(matches!(error, TelemetryError::Filter { .. }));
    assert!(
        error
            .to_string()
            .contains("error, warn, info, debug, trace"),
        "{error}"
    );
}

#[test]
fn a_format_is_text_or_json() {
    assert_eq!("text".parse::<LogFormat>().unwrap(), LogFormat::Text);
    assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
    assert!(matches!(
        "xml".parse::<LogFormat>(),
        Err(TelemetryError::Format)
    ));
}

#[test]
fn logging_is_set_up_once_per_process() {
    init(LogFormat::Json, Some("warn")).unwrap();
    assert!(matches!(
        init(LogFormat::Text, Some("warn")),
        Err(TelemetryError::Twice { .. })
    ));
}
