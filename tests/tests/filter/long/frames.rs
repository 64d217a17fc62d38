//! HTTP/2 frames written by hand, for requests that no library sends: any bytes in a header,
//! streams that are reset at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the other side did with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It answered.
    Headers,
    /// It refused the stream.
    Reset,
    /// It refused the connection.
    Closed,
}

/// Frames for one connection, in order.
pub(crate) struct Frames(Vec<u8>);

impl Frames {
    /// A connection that has just begun.
    pub(crate) fn new() -> Self {
        let mut frames = Self(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec());
        frames.add(SETTINGS, 0, 0, &[]);
        frames
    }

    /// A request's headers, as they are: no Huffman code, no table, no checks.
    pub(crate) fn headers(&mut self, stream: u32, end: bool, lines: &[(&[u8], &[u8])]) {
        self.block(stream, end, &literals(lines));
    }

    /// A request's headers, and one that is repeated. The first request of the connection puts it
    /// into the other side's table; each repetition is one byte. The body follows.
    pub(crate) fn repeated(
        &mut self,
        stream: u32,
        lines: &[(&[u8], &[u8])],
        (name, value): (&[u8], &[u8]),
        times: usize,
        is_first: bool,
    ) {
        let mut block = literals(lines);
        if is_first {
            block.push(0x40);
            literal(&mut block, name);
            literal(&mut block, value);
        }
        // The first entry of the dynamic table (RFC 7541, 2.3.3).
        block.extend(std::iter::repeat_n(0x80 | 62, times - usize::from(is_first)));
        self.block(stream, false, &block);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn block(&mut self, stream: u32, end: bool, block: &[u8]) {
        let mut parts = block.chunks(16_000).peekable();
        let mut kind = HEADERS;
        while let Some(part) = parts.next() {
            let ends = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == HEADERS && end { ends | END_STREAM } else { ends };
            self.add(kind, flags, stream, part);
            kind = CONTINUATION;
        }
    }

    pub(crate) fn data(&mut self, stream: u32, end: bool, bytes: &[u8]) {
        self.add(DATA, if end { END_STREAM } else { 0 }, stream, bytes);
    }

    pub(crate) fn reset(&mut self, stream: u32) {
        self.add(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }

    fn add(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        self.0.extend_from_slice(&[kind, flags]);
        self.0.extend_from_slice(&stream.to_be_bytes());
        self.0.extend_from_slice(payload);
    }

    /// Sends all frames and waits for the first word about any stream; silence for so long is
    /// `None`.
    pub(crate) async fn send(self, addr: SocketAddr, silence: Duration) -> Option<Said> {
        let (mut from, mut to) = TcpStream::connect(addr).await.unwrap().into_split();
        // The other side may hang up before it has read everything.
        let write = tokio::spawn(async move {
            let _ = to.write_all(&self.0).await;
            to
        });
        let said = timeout(silence, async {
            let mut head = [0; 9];
            loop {
                if from.read_exact(&mut head).await.is_err() {
                    return Said::Closed;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                if from.read_exact(&mut payload).await.is_err() {
                    return Said::Closed;
                }
                match head[3] {
                    HEADERS => return Said::Headers,
                    RST_STREAM => return Said::Reset,
                    GOAWAY => return Said::Closed,
                    _ => {}
                }
            }
        });
        let said = said.await.ok();
        write.abort();
        said
    }
}

/// Headers without Huffman code, each outside of the table.
fn literals(lines: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        literal(&mut block, name);
        literal(&mut block, value);
    }
    block
}

/// A string without Huffman code: its length in an integer of 7 bits and more (RFC 7541, 5.1), then
/// its bytes.
fn literal(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128).unwrap() | 128);
            length /= 128;
        }
        block.push(u8::try_from(length).unwrap());
    }
    block.extend_from_slice(text);
}
