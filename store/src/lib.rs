//! The experiment store: exposures and outcomes in, verdicts out. It is made for one machine and a team.
//!
//! | step | module |
//! |---|---|
//! | which experiments it knows | `catalog` |
//! | an exposure, as every source gives it, and its identity | `exposure` |
//! | OTLP records, access logs that grow, rows of outcomes | `otlp`, `follow`, `outcome` |
//! | one writer, many senders: a commit for all that wait | `writer`, `schema` |
//! | days that are over, as Parquet | `segment`, `upkeep` |
//! | what is stored, as the log that the analysis reads | `source`, `verdict`, `live` |
//! | the interface: HTTP and gRPC on one port | `http` |
//!
//! What is acknowledged is committed: it survives `kill -9` and a power failure. What is sent again changes nothing. Under
//! load, senders wait or are told to wait; memory is bounded. A verdict is made by the same code as `sidetrack analyze run`,
//! from the same lines.
//!
//! ```text
//! let store = Store::open(folder, catalog, Limits::default())?;   // one process per folder
//! let follower = store.follow("access.log");                      // ends when it is dropped
//! let server = Server::start(Arc::clone(&store), listener, Access::local())?;
//! server.stop().await;
//! ```

mod catalog;
mod error;
mod exposure;
mod follow;
mod http;
mod live;
mod otlp;
mod outcome;
mod schema;
mod segment;
mod source;
mod store;
mod upkeep;
mod verdict;
mod writer;

pub use catalog::{Catalog, ExperimentFile};
pub use error::Error;
pub use follow::Follower;
pub use http::{Access, Server, Tls};
pub use live::Live;
pub use store::{Limits, Store};
pub use upkeep::{Forgotten, Info};
