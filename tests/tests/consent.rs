//! `veilsum participant consent` as an operator of a site meets it: a real store, a daemon that is stopped, a person that is asked.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use veilsum_tests::{Federation, Moment, Proxy, Study, binary, files};

/// `veilsum participant consent RUN` at a site with nobody at its terminal: exit code and envelope, and what stood on standard error.
fn consent(dir: &Path, run: &str, more: &[&str]) -> (i32, Value, String) {
    let ran = Command::new(binary("veilsum"))
        .args([
            "participant",
            "consent",
            run,
            "--config",
            "site.toml",
            "--json",
        ])
        .args(more)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let envelope = serde_json::from_slice(&ran.stdout).unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    (ran.status.code().unwrap(), envelope, said)
}

fn refused(dir: &Path, run: &str, more: &[&str], exit: i32, code: &str) -> String {
    let (found, envelope, said) = consent(dir, run, more);
    assert_eq!(
        (found, envelope["error"]["code"].as_str()),
        (exit, Some(code)),
        "{said}"
    );
    said
}

/// Held at its release the site has masked, and nobody has the result: what is asked in earnest when the attempt is lost. This one is
/// not, and ends well all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_consents_while_its_daemon_is_stopped_after_it_was_told_what_that_means() {
    let mut federation = Federation::new(3, 3, |site, dir| files::trainer(site, dir, ""));
    let proxy = Proxy::before(&federation, 0).await;
    proxy.hold("Unmask", Moment::Before);
    federation.start_all();
    let study = Study::of(3, 1).to_toml();
    let model = files::model(&[0.0; files::ELEMENTS]);
    let run = federation.submit(&study, &model).await.run_id;
    proxy.reached().await;
    let dir = federation.members[0].dir.clone();
    let stop = refused(&dir, &run, &["--yes"], 4, "SITE_RUNNING");
    assert!(stop.contains("stop veilsum-participant first"), "{stop}");

    federation.kill_site(0);
    proxy.lose();
    let asked = refused(&dir, &run, &[], 9, "CONSENT_WITHHELD");
    assert!(
        asked.contains("round 1, attempt 1: this site released the shares it held"),
        "{asked}"
    );
    assert!(
        asked.contains("the difference is that site's update"),
        "{asked}"
    );
    for given_before in [false, true] {
        let (exit, envelope, said) = consent(&dir, &run, &["--yes"]);
        assert_eq!(exit, 0, "{said}");
        assert_eq!(envelope["data"]["given_before"], given_before);
        assert_eq!(envelope["data"]["spent"][0]["round"], 1);
    }
    let other = format!("run_{}", "a".repeat(26));
    refused(&dir, &other, &["--yes"], 4, "RUN_NOT_FOUND");

    federation.start_site(0);
    federation.completed(&run).await;
    federation.logged("site-0", &["run completed"]).await;
    federation.kill_site(0);
    refused(&dir, &run, &["--yes"], 4, "NOTHING_SPENT");
}
