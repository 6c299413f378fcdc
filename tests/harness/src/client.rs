//! A Phoenix client that keeps every frame it was sent, in order, and can be as rude as real ones.

mod socket;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::{Frame, PATIENCE, Version};
use socket::{Command, Socket};

/// A connection to be opened.
#[derive(Debug, Clone)]
pub struct Connect {
    address: SocketAddr,
    user: String,
    device: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    version: Version,
    receive_buffer: Option<u32>,
}

/// A connect that was answered with anything but an upgrade.
#[derive(Debug)]
pub struct Refused {
    /// The HTTP status; 0 when the connection failed without an answer.
    pub status: u16,
    /// The body, or the error.
    pub body: String,
}

impl Connect {
    /// As `phoenix.js` connects: token and device in the query, V2.
    pub fn new(address: SocketAddr, user: &str, device: &str, token: &str) -> Self {
        let query = [("token", token), ("device_unique_id", device), ("vsn", Version::V2.vsn())];
        Self {
            address,
            user: user.to_owned(),
            device: device.to_owned(),
            path: "/socket/websocket".to_owned(),
            query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            headers: Vec::new(),
            version: Version::V2,
            receive_buffer: None,
        }
    }

    /// Another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Another serializer.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self.parameter("vsn", Some(version.vsn()))
    }

    /// Sets a query parameter, or leaves it out.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: Option<&str>) -> Self {
        self.query.retain(|(known, _)| known != name);
        self.query.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        self
    }

    /// Sends a header along.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Passes the token as Phoenix's subprotocol instead of in the query.
    #[must_use]
    pub fn token_as_subprotocol(self, token: &str) -> Self {
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(token);
        self.parameter("token", None)
            .header("sec-websocket-protocol", &format!("phoenix, base64url.bearer.phx.{encoded}"))
    }

    /// Keeps the kernel from taking much for a client that does not read, in bytes.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// The path with the query.
    pub fn target(&self) -> String {
        let query: Vec<_> =
            self.query.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        format!("{}?{}", self.path, query.join("&"))
    }

    /// Where it goes to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn request(&self) -> Request<()> {
        let url = format!("ws://{}{}", self.address, self.target());
        let mut request = url.into_client_request().expect("the address makes a URL");
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            request.headers_mut().append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        request
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Refused`] when the server does not upgrade the connection.
    pub async fn open(&self) -> Result<Client, Refused> {
        let socket = Socket::open(self.address, self.request(), self.version, self.receive_buffer).await?;
        Ok(Client {
            user: self.user.clone(),
            device: self.device.clone(),
            version: self.version,
            socket,
            reference: 0,
            joined: HashMap::new(),
        })
    }
}

/// Percent-encodes everything that is not unreserved.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// An open connection. Dropping it cuts the connection without a close frame.
#[derive(Debug)]
pub struct Client {
    /// Whose.
    pub user: String,
    /// On which device.
    pub device: String,
    version: Version,
    socket: Socket,
    reference: u64,
    joined: HashMap<String, String>,
}

impl Client {
    /// Sends a text frame as it is. Whether it arrives is not known.
    pub async fn send_text(&self, text: &str) {
        self.socket.tell(Command::Send(Message::text(text))).await;
    }

    /// Sends a binary frame as it is. Whether it arrives is not known.
    pub async fn send_binary(&self, bytes: &[u8]) {
        self.socket.tell(Command::Send(Message::binary(bytes.to_vec()))).await;
    }

    /// Reads nothing from the socket, and so answers no Ping, until [`Client::read_on`].
    pub async fn stop_reading(&self) {
        self.socket.tell(Command::Read(false)).await;
    }

    /// Reads again.
    pub async fn read_on(&self) {
        self.socket.tell(Command::Read(true)).await;
    }

    fn next_reference(&mut self) -> String {
        self.reference += 1;
        self.reference.to_string()
    }

    /// Sends a message on a topic, with the join reference it was joined with, and returns its reference.
    pub async fn push(&mut self, topic: &str, event: &str, payload: Value) -> String {
        let reference = self.next_reference();
        let join_ref = self.joined.get(topic).map_or(Value::Null, |join_ref| json!(join_ref));
        let frame =
            Frame { join_ref, reference: json!(reference), topic: json!(topic), event: event.to_owned(), payload };
        self.send_text(&frame.encode(self.version)).await;
        reference
    }

    /// Asks to join a topic and does not wait: what follows is sent right behind it.
    pub async fn join_soon(&mut self, topic: &str) -> String {
        let join_ref = (self.reference + 1).to_string();
        self.joined.insert(topic.to_owned(), join_ref);
        self.push(topic, "phx_join", json!({})).await
    }

    /// Joins a topic and returns the reply's payload.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn try_join(&mut self, topic: &str) -> Result<Value, Option<u16>> {
        let reference = self.join_soon(topic).await;
        self.reply(&reference).await
    }

    /// Joins a topic.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn join(&mut self, topic: &str) {
        let reply = self.try_join(topic).await.expect("the connection stays open");
        assert_eq!(reply["status"], "ok", "join of {topic}: {reply}");
    }

    /// Asks to join a topic that will be refused, and returns the reason.
    ///
    /// # Panics
    /// When it is not refused.
    pub async fn join_refused(&mut self, topic: &str) -> String {
        let reply = self.try_join(topic).await.expect("the connection stays open");
        assert_eq!(reply["status"], "error", "join of {topic}: {reply}");
        self.joined.remove(topic);
        reply["response"]["reason"].as_str().expect("a reason").to_owned()
    }

    /// Leaves a topic.
    ///
    /// # Errors
    /// When the connection ends first.
    pub async fn leave(&mut self, topic: &str) -> Result<(), Option<u16>> {
        let reference = self.push(topic, "phx_leave", json!({})).await;
        self.reply(&reference).await?;
        self.joined.remove(topic);
        Ok(())
    }

    /// Waits for the reply to a message and returns its payload.
    ///
    /// # Errors
    /// The close code when the connection ends first.
    pub async fn reply(&self, reference: &str) -> Result<Value, Option<u16>> {
        self.take(&format!("reply to {reference}"), |frame| frame.event == "phx_reply" && frame.reference == reference)
            .await
            .map(|frame| frame.payload)
    }

    /// Sends a chat message and returns its `message_sent`.
    ///
    /// # Errors
    /// The close code when the connection ends first: whether it was accepted is then unknown.
    pub async fn send_message(&mut self, chat: &str, mobile_ref_id: &str, content: &str) -> Result<Value, Option<u16>> {
        let topic = format!("chat:{chat}");
        let payload = json!({"content": content, "mobile_ref_id": mobile_ref_id});
        self.push(&topic, "send_message", payload).await;
        self.message_sent(&topic, mobile_ref_id).await
    }

    /// Waits for the `message_sent` of a message.
    ///
    /// # Errors
    /// The close code when the connection ends first.
    pub async fn message_sent(&self, topic: &str, mobile_ref_id: &str) -> Result<Value, Option<u16>> {
        self.take("message_sent", |frame| {
            frame.is(topic, "message_sent") && frame.payload["mobile_ref_id"] == mobile_ref_id
        })
        .await
        .map(|frame| frame.payload)
    }

    /// Sends a chat message that must be accepted, and returns its message id.
    ///
    /// # Panics
    /// When it is not.
    pub async fn say(&mut self, chat: &str, mobile_ref_id: &str, content: &str) -> String {
        let sent = self.send_message(chat, mobile_ref_id, content).await.expect("the connection stays open");
        assert_eq!(sent["status"], "sent", "{sent}");
        sent["message_id"].as_str().expect("a message id").to_owned()
    }

    /// Waits for the first frame not yet taken that `wanted` picks, and takes it.
    ///
    /// # Errors
    /// The close code when the connection ends first.
    ///
    /// # Panics
    /// When it does not come in time, naming `what` and listing what is there instead.
    pub async fn take(&self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Result<Frame, Option<u16>> {
        let taken = tokio::time::timeout(PATIENCE, self.socket.take(wanted)).await;
        taken.unwrap_or_else(|_| {
            panic!("{} on {}: no {what} within {PATIENCE:?}; untaken: {:#?}", self.user, self.device, self.untaken())
        })
    }

    /// Waits for `event` on `topic` and returns its payload.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn expect(&self, topic: &str, event: &str) -> Value {
        self.expect_frame(topic, event).await.payload
    }

    /// Waits for `event` on `topic` and returns the whole frame.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn expect_frame(&self, topic: &str, event: &str) -> Frame {
        self.take(&format!("{event} on {topic}"), |frame| frame.is(topic, event))
            .await
            .unwrap_or_else(|code| panic!("{}: closed with {code:?} before {event} on {topic}", self.user))
    }

    /// Waits for the very next frame, whatever it is.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next(&self) -> Frame {
        self.take("frame", |_| true).await.unwrap_or_else(|code| panic!("{}: closed with {code:?}", self.user))
    }

    /// A heartbeat there and back: whatever the server had put on this connection before is now here.
    ///
    /// # Errors
    /// The close code when the connection ends first.
    pub async fn heartbeat(&mut self) -> Result<(), Option<u16>> {
        let reference = self.next_reference();
        let frame = Frame {
            join_ref: Value::Null,
            reference: json!(reference),
            topic: json!("phoenix"),
            event: "heartbeat".to_owned(),
            payload: json!({}),
        };
        self.send_text(&frame.encode(self.version)).await;
        self.reply(&reference).await.map(|_| ())
    }

    /// The frames that no one took, in order, without replies and `message_sent`.
    pub fn untaken(&self) -> Vec<Frame> {
        let mut frames = self.socket.untaken();
        frames.retain(|frame| frame.event != "phx_reply" && frame.event != "message_sent");
        frames
    }

    /// Every frame in the order of arrival.
    pub fn frames(&self) -> Vec<Frame> {
        self.socket.frames()
    }

    /// How many frames have come.
    pub fn count(&self) -> usize {
        self.socket.count()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.socket.is_closed()
    }

    /// Waits for the server to close the connection and returns the code; nothing when it just ended.
    ///
    /// # Panics
    /// When it stays open.
    pub async fn closed(&self) -> Option<u16> {
        self.closed_within(PATIENCE).await
    }

    /// As [`Client::closed`], with a bound of its own.
    ///
    /// # Panics
    /// When it stays open.
    pub async fn closed_within(&self, bound: Duration) -> Option<u16> {
        let code = tokio::time::timeout(bound, self.socket.closed()).await;
        code.unwrap_or_else(|_| panic!("{} on {}: still open after {bound:?}", self.user, self.device))
    }

    /// Closes the connection as a client that goes in peace, waits for the server's answer, and returns every frame.
    pub async fn close(self) -> Vec<Frame> {
        self.socket.tell(Command::Close).await;
        self.closed().await;
        self.frames()
    }

    /// Cuts the connection as a client that loses its network, and returns every frame: whatever this client has
    /// confirmed is among them.
    pub async fn cut(mut self) -> Vec<Frame> {
        self.socket.cut().await;
        self.frames()
    }
}
