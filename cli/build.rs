//! Embeds the filter's module in the command if `SIDETRACK_EMBED` names it. Without it, as in the builds of the tests,
//! the command looks for a module when it runs.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(sidetrack_embedded)");
    println!("cargo::rerun-if-env-changed=SIDETRACK_EMBED");
    let Some(path) = env::var("SIDETRACK_EMBED").ok().filter(|path| !path.is_empty()) else {
        return;
    };
    println!("cargo::rerun-if-changed={path}");
    if !Path::new(&path).is_absolute() || !Path::new(&path).is_file() {
        println!(
            "cargo::error=SIDETRACK_EMBED is {path}, but must be the absolute path of the module that `make wasm` builds"
        );
        return;
    }
    println!("cargo::rustc-cfg=sidetrack_embedded");
    println!("cargo::rustc-env=SIDETRACK_EMBEDDED={path}");
}
