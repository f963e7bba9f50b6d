//! A small HTTP/1.1 client over one connection.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The header of this name (in lower case).
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and the beginning of the body, for people.
    #[must_use]
    pub(crate) fn brief(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {}", self.status, text.chars().take(200).collect::<String>())
    }
}

/// A `POST /v1/events` as it goes over the wire.
#[must_use]
pub(crate) fn post(content_type: &str, encoding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let encoding = encoding.map(|name| format!("content-encoding: {name}\r\n")).unwrap_or_default();
    let length = body.len();
    let mut bytes = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n{encoding}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends a request and reads its answer, which may come before the request is out.
    ///
    /// # Errors
    /// The system's, or `InvalidData` for an answer that is no HTTP.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        let (mut reader, mut writer) = self.stream.split();
        let reading = read_answer(&mut reader, &mut self.read);
        tokio::pin!(reading);
        tokio::select! {
            biased;
            answer = &mut reading => answer,
            written = writer.write_all(request) => match (reading.await, written) {
                (Err(_), Err(error)) => Err(error),
                (answer, _) => answer,
            }
        }
    }

    /// Writes, and reads nothing.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn end_writing(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// The system's, or `InvalidData` for an answer that is no HTTP.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        read_answer(&mut self.stream, &mut self.read).await
    }
}

async fn read_answer(reader: &mut (impl tokio::io::AsyncRead + Unpin), read: &mut Vec<u8>) -> io::Result<Answer> {
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(read, b"\r\n\r\n") {
            break at + 4;
        }
        if reader.read_buf(read).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer"));
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    read.drain(..head_end);
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {head:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(invalid)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let length: usize = length.parse().map_err(|_| invalid())?;
    while read.len() < length {
        if reader.read_buf(read).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside an answer"));
        }
    }
    let body = read.drain(..length).collect();
    Ok(Answer { status, headers, body })
}
