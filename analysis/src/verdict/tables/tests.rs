use std::fmt::Write as _;

use super::*;

const PRIMARIES: [Primary; 4] =
    [Primary::Better, Primary::NoDifference, Primary::Undefined, Primary::Worse];
const GUARDS: [Guards; 3] = [Guards::Held, Guards::Unsettled, Guards::Broken];

#[test]
fn every_combination_has_one_row() {
    for primary in PRIMARIES {
        for guards in GUARDS {
            let rows = STANDINGS.iter().filter(|(one, two, _)| (*one, *two) == (primary, guards));
            assert_eq!(rows.count(), 1, "{primary:?} {guards:?}");
        }
    }
    for (_, _, standing) in STANDINGS {
        let rows = DECISIONS.iter().filter(|(found, ..)| *found == standing);
        assert_eq!(rows.count(), 1, "{standing:?}");
    }
}

/// The tables as docs/statistics.md shows them.
fn shown() -> String {
    let mut text =
        String::from("| primary metrics | guardrails | the candidate |\n|---|---|---|\n");
    for (primary, guards, standing) in STANDINGS {
        let primary = match primary {
            Primary::Better => "one better, none worse",
            Primary::Worse => "one worse",
            Primary::NoDifference => "no significant difference",
            Primary::Undefined => "none can be judged",
        };
        let guards = match guards {
            Guards::Held => "all within their margins",
            Guards::Unsettled => "none broken, one not settled",
            Guards::Broken => "one broken",
        };
        writeln!(text, "| {primary} | {guards} | {} |", word(standing)).unwrap();
    }
    text += "\n| the best candidate | before the planned units | at the planned units |\n|---|---|---|\n";
    for (standing, before, after) in DECISIONS {
        let (before, after) = (before.decision().as_str(), after.decision().as_str());
        writeln!(text, "| {} | `{before}` | `{after}` |", word(standing)).unwrap();
    }
    text
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Wins => "wins",
        Standing::Unsettled => "better, but not settled",
        Standing::Unjudged => "not judged",
        Standing::NotBetter => "not better",
        Standing::Harms => "harms",
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be asked to renew what it compares")]
fn the_handbook_shows_these_tables() {
    const BEGIN: &str = "<!-- verdict tables -->\n";
    const END: &str = "<!-- end of the verdict tables -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/statistics.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let wanted = format!("{head}{BEGIN}\n{}\n{END}{tail}", shown());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/statistics.md shows other tables; UPDATE=1 rewrites them");
    }
}
