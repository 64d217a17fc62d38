//! The harness of the black-box tests: what runs the product, none of what it is.

pub mod artifact;
pub mod fake_host;
pub mod istiod;
pub mod prometheus;
pub mod world;
