//! A stream that tells when its peer has begun to speak HTTP/2.
//!
//! The server speaks first, and some clients wait for that, to learn whether their certificate was refused. So hyper is let at the stream
//! at once, and what it reads is counted on the way.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Length of what every HTTP/2 client sends first (RFC 9113, section 3.4); what it says is checked by hyper.
const PREFACE_BYTES: usize = 24;

/// A stream whose first bytes are counted.
pub(super) struct Heard<S> {
    stream: S,
    bytes: usize,
    begun: watch::Sender<bool>,
}

impl<S> Heard<S> {
    /// The stream, and what becomes true once the peer has begun.
    pub(super) fn new(stream: S) -> (Self, watch::Receiver<bool>) {
        let (begun, watching) = watch::channel(false);
        let heard = Self {
            stream,
            bytes: 0,
            begun,
        };
        (heard, watching)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if self.bytes < PREFACE_BYTES {
            self.bytes += buffer.filled().len() - before;
            if self.bytes >= PREFACE_BYTES {
                self.begun.send_replace(true);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
