//! The task behind a client: it reads, answers Pings as every WebSocket stack does, and keeps what came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{self, Error};

use crate::{Frame, Refused, Version};

/// What the task is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    Send(Message),
    Read(bool),
    Close,
}

#[derive(Debug, Default)]
struct Record {
    frames: Vec<Frame>,
    taken: Vec<bool>,
    closed: Option<Option<u16>>,
}

#[derive(Debug)]
pub(crate) struct Socket {
    commands: mpsc::Sender<Command>,
    record: Arc<Mutex<Record>>,
    changed: watch::Receiver<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Socket {
    pub(crate) async fn open(
        address: SocketAddr,
        request: Request<()>,
        version: Version,
        receive_buffer: Option<u32>,
    ) -> Result<Self, Refused> {
        let refused = |error: &dyn std::fmt::Display| Refused { status: 0, body: error.to_string() };
        let tcp = TcpSocket::new_v4().map_err(|error| refused(&error))?;
        if let Some(bytes) = receive_buffer {
            tcp.set_recv_buffer_size(bytes).map_err(|error| refused(&error))?;
        }
        let stream = tcp.connect(address).await.map_err(|error| refused(&error))?;
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.map_err(|error| match error {
            Error::Http(answer) => Refused {
                status: answer.status().as_u16(),
                body: String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned(),
            },
            other => refused(&other),
        })?;
        let (commands, inbox) = mpsc::channel(1024);
        let (change, changed) = watch::channel(());
        let record = Arc::new(Mutex::new(Record::default()));
        let keeper = Keeper { version, record: Arc::clone(&record), change };
        Ok(Self { commands, record, changed, task: tokio::spawn(keeper.run(stream, inbox)) })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that has ended takes no commands; nobody minds.
    pub(crate) async fn tell(&self, command: Command) {
        let _ended = self.commands.send(command).await;
    }

    /// Drops the connection. When this returns, nothing is read, recorded or confirmed any more.
    pub(crate) async fn cut(&mut self) {
        self.task.abort();
        let _cancelled = (&mut self.task).await;
    }

    pub(crate) async fn take(&self, wanted: impl Fn(&Frame) -> bool) -> Result<Frame, Option<u16>> {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            {
                let mut record = self.record();
                let found = (0..record.frames.len()).find(|&at| !record.taken[at] && wanted(&record.frames[at]));
                if let Some(at) = found {
                    record.taken[at] = true;
                    return Ok(record.frames[at].clone());
                }
                if let Some(code) = record.closed {
                    return Err(code);
                }
            }
            // The task always says "closed" before it goes, unless the client was dropped.
            if changed.changed().await.is_err() && self.record().closed.is_none() {
                return Err(None);
            }
        }
    }

    pub(crate) async fn closed(&self) -> Option<u16> {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            if let Some(code) = self.record().closed {
                return code;
            }
            if changed.changed().await.is_err() {
                return self.record().closed.flatten();
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.record().closed.is_some()
    }

    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.record().frames.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.record().frames.len()
    }

    pub(crate) fn untaken(&self) -> Vec<Frame> {
        let record = self.record();
        record.frames.iter().zip(&record.taken).filter(|(_, taken)| !**taken).map(|(frame, _)| frame.clone()).collect()
    }
}

/// Owns the socket. What is read is recorded before anything else is polled, so that every frame the server can hold
/// to be confirmed is on record.
struct Keeper {
    version: Version,
    record: Arc<Mutex<Record>>,
    change: watch::Sender<()>,
}

impl Keeper {
    async fn run(self, mut stream: WebSocketStream<TcpStream>, mut inbox: mpsc::Receiver<Command>) {
        let mut reading = true;
        let mut code = None;
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Send(message)) => if stream.send(message).await.is_err() {
                        // What had arrived before the end is still read.
                        reading = true;
                    },
                    Some(Command::Read(on)) => reading = on,
                    Some(Command::Close) => {
                        reading = true;
                        let _already_ended = stream.close(None).await;
                    }
                    None => break,
                },
                read = stream.next(), if reading => match read {
                    Some(Ok(Message::Text(text))) => self.keep(&text),
                    Some(Ok(Message::Close(frame))) => code = frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
            }
        }
        self.lock().closed = Some(code);
        self.change.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, text: &tungstenite::Utf8Bytes) {
        let frame = Frame::parse(self.version, text)
            .unwrap_or_else(|| panic!("the server sent what is no {:?} frame: {text}", self.version));
        let mut record = self.lock();
        record.frames.push(frame);
        record.taken.push(false);
        drop(record);
        self.change.send_replace(());
    }
}
