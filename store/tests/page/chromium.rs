//! The page in a real browser: it changes while it is open, and people can use it on a phone, with a keyboard, and by
//! ear.

use std::path::Path;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::crowd::{Crowd, FORECAST, divert, labels};
use crate::served::Served;

const RATES: [(&str, f64); 2] = [("plain", 0.78), ("fancy", 0.81)];

/// A plan with steps, a breaker that opened twice, and outcomes: as a page is after some hours.
fn busy() -> (Served, Crowd) {
    let steps = r#""steps": [{"weight": 5, "min_for": "1h", "min_units": 200},
        {"weight": 15, "min_for": "4h", "min_units": 2000}, {"weight": 40, "min_for": "7d"}]"#;
    let plan = format!("\"planned_units\": 12000, {steps}");
    let file = FORECAST.replace("\"planned_units\": 3000", &plan);
    let [first, file] = ["5", "15"].map(|weight| {
        file.replace("\"weight\": 40}],", &format!("\"weight\": {weight}, \"reserve\": 40}}],"))
    });
    let other = FORECAST.replace("forecast", "churn-2026").replace("\"one\"", "\"two\"");
    let served = Served::new(&[&file, &other]);
    let mut crowd = Crowd::new(&first);
    crowd.step = 1700;
    let mut lines = crowd.lines(4000);
    let mut crowd = Crowd::follow(&file, &crowd);
    lines.extend(crowd.lines(8000));
    divert(&mut lines[6000..6100], "fancy", "plain");
    divert(&mut lines[9000..9300], "fancy", "plain");
    served.expose(&lines);
    served.outcomes(&labels(&lines, &RATES));
    // Requests of its own: an outcome is about one experiment.
    served.expose(&Crowd::from(1_000_000, &other).lines(500));
    (served, crowd)
}

fn url(served: &Served, path: &str) -> String {
    format!("http://{}{path}", served.address)
}

#[test]
fn it_changes_in_place_while_it_is_open() {
    let (served, mut crowd) = busy();
    let mut browser = Browser::start();
    browser.show(1280, 900, "light");
    browser.open(&url(&served, "/experiments/forecast"));
    browser.until("document.querySelector('#status').textContent === 'Live'");
    assert!(browser.value("document.body.innerText").as_str().unwrap().contains("12000"));
    // A reader has opened a table, stands on it with the keyboard, and has scrolled.
    browser.value(
        "globalThis.mark = document.querySelector('#effect details summary'); mark.click(); mark.focus(); \
         scrollTo(0, document.querySelector('#data').offsetTop); globalThis.was = scrollY; 0",
    );
    let lines = crowd.lines(700);
    served.expose(&lines);
    browser.until("document.querySelector('.facts').innerText.includes('12700')");
    served.outcomes(&labels(&lines, &RATES));
    browser.until("document.querySelector('#data').innerText.includes('12700 outcome rows')");
    let state = browser.value(
        "[document.activeElement === mark, mark.isConnected, mark.parentElement.open, \
          Math.abs(scrollY - was) < 60, was > 500]",
    );
    assert_eq!(state, json!([true, true, true, true, true]));
    // A transition is in the log without a reload.
    let mut lines = crowd.lines(400);
    divert(&mut lines, "fancy", "plain");
    served.expose(&lines);
    browser.until("document.querySelector('#breaker').innerText.includes('✕ open')");
    assert_eq!(browser.value("mark.isConnected"), true, "the page was loaded again");
    // What the browser refused would be here: scripts, styles, connections.
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn a_lost_connection_is_said_and_comes_back() {
    let (mut served, mut crowd) = busy();
    let mut browser = Browser::start();
    browser.show(390, 844, "dark");
    browser.open(&url(&served, "/experiments/forecast"));
    browser.until("document.querySelector('#status').textContent === 'Live'");
    served.stop();
    browser.until("document.querySelector('#status').textContent.startsWith('Connection lost')");
    assert_eq!(browser.value("document.querySelector('#status').role"), "status");
    served.start_again();
    browser.until("document.querySelector('#status').textContent === 'Live'");
    served.expose(&crowd.lines(300));
    browser.until("document.querySelector('.facts').innerText.includes('12300')");
}

#[test]
fn a_phone_needs_no_horizontal_scrolling() {
    let long = "a-variant-with-a-very-long-name-that-no-phone-has-the-width-for";
    let wide = FORECAST
        .replace("fancy", long)
        .replace("accuracy", "a_metric_with_a_very_long_name_in_one_word");
    let (served, _) = busy();
    let others = Served::new(&[&wide]);
    let lines = Crowd::new(&wide).lines(3000);
    others.expose(&lines);
    let mut browser = Browser::start();
    let mut widths = |served: &Served, path: &str, name: &str| {
        for (width, scheme) in [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")] {
            browser.show(width, 900, scheme);
            browser.open(&url(served, path));
            browser.until("document.querySelector('#status').textContent === 'Live'");
            let found = browser.value("document.documentElement.scrollWidth");
            assert!(found.as_u64() <= Some(width.into()), "{path}: {}", browser.value(WIDEST));
            browser.keep(&format!("{name}-{width}-{scheme}"));
        }
    };
    widths(&served, "/", "index");
    widths(&served, "/experiments/forecast", "experiment");
    widths(&served, "/experiments/churn-2026", "no-outcomes");
    widths(&others, "/experiments/forecast", "long-names");
    let table = labels(&lines, &[("plain", 0.7), (long, 0.8)])
        .replace("accuracy", "a_metric_with_a_very_long_name_in_one_word");
    others.outcomes(&table);
    others.until("/experiments/forecast", "What would change it");
    widths(&others, "/experiments/forecast", "long-names-verdict");
}

/// The elements that end beyond the window and not in a drawing.
const WIDEST: &str = "[...document.querySelectorAll('body *:not(svg *)')].filter(e => \
    e.getBoundingClientRect().right > screen.width).slice(-5).map(e => e.outerHTML.slice(0, 200)).join('\\n')";

#[test]
fn a_keyboard_reaches_everything_in_order() {
    let (served, _) = busy();
    let mut browser = Browser::start();
    browser.show(1280, 900, "light");
    browser.open(&url(&served, "/experiments/forecast"));
    // Up to so many places, or to the end of the page.
    let mut walk = |steps: usize| -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..steps {
            browser.press("Tab", 9);
            if browser.value("document.activeElement === document.body") == true {
                break;
            }
            let seen = browser.value(
                "(() => { const e = document.activeElement; const s = getComputedStyle(e); \
                  return [e.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth)]; })()",
            );
            assert!(seen[1] == "solid" && seen[2].as_f64() > Some(2.0), "no visible focus: {seen}");
            texts.push(seen[0].as_str().unwrap().to_owned());
        }
        texts
    };
    assert_eq!(
        walk(6),
        ["Skip to the content", "Experiments", "forecast", "Verdict", "Traffic", "Breaker"]
    );
    // All that can be focused comes in the order of the document.
    let all = walk(60);
    let wanted =
        ["Log", "Numbers: Requests", "Numbers: Effect on accuracy as units joined", "Interface"];
    let places = wanted.map(|wanted| all.iter().position(|text| text == wanted));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} of {all:?}");
    browser.open(&url(&served, "/"));
    browser.press("Tab", 9);
    browser.press("Enter", 13);
    browser.until("location.hash === '#content' && document.activeElement.id === 'content'");
    browser.press("Tab", 9);
    assert_eq!(browser.value("document.activeElement.textContent"), "churn-2026");
    assert_eq!(browser.problems, [""; 0]);
}

#[test]
fn axe_finds_nothing() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.tools/axe/node_modules/axe-core/axe.min.js");
    let axe =
        std::fs::read_to_string(axe).expect("axe-core is missing: run scripts/setup.sh tests");
    let (served, _) = busy();
    let empty = Served::new(&[FORECAST]);
    let mut browser = Browser::start();
    let mut check = |served: &Served, path: &str| {
        for (width, scheme) in [(1280, "light"), (390, "dark"), (390, "light"), (1280, "dark")] {
            browser.show(width, 900, scheme);
            browser.open(&url(served, path));
            browser.until("document.querySelector('#status').textContent === 'Live'");
            // What is closed is checked as well.
            browser
                .value("document.querySelectorAll('details').forEach(d => { d.open = true; }); 0");
            browser.value(&format!("{axe}; 0"));
            let found = browser.value(
                "axe.run(document, {resultTypes: ['violations']}).then(result => result.violations \
                 .map(v => [v.id, v.help, v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary)]))",
            );
            assert_eq!(found, Value::Array(Vec::new()), "{path} {width} {scheme}: {found:#}");
        }
    };
    check(&served, "/experiments/forecast");
    check(&served, "/experiments/churn-2026");
    check(&served, "/");
    check(&served, "/experiments/other");
    check(&empty, "/experiments/forecast");
}
