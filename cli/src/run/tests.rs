//! Tests of the parts; `cli/tests/run.rs` has those of the command.
