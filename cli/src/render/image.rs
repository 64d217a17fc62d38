//! The filter's image in rendered manifests.

/// The URL that was given, or a placeholder.
pub(super) fn url(given: Option<&String>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    given.cloned().unwrap_or_else(|| format!("oci://registry.example.com/sidetrack:{version}"))
}

/// The note about a placeholder.
pub(super) fn guess(given: Option<&String>) -> Option<String> {
    let is_guess = given.is_none();
    is_guess.then(|| format!("{} is a placeholder: set your image with --url.", url(given)))
}
