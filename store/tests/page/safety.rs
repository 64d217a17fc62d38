//! What a page must not let happen.

use sidetrack_store::Access;

use crate::crowd::{Crowd, FORECAST, labels};
use crate::served::{Served, unescaped};

const PAGE: &str = "/experiments/forecast";

/// printf %s secret | sha256sum
const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn with_token() -> Access {
    let byte = |at: usize| u8::from_str_radix(&DIGEST[2 * at..2 * at + 2], 16).unwrap();
    Access { token_sha256: Some(std::array::from_fn(byte)), ..Access::local() }
}

#[test]
fn a_browser_may_load_only_what_this_server_has() {
    let served = Served::new(&[FORECAST]);
    for (path, status) in [
        ("/", 200),
        (PAGE, 200),
        ("/experiments/other", 404),
        ("/assets/page.js", 200),
        ("/assets/x", 404),
    ] {
        let answer = served.get(path);
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.split("; ").any(|one| one == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn nothing_is_inline_and_nothing_is_from_elsewhere() {
    let served = Served::new(&[FORECAST]);
    let lines = Crowd::new(FORECAST).lines(3000);
    served.expose(&lines);
    served.outcomes(&labels(&lines, &[("plain", 0.7), ("fancy", 0.8)]));
    for path in ["/", PAGE] {
        let html = served.get(path).text;
        assert!(!html.contains("<style") && !html.contains(" style="), "{path}");
        for (at, _) in html.match_indices("<script") {
            assert!(html[at..].starts_with("<script src=\"/assets/"), "{}", &html[at..at + 60]);
        }
        for attribute in [" src=\"", " href=\""] {
            for (at, _) in html.match_indices(attribute) {
                let value = &html[at + attribute.len()..];
                assert!(value.starts_with(['/', '#']), "{}", &value[..40]);
                assert!(!value.starts_with("//"), "{}", &value[..40]);
            }
        }
        let handlers = html.match_indices(" on").filter(|(at, _)| {
            html[at + 3..]
                .find(['=', ' ', '<'])
                .is_some_and(|end| html[at + 3 + end..].starts_with("=\""))
        });
        assert_eq!(handlers.count(), 0, "{path}");
    }
}

/// Text that would be a script wherever it is not escaped.
const SCRIPT: &str = "<script>alert(1)</script>";

#[test]
fn text_of_files_and_users_is_text() {
    let file = FORECAST.replace("[\"accuracy\"]", &format!("[\"{SCRIPT}=mean:increase\"]"));
    let served = Served::new(&[&file]);
    let mut lines = Crowd::new(&file).lines(900);
    served.expose(&lines);
    // A name in the command, before there is a verdict.
    let page = served.get(PAGE).text;
    assert!(page.contains("&lt;script&gt;alert(1)"), "the name is not there");
    assert!(!page.contains(SCRIPT), "a script in the page");
    // A metric, a phase, a variant, and a request id that is quoted as an example.
    for line in &mut lines[..300] {
        line["request_id"] = format!("{SCRIPT}{}", line["request_id"]).into();
        line["phase"] = SCRIPT.into();
        line["served"] = SCRIPT.into();
    }
    served.expose(&lines);
    let mut table = format!("request_id,{SCRIPT},other\n");
    for line in &lines {
        let id = line["request_id"].as_str().unwrap().replace('"', "\"\"");
        table += &format!("\"{id}\",{},\"{SCRIPT}\"\n", id.len() % 7);
    }
    served.outcomes(&table);
    let page = served.until(PAGE, "What would change it").text;
    assert!(page.matches("&lt;script&gt;alert").count() > 10, "{page}");
    assert!(!page.contains(SCRIPT), "a script in the page");
    let missing = served.get("/experiments/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("&lt;script&gt;") && !missing.text.contains(SCRIPT));
    // The host of the request is in a command.
    let host = [("host", "127.0.0.1:80<script>")];
    let page = served.send("GET", "/experiments/forecast", &host, b"");
    assert!(!page.text.contains("80<script>"), "{}", page.status);
}

#[test]
fn a_name_cannot_end_the_quotes_of_a_command() {
    let file = FORECAST.replace("[\"accuracy\"]", "[\"it's; reboot=mean:increase\"]");
    let served = Served::new(&[&file]);
    served.expose(&Crowd::new(&file).lines(30));
    let page = served.get(PAGE).text;
    let command = page.split("<pre><code>").nth(1).unwrap().split("</code>").next().unwrap();
    let command = unescaped(command).replace("curl ", "printf '%s\\n' ");
    let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(words.ends_with("{\"it's; reboot\":1,\"request_id\":\"ID\"}\n"), "{command}: {words}");
}

#[test]
fn a_browser_is_asked_for_the_token_and_only_reads_with_it() {
    let served = Served::with(&[FORECAST], with_token());
    let challenges = |path: &str| {
        let answer = served.get(path);
        assert_eq!(answer.status, 401, "{path}");
        let all = answer.headers.into_iter().filter(|(name, _)| name == "www-authenticate");
        all.map(|(_, value)| value).collect::<Vec<_>>()
    };
    for path in ["/", PAGE, "/assets/page.js", "/experiments/forecast/events"] {
        assert!(challenges(path).iter().any(|one| one.starts_with("Basic realm=")), "{path}");
    }
    // Programs are not asked by a window of a browser.
    assert_eq!(challenges("/v1/experiments"), ["Bearer"]);
    // anybody:secret, :secret, anybody:wrong, secret without a name.
    let status = |method: &str, path: &str, credentials: &str| {
        let headers = [("authorization", credentials), ("content-type", "application/json")];
        served.send(method, path, &headers, b"{\"request_id\": \"a\", \"x\": 1}").status
    };
    assert_eq!(status("GET", PAGE, "Basic YW55Ym9keTpzZWNyZXQ="), 200);
    assert_eq!(status("GET", PAGE, "basic OnNlY3JldA=="), 200);
    assert_eq!(status("GET", "/v1/experiments", "Basic OnNlY3JldA=="), 200);
    assert_eq!(status("GET", PAGE, "Bearer secret"), 200);
    for wrong in ["Basic YW55Ym9keTp3cm9uZw==", "Basic c2VjcmV0", "Basic secret", "Basic ", "Basic"]
    {
        assert_eq!(status("GET", PAGE, wrong), 401, "{wrong}");
    }
    // Another site could make a browser send a password along.
    assert_eq!(status("POST", "/v1/outcomes", "Basic OnNlY3JldA=="), 401);
    assert_eq!(status("POST", "/v1/outcomes", "Bearer secret"), 200);
    // The command on the page has a place for the token.
    served.store.close();
    let basic = [("authorization", "Basic OnNlY3JldA==")];
    let page = served.send("GET", PAGE, &basic, b"");
    assert!(!page.text.contains("Bearer secret"), "the token is on the page");
}

#[test]
fn a_page_of_another_site_cannot_reach_the_page() {
    let served = Served::new(&[FORECAST]);
    let of = |path: &str, host: &str| served.send("GET", path, &[("host", host)], b"").status;
    for path in ["/", PAGE, "/events", "/assets/page.js"] {
        assert_eq!(of(path, "evil.example.com"), 403, "{path}");
    }
    assert_eq!(of(PAGE, "localhost:8088"), 200);
}

#[test]
fn files_and_pages_are_loaded_once() {
    let served = Served::new(&[FORECAST]);
    for path in ["/", PAGE, "/assets/page.js", "/assets/page.css", "/assets/icon.svg"] {
        let first = served.get(path);
        assert_eq!(first.status, 200, "{path}");
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path}: {first:?}"));
        let again = served.send("GET", path, &[("if-none-match", tag)], b"");
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        assert!(again.header("content-security-policy").is_some(), "{path}");
        let other = served.send("GET", path, &[("if-none-match", "\"0000000000000000\"")], b"");
        assert_eq!(other.status, 200, "{path}");
        assert_eq!(first.header("cache-control"), Some("private, no-cache"), "{path}");
    }
    assert_eq!(served.send("POST", "/", &[], b"").status, 405);
}
