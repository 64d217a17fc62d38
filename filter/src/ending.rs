//! How a request ended, asked of Envoy in one call.
//!
//! Status and flags are two attributes, and reading one costs 11 000 instructions, most of them for the memory that
//! Envoy asks the VM for to hold eight bytes. So Envoy itself is asked whether the request ended well: an expression in
//! CEL, compiled once per configuration, whose value is a text of one character for yes and an empty one for no. Envoy
//! returns the length of a value without asking for memory, and a length is all that is needed: 14 000 instructions
//! instead of 23 000, and a third attribute costs 2 000 instead of 11 000.
//!
//! Only a yes is taken for an answer. Whatever else comes back (no; an attribute without a value, as the status after
//! a caller has hung up; a build of Envoy without CEL) the attributes are read one by one, and the core judges
//! them.

use sidetrack::outcome::Ending;

use crate::failures;
use crate::host::{self, Expression, Property};

/// Answered below 500, and nothing broke.
const IS_WELL: &str = "response.code < 500 && response.flags == 0";
/// Sent upstream once, so that nobody else can have answered for the variant.
const ONCE: &str = "upstream.request_attempt_count < 2u";
/// Envoy derives this status from the HTTP status when there is none, so only a gRPC request may be asked for it.
const GRPC_WELL: &str = "response.grpc_status == 0";

/// The compiled questions; `None` where Envoy does not compile them.
pub(crate) struct Endings {
    plain: Option<Expression>,
    grpc: Option<Expression>,
    counts_attempts: bool,
}

impl Endings {
    /// `counts_attempts`: whether a request that was sent upstream again may have ended well elsewhere.
    pub(crate) fn prepare(counts_attempts: bool) -> Self {
        let question = |is_grpc: bool| {
            let conditions =
                [Some(IS_WELL), is_grpc.then_some(GRPC_WELL), counts_attempts.then_some(ONCE)];
            let all: Vec<&str> = conditions.into_iter().flatten().collect();
            host::expression(&format!("{} ? 'y' : ''", all.join(" && "))).ok()
        };
        Self { plain: question(false), grpc: question(true), counts_attempts }
    }

    /// How the request ended whose log callback is running.
    pub(crate) fn find(&self, answered: bool, is_grpc: bool) -> Found {
        // The logger knows nothing of gRPC statuses, nor of a request that ended well at another cluster.
        let is_told = answered && !is_grpc && !self.counts_attempts && failures::are_told();
        if is_told && !failures::is_check_due() {
            return Found::WellIfNobodyObjects;
        }
        let ending = self.ask(answered, is_grpc);
        if is_told && (ending.code >= 500 || ending.flags != 0) {
            Found::SomebodyMustObject(ending)
        } else {
            Found::Known(ending)
        }
    }

    /// How the request ended, whoever else may tell.
    pub(crate) fn ask(&self, answered: bool, is_grpc: bool) -> Ending {
        let question = if is_grpc { self.grpc } else { self.plain };
        if question.is_some_and(|it| host::length_of(it) == Ok(1)) {
            return Ending { grpc_status: is_grpc.then_some(0), ..WELL };
        }
        Ending {
            grpc_status: is_grpc.then(|| u32::try_from(number(Property::GRPC_STATUS)).unwrap_or(0)),
            attempts: if self.counts_attempts {
                number(Property::ATTEMPTS).cast_unsigned()
            } else {
                1
            },
            ..failure(answered)
        }
    }
}

/// How a request ended, as far as is known when it is logged.
pub(crate) enum Found {
    Known(Ending),
    /// It ended well, unless the access logger tells of a failure before the stream is deleted.
    WellIfNobodyObjects,
    /// It failed, and the access logger must tell of it.
    SomebodyMustObject(Ending),
}

/// How a request ended of which nothing bad is told.
pub(crate) const WELL: Ending =
    Ending { answered: true, code: 200, flags: 0, grpc_status: None, attempts: 1 };

/// How the request failed that is being logged.
pub(crate) fn failure(answered: bool) -> Ending {
    Ending {
        answered,
        code: u32::try_from(number(Property::RESPONSE_CODE)).unwrap_or(0),
        flags: number(Property::RESPONSE_FLAGS).cast_unsigned(),
        grpc_status: None,
        attempts: 1,
    }
}

fn number(property: Property) -> i64 {
    host::integer_property(&property).unwrap_or(0)
}
