//! `wat FROM TO`: a module's text becomes a module.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (from, to) = arguments.next().zip(arguments.next()).context("usage: wat FROM TO")?;
    std::fs::write(to, wat::parse_file(from)?)?;
    Ok(())
}
