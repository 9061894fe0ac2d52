use tokio::task::spawn_blocking;

use super::*;

#[test]
fn a_chunk_that_comes_out_differently_does_not_leave() {
    let (first, other) = (Digest([1; 32]), Digest([2; 32]));
    let mut made = Hashes(vec![None; 2]);
    assert!(made.note(0, first).unwrap(), "for the first time");
    assert!(!made.note(0, first).unwrap(), "the same again");
    let differs = made.note(0, other);
    assert!(matches!(differs, Err(Fault::Differs { chunk: 0 })));
    let differs = made.note(0, other);
    assert!(
        matches!(differs, Err(Fault::Differs { chunk: 0 })),
        "the first one counts, however often another one comes"
    );
    assert!(made.has(0) && !made.has(1));
    assert_eq!(made.all(), None);
    assert!(made.note(1, other).unwrap());
    assert_eq!(made.all(), Some(vec![first, other]));
}

#[tokio::test]
async fn whoever_makes_pieces_ends_with_the_call_although_nobody_reads_them() {
    let (sender, unread) = mpsc::channel(1);
    let (call, over) = watch::channel(());
    let messages = Messages { sender, over };
    let (begun, began) = tokio::sync::oneshot::channel();
    let making = spawn_blocking(move || {
        let message = pb::SubmitMaskedRequest { part: None };
        messages.send(message.clone()).unwrap();
        begun.send(()).unwrap();
        messages.send(message)
    });
    began.await.unwrap();
    drop(call);
    let limit = std::time::Duration::from_secs(20);
    let ended = tokio::time::timeout(limit, making).await;
    let ended = ended.expect("the call is over").unwrap();
    assert!(matches!(ended, Err(Fault::HungUp)));
    drop(unread);
}
