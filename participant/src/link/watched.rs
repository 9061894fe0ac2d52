//! A TLS stream that remembers why the other end refused us.
//!
//! In TLS 1.3 a client's handshake succeeds before the server has judged its certificate; the refusal comes at the first read. HTTP/2
//! keeps only the text of such an error, so the reason is put into that text here, where it is still known.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use veilsum_daemon::refusal::Refusal;

/// The stream.
pub(super) struct Watched<S>(pub S);

/// An error whose reason is a refused certificate says so in words, under a kind that nothing else on a socket has.
pub(super) fn worded(error: io::Error) -> io::Error {
    match Refusal::find(&error) {
        Some(refusal) => io::Error::new(io::ErrorKind::PermissionDenied, refusal.to_string()),
        None => error,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll_read(cx, buffer)).map_err(worded))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll_write(cx, bytes)).map_err(worded))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
