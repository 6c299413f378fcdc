//! One client's connection: connects, joins, sends, and says what it heard. It answers Pings, as every WebSocket stack
//! does, whenever it is listened to.

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::target::Target;

/// Handshakes under way at once.
const CONNECTING_MAX: usize = 32;

pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
    last_ref: u64,
}

/// What a client can hear; messages by the number they were sent with.
pub(crate) enum Heard {
    /// `message_sent`: the event log has it.
    Sent(usize),
    /// `message_sent` with an error.
    Refused,
    /// `receive_message`.
    Received(usize),
    Other,
}

/// `[join_ref, ref, topic, event, payload]`.
#[derive(Deserialize)]
struct Frame<'a>(
    serde::de::IgnoredAny,
    #[serde(borrow)] Option<&'a str>,
    serde::de::IgnoredAny,
    &'a str,
    #[serde(borrow)] Payload<'a>,
);

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    status: Option<&'a str>,
    mobile_ref_id: Option<&'a str>,
    content: Option<&'a str>,
}

impl Client {
    async fn connect(target: &Target, user: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address).await.context("the server does not listen")?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let url = target.socket_url(user)?;
        let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
        Ok(Self { stream: opened.context("the server refused the connection")?.0, last_ref: 0 })
    }

    async fn say(&mut self, topic: &str, event: &str, payload: &str) -> anyhow::Result<u64> {
        self.last_ref += 1;
        let number = self.last_ref;
        let frame = format!(r#"["{topic}","{number}","{topic}","{event}",{payload}]"#);
        self.stream.feed(Message::text(frame)).await.context("the server has closed the connection")?;
        Ok(number)
    }

    /// Joins a topic and waits for the answer.
    ///
    /// # Errors
    /// When it is refused or the connection ends.
    pub(crate) async fn join(&mut self, topic: &str) -> anyhow::Result<()> {
        let number = self.say(topic, "phx_join", "{}").await?.to_string();
        self.flush().await?;
        loop {
            let text = self.text().await?;
            let frame: Frame<'_> = serde_json::from_str(&text).context("the server's frame is not one")?;
            match frame.4.status {
                Some("ok") if frame.1 == Some(&number) => return Ok(()),
                Some(_) if frame.1 == Some(&number) => bail!("the server refused a join: {text}"),
                _ => {}
            }
        }
    }

    /// Queues a message; [`Client::flush`] sends what is queued.
    ///
    /// # Errors
    /// When the connection ends.
    pub(crate) async fn send(&mut self, topic: &str, number: usize, content_bytes: usize) -> anyhow::Result<()> {
        let payload = format!(r#"{{"content":"{number:-<content_bytes$}","mobile_ref_id":"{number}"}}"#);
        self.say(topic, "send_message", &payload).await.map(drop)
    }

    /// # Errors
    /// When the connection ends.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.flush().await.context("the server has closed the connection")
    }

    /// The next frame. Cancel safe.
    ///
    /// # Errors
    /// When the connection ends.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<Heard> {
        let text = self.text().await?;
        let Frame(_, _, _, event, payload) = serde_json::from_str(&text).context("the server's frame is not one")?;
        let number = |text: Option<&str>| text.and_then(|text| text.trim_end_matches('-').parse().ok());
        Ok(match (event, payload.status) {
            ("message_sent", Some("sent")) => number(payload.mobile_ref_id).map_or(Heard::Other, Heard::Sent),
            ("message_sent", _) => Heard::Refused,
            ("receive_message", _) => number(payload.content).map_or(Heard::Other, Heard::Received),
            _ => Heard::Other,
        })
    }

    async fn text(&mut self) -> anyhow::Result<tokio_tungstenite::tungstenite::Utf8Bytes> {
        loop {
            match self.stream.next().await.context("the server has closed the connection")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => bail!("the server has closed the connection: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// Connects users, in the order of their numbers, each joining topics of its own.
///
/// # Errors
/// When one can not connect or join.
pub(crate) async fn connect_all(
    target: &Target,
    users: std::ops::Range<u32>,
    topics: impl Fn(u32, &str) -> Vec<String>,
) -> anyhow::Result<Vec<Client>> {
    let connecting = stream::iter(users).map(|number| {
        let user = target.user(number);
        let topics = topics(number, &user);
        async move {
            let mut client = Client::connect(target, &user).await?;
            for topic in topics {
                client.join(&topic).await?;
            }
            anyhow::Ok(client)
        }
    });
    connecting.buffered(CONNECTING_MAX).try_collect().await
}
