//! A TCP proxy on loopback that makes a server unreachable, silent or slow for those who come to it through here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Chunks on their way in one direction of a connection, and bytes in each. Beyond that the sender waits.
const CHUNKS_MAX: usize = 64;
const CHUNK: usize = 16 * 1024;

/// What it does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Hands it on.
    Open,
    /// Hands it on, in either direction, this much later.
    Slow(Duration),
    /// Keeps it until the line is another one. Connections stay, and new ones are made.
    Silent,
    /// Ends every connection, and new ones at once.
    Cut,
}

/// A proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of the server at this port of loopback, with an open line.
    ///
    /// # Panics
    /// When it can not listen.
    pub async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let (line, seen) = watch::channel(Line::Open);
        Self { address, line, accepting: tokio::spawn(accept(listener, port, seen)) }
    }

    /// From now on, also for the connections there are.
    pub fn becomes(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, line: watch::Receiver<Line>) {
    let (places, mut connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), JoinSet::new());
    loop {
        let place = places.clone().acquire_owned().await.expect("it is never closed");
        let Ok((client, _)) = listener.accept().await else { continue };
        let line = line.clone();
        connections.spawn(async move {
            // Either side's failure ends the other, too: that is all there is to say.
            let _ended = connect(client, port, line).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, port: u16, mut line: watch::Receiver<Line>) -> io::Result<()> {
    if *line.borrow() == Line::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (there, back) = (line.clone(), line.clone());
    tokio::select! {
        ended = carry(from_client, to_server, there) => ended,
        ended = carry(from_server, to_client, back) => ended,
        _ = line.wait_for(|line| *line == Line::Cut) => Ok(()),
    }
}

/// One direction. What is late keeps its distance to what came before it: a line is slow, not narrow.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut line: watch::Receiver<Line>) -> io::Result<()> {
    let (chunks, mut on_their_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 || chunks.send((Instant::now(), chunk[..length].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((came, chunk)) = on_their_way.recv().await {
            loop {
                let now = *line.borrow_and_update();
                let changed = line.changed();
                match now {
                    Line::Open => break,
                    Line::Slow(delay) if came.elapsed() >= delay => break,
                    Line::Slow(delay) => tokio::select! {
                        () = sleep_until(came + delay) => {}
                        _ = changed => {}
                    },
                    Line::Silent | Line::Cut => _ = changed.await,
                }
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says everything back, and a connection to it through a proxy.
    async fn connected() -> (Proxy, TcpStream) {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(echo.local_addr().unwrap().port()).await;
        tokio::spawn(async move {
            let (mut stream, _) = echo.accept().await.unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await.unwrap();
            }
        });
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        (proxy, stream)
    }

    async fn echo(stream: &mut TcpStream, byte: u8) -> io::Result<u8> {
        stream.write_all(&[byte]).await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn open_and_slow_lines_hand_on_and_the_slow_one_later() {
        let (proxy, mut stream) = connected().await;
        assert_eq!(echo(&mut stream, 7).await.unwrap(), 7);
        let delay = Duration::from_millis(50);
        proxy.becomes(Line::Slow(delay));
        let started = Instant::now();
        assert_eq!(echo(&mut stream, 8).await.unwrap(), 8);
        assert!(started.elapsed() >= 2 * delay, "there and back");
    }

    #[tokio::test]
    async fn silent_line_keeps_what_comes_until_it_is_open_again() {
        let (proxy, mut stream) = connected().await;
        proxy.becomes(Line::Silent);
        stream.write_all(&[7]).await.unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
        assert!(nothing.is_err());
        proxy.becomes(Line::Open);
        assert_eq!(stream.read_u8().await.unwrap(), 7);
    }

    #[tokio::test]
    async fn cut_line_ends_connections_old_and_new() {
        let (proxy, mut stream) = connected().await;
        assert_eq!(echo(&mut stream, 7).await.unwrap(), 7);
        proxy.becomes(Line::Cut);
        assert!(echo(&mut stream, 8).await.is_err());
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert!(echo(&mut stream, 8).await.is_err());
    }
}
