//! A small HTTP/1.1 client over one kept-alive connection, which can also misbehave.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

/// A request, whole.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: None }
    }

    /// `POST /v1/events` with a JSON body.
    pub fn events(body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", "/v1/events").header("content-type", "application/json").body(body)
    }

    /// `POST /v1/events` with an NDJSON body.
    pub fn lines(body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", "/v1/events").header("content-type", "application/x-ndjson").body(body)
    }

    /// Sets a header; an empty value removes it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The request as it goes over the wire, with `Host` and `Content-Length` where none is set.
    pub fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            head.push_str(&format!("host: {host}\r\n"));
        }
        if let Some(body) = &self.body
            && !has("content-length")
            && !has("transfer-encoding")
        {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("answer {} is not JSON ({error}): {:?}", self.status, self.text()))
    }

    /// The text under `error` in the body.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {:?}", self.text())).to_owned()
    }

    /// `Retry-After`, which must be whole seconds.
    pub fn retry_after(&self) -> u64 {
        let value = self.header("retry-after").unwrap_or_else(|| panic!("{} without Retry-After", self.status));
        value.parse().unwrap_or_else(|_| panic!("Retry-After is {value:?}"))
    }

    /// The identities under `trace_ids`.
    pub fn trace_ids(&self) -> Vec<Uuid> {
        let body = self.json();
        let ids = body["trace_ids"].as_array().unwrap_or_else(|| panic!("no trace_ids in {body}"));
        ids.iter().map(|id| id.as_str().expect("an id is a string").parse().expect("an id is a UUID")).collect()
    }
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    address: SocketAddr,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new(), address })
    }

    /// Sends a request and reads its answer. The answer may come before the request is out; a
    /// connection that the server closes for writing may still hold the answer.
    pub async fn send(&mut self, request: &Request) -> io::Result<Answer> {
        let bytes = request.bytes(self.address);
        self.raw_exchange(&bytes).await
    }

    /// Sends bytes as they are, and reads an answer.
    pub async fn raw_exchange(&mut self, bytes: &[u8]) -> io::Result<Answer> {
        let (mut reader, mut writer) = self.stream.split();
        let reading = read_answer(&mut reader, &mut self.read);
        tokio::pin!(reading);
        tokio::select! {
            biased;
            answer = &mut reading => answer,
            written = writer.write_all(bytes) => {
                let answer = reading.await;
                match (answer, written) {
                    (Err(_), Err(error)) => Err(error),
                    (answer, _) => answer,
                }
            }
        }
    }

    /// Writes bytes and reads nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be written.
    pub async fn end_writing(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads the next answer.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let (mut reader, _) = self.stream.split();
        read_answer(&mut reader, &mut self.read).await
    }
}

/// Sends one request over a connection of its own.
pub async fn post(address: SocketAddr, request: &Request) -> Answer {
    let mut client = Client::connect(address).await.expect("the port takes connections");
    client.send(request).await.expect("the request is answered")
}

/// `GET` over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    post(address, &Request::new("GET", path)).await
}

async fn read_answer(reader: &mut (impl tokio::io::AsyncRead + Unpin), read: &mut Vec<u8>) -> io::Result<Answer> {
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if reader.read_buf(read).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer"));
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    read.drain(..head_end);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no status in {head:?}")))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    if chunked {
        let body = read_chunks(reader, read).await?;
        return Ok(Answer { status, headers, body });
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let length: usize = length.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad content-length"))?;
    while read.len() < length {
        if reader.read_buf(read).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside an answer"));
        }
    }
    let body = read.drain(..length).collect();
    Ok(Answer { status, headers, body })
}

async fn read_chunks(reader: &mut (impl tokio::io::AsyncRead + Unpin), read: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Some(line) = read.windows(2).position(|window| window == b"\r\n") else {
            more(reader, read).await?;
            continue;
        };
        let length = usize::from_str_radix(&String::from_utf8_lossy(&read[..line]), 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad length of a chunk"))?;
        while read.len() < line + 2 + length + 2 {
            more(reader, read).await?;
        }
        body.extend_from_slice(&read[line + 2..line + 2 + length]);
        read.drain(..line + 2 + length + 2);
        if length == 0 {
            return Ok(body);
        }
    }
}

async fn more(reader: &mut (impl tokio::io::AsyncRead + Unpin), read: &mut Vec<u8>) -> io::Result<()> {
    match reader.read_buf(read).await? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside an answer")),
        _ => Ok(()),
    }
}
