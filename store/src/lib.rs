//! The experiment store: exposures and outcomes in, verdicts out. It is made for one machine and a team.
//!
//! | step | module |
//! |---|---|
//! | which experiments it knows | `catalog` |
//! | an exposure, as every source gives it, and its identity | `exposure` |
//! | OTLP records, access logs that grow, rows of outcomes and predictions | `otlp`, `follow`, `rows`, `outcome` |
//! | one writer, many senders: a commit for all that wait | `writer`, `schema` |
//! | days that are over, as Parquet | `segment`, `upkeep` |
//! | what is stored, as the log that the analysis reads | `source`, `verdict`, `live`, `replaced`, `history` |
//! | predictions of the mirror beside those of the baseline | `shadow` |
//! | breakers, as the proxies' metrics have them | `breaker` |
//! | the interface: HTTP and gRPC on one port | `http` |
//! | an analysis as HTML, and the live page | `report`, `page`, `template` |
//! | an analysis as CSV or Parquet | `tables` |
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

mod breaker;
mod catalog;
mod error;
mod exposure;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod http;
mod live;
mod otlp;
mod outcome;
mod page;
mod replaced;
mod report;
mod rows;
mod schema;
mod segment;
mod shadow;
mod source;
mod store;
mod tables;
mod template;
mod upkeep;
mod verdict;
mod writer;

pub use breaker::{BreakerReading, BreakerState, BreakerWatch};
pub use catalog::{Catalog, ExperimentFile};
pub use error::Error;
pub use follow::Follower;
pub use http::{Access, Server, Tls};
pub use live::{Breakers, BreakersFrom, Live};
pub use report::report;
pub use store::{Limits, Store};
pub use tables::{TablesFormat, write_tables};
pub use upkeep::{Forgotten, Info};
pub use verdict::{NoVerdict, Verdict};
