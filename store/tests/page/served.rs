//! A store in a folder of its own, served on a free port, and a client that sees every header.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetrack_store::{Access, Catalog, ExperimentFile, Limits, Server, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// No answer takes longer, on a busy machine too.
pub(crate) const WAIT: Duration = Duration::from_secs(40);

/// A server that runs until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    runtime: Runtime,
    server: Option<Server>,
    _folder: TempDir,
}

/// An answer with its headers, names in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn catalog(files: &[&str]) -> Catalog {
    let file = |text: &&str| {
        let node = serde_json::from_str(text).unwrap();
        let (plan, analyses) = sidetrack_analysis::plan::parse(&node).unwrap();
        ExperimentFile { plan, analyses, text: (*text).to_owned() }
    };
    Catalog::new(files.iter().map(file).collect()).unwrap()
}

impl Served {
    pub(crate) fn new(files: &[&str]) -> Self {
        Self::with(files, Access::local())
    }

    pub(crate) fn with(files: &[&str], access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), catalog(files), Limits::default()).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inside = runtime.enter();
        let server = Server::start(Arc::clone(&store), listener, access).unwrap();
        drop(inside);
        Self { address, store, runtime, server: Some(server), _folder: folder }
    }

    /// Takes new versions of the files.
    pub(crate) fn replace(&self, files: &[&str]) {
        self.store.replace(catalog(files)).unwrap();
    }

    /// Stops the server; returns how long that took.
    pub(crate) fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        self.runtime.block_on(self.server.take().unwrap().stop());
        begun.elapsed()
    }

    /// Serves the same folder on the same port again.
    pub(crate) fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        let inside = self.runtime.enter();
        let server = Server::start(Arc::clone(&self.store), listener, Access::local()).unwrap();
        drop(inside);
        self.server = Some(server);
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = self.open(method, path, headers, body);
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        });
        Answer {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            text: body.to_owned(),
        }
    }

    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    /// A stream of events.
    pub(crate) fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut lines = BufReader::new(self.open("GET", path, headers, b""));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        Events { head: head.to_ascii_lowercase(), lines }
    }

    pub(crate) fn expose(&self, lines: &[Value]) {
        for part in lines.chunks(2000) {
            let body = super::crowd::otlp(part);
            let headers = [("content-type", "application/json")];
            let answer = self.send("POST", "/v1/logs", &headers, body.as_bytes());
            assert_eq!((answer.status, answer.text.as_str()), (200, "{}"), "{answer:?}");
        }
    }

    pub(crate) fn outcomes(&self, table: &str) {
        let headers = [("content-type", "text/csv")];
        let answer = self.send("POST", "/v1/outcomes", &headers, table.as_bytes());
        assert!(answer.status == 200 && answer.text.contains("\"rejected\":[]"), "{answer:?}");
    }

    /// Waits until a page says this; a page is made at most every two seconds.
    pub(crate) fn until(&self, path: &str, says: &str) -> Answer {
        let end = Instant::now() + WAIT;
        loop {
            let answer = self.get(path);
            if answer.text.contains(says) {
                return answer;
            }
            assert!(Instant::now() < end, "no {says:?} on {path}: {}", in_words(&answer.text));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A page without its markup.
pub(crate) fn in_words(html: &str) -> String {
    let mut out = String::new();
    let mut is_tag = false;
    for c in html.chars() {
        match c {
            '<' => is_tag = true,
            '>' => {
                is_tag = false;
                out.push(' ');
            }
            _ if !is_tag => out.push(c),
            _ => {}
        }
    }
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    unescaped(&words)
}

/// Text of HTML.
pub(crate) fn unescaped(html: &str) -> String {
    let escapes =
        [("&#x2f;", "/"), ("&#x27;", "'"), ("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">")];
    let text = escapes.iter().fold(html.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&amp;", "&")
}

/// A stream of events that is read.
pub(crate) struct Events {
    pub(crate) head: String,
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The id of the next event; `None` when the stream ends.
    pub(crate) fn next(&mut self) -> Option<String> {
        // A heartbeat must not make this wait for ever.
        let end = Instant::now() + WAIT;
        let mut id = None;
        while Instant::now() < end {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            // Chunks have their lengths on lines of their own.
            let line = line.trim_end();
            if let Some(found) = line.strip_prefix("id: ") {
                id = Some(found.to_owned());
            } else if let (Some(data), Some(id)) = (line.strip_prefix("data: "), &id) {
                assert_eq!(data, id);
                return Some(id.clone());
            }
        }
        panic!("no event within {WAIT:?}");
    }

    /// Whether nothing arrives for this long.
    pub(crate) fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.lines.get_ref().set_read_timeout(Some(time)).unwrap();
        let next = self.next();
        self.lines.get_ref().set_read_timeout(Some(WAIT)).unwrap();
        next.is_none()
    }
}
