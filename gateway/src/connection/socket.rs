//! The WebSocket under a connection: feeds frames, flushes them together, reads when asked to.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Sink, Stream};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Input;

/// Small, since every connection owns one and tungstenite fills it with zeros whenever it reads. A longer frame takes
/// more reads; frames of 1.6 KB cost as much as with twice the buffer.
const READ_BUFFER_BYTES: usize = 1024;
/// How much is fed before it has to be flushed; with one more frame, the bound of the write buffer.
const FLUSH_BYTES: usize = 64 * 1024;
/// How long a closed connection's peer gets to take the close frame and to close.
const LINGER: Duration = Duration::from_secs(2);

/// A WebSocket whose handshake is done.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Bytes fed since the last complete flush.
    unflushed: usize,
    needs_flush: bool,
}

impl Socket {
    /// Takes over an upgraded TCP stream; `read` is what was read behind the handshake.
    pub(crate) async fn new(stream: TcpStream, read: Vec<u8>, frame_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(FLUSH_BYTES)
            .max_message_size(Some(frame_bytes_max))
            .max_frame_size(Some(frame_bytes_max));
        let stream = if read.is_empty() {
            WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
        } else {
            WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await
        };
        Self { stream, unflushed: 0, needs_flush: false }
    }

    /// Whether more may be fed before a flush is complete.
    pub(super) fn has_room(&self) -> bool {
        self.unflushed < FLUSH_BYTES
    }

    pub(super) fn is_flushed(&self) -> bool {
        !self.needs_flush
    }

    /// A Ping was read, so the library has a Pong to write.
    pub(super) fn pong_queued(&mut self) {
        self.needs_flush = true;
    }

    /// Queues a frame for the next flush.
    pub(super) fn feed(&mut self, message: Message) -> Result<(), Error> {
        self.unflushed += message.len();
        self.needs_flush = true;
        Pin::new(&mut self.stream).start_send(message)
    }

    /// Flushes, and reads a message if `is_reading`. Says when a flush is done if something waited for room, or if
    /// `tells_flushed`. Cancel safe.
    pub(super) async fn next(&mut self, is_reading: bool, tells_flushed: bool) -> Input {
        poll_fn(|context| {
            if self.needs_flush
                && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context)
            {
                self.needs_flush = false;
                // Only what had to wait for room needs another turn of the loop.
                let had_room = self.has_room();
                self.unflushed = 0;
                if flushed.is_err() || !had_room || tells_flushed {
                    return Poll::Ready(Input::Flushed(flushed));
                }
            }
            if is_reading {
                return Pin::new(&mut self.stream).poll_next(context).map(Input::Frame);
            }
            Poll::Pending
        })
        .await
    }

    /// Sends the close frame, if any, behind what was fed, and waits a moment for the peer to take it: closing a socket
    /// with unread input would reset it, and the frame would be lost.
    pub(super) async fn close(mut self, frame: Option<CloseFrame>) {
        let closing = async {
            if let Some(frame) = frame {
                // Fails when the peer is gone; then there is nobody to tell.
                let _ = self.stream.close(Some(frame)).await;
            } else {
                let _ = poll_fn(|context| Pin::new(&mut self.stream).poll_flush(context)).await;
                return;
            }
            let tcp = self.stream.get_mut();
            let _ = tokio::io::AsyncWriteExt::shutdown(tcp).await;
            let mut ignored = [0; 1024];
            while tcp.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
        };
        let _ = tokio::time::timeout(LINGER, closing).await;
    }
}
