//! The harness of the black-box tests: it runs the product, and contains none of it.

pub mod artifact;
pub mod fake_host;
pub mod istio;
pub mod mesh;
pub mod prometheus;
pub mod token;
pub mod world;
