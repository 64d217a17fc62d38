//! How versions of a model are called as variants: the one rule that `plan` writes by and `promote` reads by.

/// The longest name that an experiment file allows.
const LONGEST: usize = 63;

/// `digits-v3`: what `plan` calls a version.
pub(crate) fn variant(model: &str, version: &str) -> String {
    let end = format!("-v{version}");
    format!("{}{end}", slug(model, LONGEST.saturating_sub(end.len())))
}

/// The version that `plan` called so, if it did.
pub(crate) fn version(model: &str, variant: &str) -> Option<String> {
    let (_, version) = variant.rsplit_once("-v")?;
    let number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    (number && self::variant(model, version) == variant).then(|| version.to_owned())
}

/// What an experiment is called when no tag names it.
pub(crate) fn experiment(model: &str) -> String {
    const END: &str = "-ab-test";
    format!("{}{END}", slug(model, LONGEST - END.len()))
}

/// The model's name in the letters that a variant's name may have.
fn slug(model: &str, longest: usize) -> String {
    let letter =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let text: String = model.chars().map(letter).take(longest).collect();
    let text = text.trim_matches('-');
    if text.is_empty() { "model".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_leads_back_to_its_version() {
        for model in ["digits", "my model (ü)", "a-v2", "ü", &"long".repeat(40)] {
            let name = variant(model, "17");
            assert!(name.len() <= 63 && name.ends_with("-v17"), "{name}");
            assert_eq!(version(model, &name).as_deref(), Some("17"));
            assert!(experiment(model).len() <= 63);
        }
        assert_eq!(variant("my model", "3"), "my-model-v3");
        for stranger in ["rec-v3", "digits", "digits-v", "digits-vx", "digits-v-3", "xdigits-v3"] {
            assert_eq!(version("digits", stranger), None, "{stranger}");
        }
    }
}
