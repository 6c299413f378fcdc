//! A WebSocket written by hand, for what no library lets one do: unmasked frames, fragments, bytes that are not UTF-8,
//! Pings left without an answer.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Connect, PATIENCE};

/// An upgraded connection. Answers nothing by itself.
#[derive(Debug)]
pub struct RawSocket {
    stream: TcpStream,
}

impl RawSocket {
    /// Opens the connection and upgrades it.
    ///
    /// # Panics
    /// When the server does not upgrade.
    pub async fn open(connect: &Connect) -> Self {
        let mut stream = TcpStream::connect(connect.address()).await.expect("the node listens");
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            connect.target(),
            connect.address()
        );
        stream.write_all(head.as_bytes()).await.expect("the connection is open");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("the server answers"));
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the key is answered as RFC 6455 has it: {answer}");
        Self { stream }
    }

    /// Sends one frame: the first byte (FIN, reserved bits and opcode) as it is, masked as clients must or not.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, first: u8, masked: bool, payload: &[u8]) -> io::Result<()> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..=125 => bytes.push(mask_bit | length as u8),
            length @ 126..=0xffff => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            let mask = [0x12, 0x34, 0x56, 0x78];
            bytes.extend(mask);
            bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend(payload);
        }
        self.stream.write_all(&bytes).await
    }

    /// Sends a whole text frame.
    ///
    /// # Panics
    /// When the connection has ended.
    pub async fn text(&mut self, text: &str) {
        self.send(0x81, true, text.as_bytes()).await.expect("the connection is open");
    }

    /// Reads the next frame: opcode and payload. Nothing when the connection has ended.
    ///
    /// # Panics
    /// When nothing comes in time, or the server fragments or masks.
    pub async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a frame in time").ok()
    }

    async fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        assert_eq!(first & 0xf0, 0x80, "a whole frame without reserved bits");
        let length = match self.stream.read_u8().await? {
            length @ 0..=125 => u64::from(length),
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            _ => panic!("a server must not mask"),
        };
        let mut payload = vec![0; usize::try_from(length).expect("it fits into memory")];
        self.stream.read_exact(&mut payload).await?;
        Ok((first & 0x0f, payload))
    }

    /// Reads until a text frame comes, passing over Pings.
    ///
    /// # Panics
    /// When none comes.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.next().await.expect("the connection stays open") {
                (1, payload) => return String::from_utf8(payload).expect("the server sends UTF-8"),
                (9, _) => {}
                (opcode, payload) => panic!("opcode {opcode} with {payload:?} instead of a text frame"),
            }
        }
    }

    /// Reads to the close frame and returns its code; nothing when the connection ends without one.
    pub async fn close_code(&mut self) -> Option<u16> {
        while let Some((opcode, payload)) = self.next().await {
            if opcode == 8 {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        None
    }
}
