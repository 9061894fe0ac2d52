//! What a site says on its way to the coordinator: kept, passed on message by message, held or cut after any of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;

use super::lie::framed;
use super::{Gate, Moment, Sent};

/// From what a site says to what the coordinator is told instead.
pub type Forged = Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>;

/// The body of one call. Its frames are whole messages, however they came.
pub struct Tapped {
    body: Body,
    sent: Arc<Sent>,
    gate: Arc<Gate>,
    forged: Option<Forged>,
    /// Of a message that has not come whole.
    came: BytesMut,
    passed: usize,
    /// Until the test says how it goes on after the last message: whether the call is cut.
    held: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    cut: watch::Sender<bool>,
}

impl Tapped {
    pub fn new(body: Body, sent: Arc<Sent>, gate: Arc<Gate>, cut: watch::Sender<bool>) -> Self {
        let forged = {
            let forged = gate.forged.lock().unwrap();
            let mine = forged.iter().rfind(|(call, _)| *call == sent.call);
            mine.map(|(_, forged)| Arc::clone(forged))
        };
        Self {
            body,
            sent,
            gate,
            forged,
            came: BytesMut::new(),
            passed: 0,
            held: None,
            cut,
        }
    }

    /// The next message, if all of it has come.
    fn next(&mut self) -> Option<Bytes> {
        let [0, a, b, c, d, ..] = self.came[..] else {
            return None;
        };
        let end = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
        let whole = self.came.len() >= end;
        let message = whole.then(|| self.came.split_to(end).freeze())?;
        let message = match &self.forged {
            Some(forged) => framed(forged(message.slice(5..))).into(),
            None => message,
        };
        self.passed += 1;
        let (gate, sent, passed) = (Arc::clone(&self.gate), Arc::clone(&self.sent), self.passed);
        sent.bytes.lock().unwrap().extend_from_slice(&message);
        let held = async move { gate.held_at(&sent.call, Moment::Sent(passed)).await };
        self.held = Some(Box::pin(held));
        Some(message)
    }
}

impl hyper::body::Body for Tapped {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(held) = &mut self.held {
            let lost = ready!(held.as_mut().poll(cx));
            self.held = None;
            if lost {
                self.cut.send_replace(true);
                return Poll::Ready(Some(Err(cut())));
            }
        }
        loop {
            if let Some(message) = self.next() {
                return Poll::Ready(Some(Ok(Frame::data(message))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.came.extend_from_slice(&data),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
    }
}

/// What both ends are told of a call that is cut.
pub fn cut() -> Status {
    Status::unavailable("the connection was cut")
}
