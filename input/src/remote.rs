//! Objects of `s3://bucket/key`, `gs://bucket/key` and `az://container/key`, as a stream of bytes.
//!
//! Credentials and endpoints come from the environment, by the names that the tools of each cloud use. A request that fails
//! is tried again, also in the middle of an object.

use std::io::{self, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};

/// A request is tried again for so long.
const RETRY: Duration = Duration::from_secs(60);
/// A server that sends nothing for so long has failed.
const SILENCE: Duration = Duration::from_secs(30);
/// So many chunks of a stream wait for the reader.
const AHEAD: usize = 32;

/// Whether a path is an object of a store.
pub(crate) fn is_remote(path: &Path) -> bool {
    path.to_string_lossy().contains("://")
}

/// A place in a store.
struct Place {
    /// With the scheme, up to the key.
    root: String,
    key: String,
    store: Arc<dyn ObjectStore>,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let url = path.to_string_lossy().into_owned();
        let bad = |problem: &str| io::Error::other(problem.to_owned());
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(bad("the URL names no bucket"));
        }
        // The process may have another one already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let root = format!("{scheme}://{bucket}");
        let retry = RetryConfig { retry_timeout: RETRY, max_retries: 6, ..RetryConfig::default() };
        let options = ClientOptions::new().with_timeout_disabled().with_read_timeout(SILENCE);
        let store: Arc<dyn ObjectStore> = match scheme {
            "s3" | "s3a" => {
                let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                let builder = builder.with_client_options(options).with_retry(retry);
                Arc::new(builder.with_allow_http(is_plain("AWS_ENDPOINT")).build().map_err(words)?)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                let builder = builder.with_client_options(options).with_retry(retry);
                Arc::new(builder.build().map_err(words)?)
            }
            "az" | "abfs" | "abfss" => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
                let builder = builder.with_client_options(options).with_retry(retry);
                let builder = builder.with_allow_http(is_plain("AZURE_STORAGE_ENDPOINT"));
                Arc::new(builder.build().map_err(words)?)
            }
            _ => return Err(bad("an unknown scheme; expected one of: s3, gs, az")),
        };
        Ok(Self { root, key: key.to_owned(), store })
    }
}

/// Whether an endpoint of the user's own is without TLS.
fn is_plain(name: &str) -> bool {
    let values = ["", "_URL", "_URL_S3"].map(|end| std::env::var(format!("{name}{end}")));
    values.into_iter().flatten().any(|value| value.starts_with("http://"))
}

/// An error of a store, in words.
fn words(error: object_store::Error) -> io::Error {
    use object_store::Error;
    let kind = match &error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        _ => ErrorKind::Other,
    };
    let text = error.to_string();
    io::Error::new(kind, text.lines().next().unwrap_or_default().to_owned())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Opens an object.
///
/// # Errors
/// It does not exist, or the store refuses.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let place = Place::of(path)?;
    let key = Key::parse(&place.key).map_err(|error| words(error.into()))?;
    let (sender, chunks) = mpsc::sync_channel(AHEAD);
    let (opened, is_open) = mpsc::channel();
    std::thread::spawn(move || {
        let run = async {
            let object = match place.store.get(&key).await {
                Ok(object) => object,
                Err(error) => return opened.send(Err(words(error))).unwrap_or_default(),
            };
            opened.send(Ok(())).ok();
            let mut stream = object.into_stream();
            while let Some(chunk) = stream.next().await {
                let is_error = chunk.is_err();
                // The reader may have ended.
                if sender.send(chunk.map_err(words)).is_err() || is_error {
                    break;
                }
            }
        };
        match runtime() {
            Ok(runtime) => runtime.block_on(run),
            Err(error) => opened.send(Err(error)).unwrap_or_default(),
        }
    });
    is_open.recv().map_err(|_| io::Error::other("the client of the store has failed"))??;
    Ok(Box::new(Object { chunks, chunk: Cursor::default() }))
}

/// An object that is being read.
struct Object<C> {
    chunks: mpsc::Receiver<io::Result<C>>,
    chunk: Cursor<C>,
}

impl<C: AsRef<[u8]>> Read for Object<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.chunks.recv() {
                Ok(chunk) => self.chunk = Cursor::new(chunk?),
                // The stream is over.
                Err(_) => return Ok(0),
            }
        }
    }
}

/// The objects whose keys begin like the path up to its first wildcard, and the path relative to which they are.
///
/// # Errors
/// The store refuses.
pub(crate) fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let place = Place::of(path)?;
    let wild = place.key.find(['*', '?', '[']).unwrap_or(place.key.len());
    let folder = place.key.get(..wild).and_then(|head| head.rfind('/'));
    let prefix = place.key.get(..folder.unwrap_or(0)).unwrap_or_default();
    let prefix = Key::parse(prefix).map_err(|error| words(error.into()))?;
    let prefix = Some(prefix).filter(|prefix| prefix.as_ref() != "");
    runtime()?.block_on(async {
        let mut all = Vec::new();
        let mut found = place.store.list(prefix.as_ref());
        while let Some(object) = found.next().await {
            let key = object.map_err(words)?.location;
            all.push(PathBuf::from(format!("{}/{key}", place.root)));
        }
        all.sort();
        Ok(all)
    })
}
