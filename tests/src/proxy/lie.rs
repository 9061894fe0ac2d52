//! What a lying coordinator says instead of what an honest one said: the answers to one call, altered message by message.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body as _, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response};

use super::Call;

/// From one honest message to what the site is shown instead of it.
type Alter = dyn Fn(Bytes) -> Vec<Bytes> + Send + Sync;

/// A lie about one call.
#[derive(Clone)]
pub struct Lie {
    pub call: Call,
    alter: Arc<Alter>,
}

impl Lie {
    pub fn new<M: prost::Message + Default>(
        call: Call,
        alter: impl Fn(M) -> Vec<M> + Send + Sync + 'static,
    ) -> Self {
        let bytes = move |message: Bytes| {
            let shown = alter(M::decode(message).expect("an honest coordinator sends messages"));
            let encoded = shown
                .into_iter()
                .map(|message| message.encode_to_vec().into());
            encoded.collect()
        };
        Self {
            call,
            alter: Arc::new(bytes),
        }
    }

    /// The whole answer is read before the first altered message is shown. What was refused is answered as if it had been an empty message.
    pub async fn tell(&self, answer: Response<Body>) -> Response<Body> {
        let (mut answer, mut honest) = read(answer).await;
        if honest.is_empty() {
            honest = framed(Bytes::new()).into();
            answer.headers_mut().remove("grpc-status");
            answer
                .body_mut()
                .insert("grpc-status", HeaderValue::from(0));
        }
        let shown = messages(honest).flat_map(|message| (self.alter)(message));
        let data = shown.map(framed).collect::<Vec<_>>().concat();
        answer.map(|trailers| {
            Body::new(Told {
                data: Some(data.into()),
                trailers: Some(trailers),
            })
        })
    }
}

/// The whole of an answer: its head with its trailers, and its bytes.
pub async fn read(answer: Response<Body>) -> (Response<HeaderMap>, Bytes) {
    let (parts, mut body) = answer.into_parts();
    let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
    {
        match frame.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    (Response::from_parts(parts, trailers), bytes.freeze())
}

/// Messages as gRPC frames them: a flag, a length, the message. The last one need not be whole: a call may be cut off.
pub fn messages(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let [0, a, b, c, d, ..] = bytes[..] else {
            return None;
        };
        let end = 5 + u32::from_be_bytes([a, b, c, d]) as usize;
        let whole = bytes.len() >= end;
        whole.then(|| bytes.split_to(end).split_off(5))
    })
}

/// A message as gRPC frames it.
pub fn framed(message: Bytes) -> Vec<u8> {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(&message);
    frame
}

/// A body that is all there.
pub struct Told {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Told {
    /// A request's: without trailers.
    pub fn new(data: Bytes) -> Self {
        Self {
            data: Some(data),
            trailers: None,
        }
    }
}

impl hyper::body::Body for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let data = self.data.take().map(Frame::data);
        let next = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(next.map(Ok))
    }
}
