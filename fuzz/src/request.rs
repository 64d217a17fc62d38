//! Target, cookies and query as a client may write them, against plainer ways to read them.
//!
//! The input's lines: the target, the authority, then cookie headers.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use sidetrack::request::Request;
use sidetrack::unit::UnitSource;

/// One input.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let (target, authority) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut headers: Vec<(&str, &[u8])> = vec![(":path", target), (":authority", authority)];
    let cookies: Vec<&[u8]> = lines.collect();
    headers.extend(cookies.iter().map(|line| ("cookie", *line)));

    let without_fragment = target.split(|&byte| byte == b'#').next().unwrap_or_default();
    let mut halves = without_fragment.splitn(2, |&byte| byte == b'?');
    assert_eq!(headers.path(), halves.next());
    let query = halves.next();
    assert_eq!(headers.query(), query);
    let host = headers.host().unwrap_or_default();
    assert!(authority.starts_with(host), "the host is the authority without its end");
    let port = &authority[host.len()..];
    assert!(port.is_empty() || port[0] == b':');

    for name in ["u", "user id", "%"] {
        let found = UnitSource::Query(name.to_owned()).read(&headers).map(Cow::into_owned);
        assert_eq!(found, parameter(query.unwrap_or_default(), name.as_bytes()), "query {name}");
    }
    for name in ["u", "sid"] {
        let found = UnitSource::Cookie(name.to_owned()).read(&headers).map(Cow::into_owned);
        assert_eq!(found, cookie(&cookies, name.as_bytes()), "cookie {name}");
    }
    let header = UnitSource::Header("cookie".to_owned()).read(&headers).map(Cow::into_owned);
    assert_eq!(header, cookies.first().map(|line| line.to_vec()).filter(|line| !line.is_empty()));
}

fn pairs(text: &[u8], between: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let parts = text.split(|&byte| byte == between).filter(|part| part.contains(&b'='));
    let halves = |part: &[u8]| {
        let mut halves = part.splitn(2, |&byte| byte == b'=').map(<[u8]>::to_vec);
        (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
    };
    parts.map(halves).collect()
}

fn parameter(query: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let decoded = |bytes: &[u8]| percent_decode(bytes).collect::<Vec<u8>>();
    let found = pairs(query, b'&').into_iter().find(|(key, _)| decoded(key) == name);
    found.map(|(_, value)| decoded(&value)).filter(|value| !value.is_empty())
}

fn cookie(lines: &[&[u8]], name: &[u8]) -> Option<Vec<u8>> {
    let all = lines.iter().flat_map(|line| pairs(line, b';'));
    let found = all.into_iter().find(|(key, _)| key.trim_ascii() == name);
    found.map(|(_, value)| value.trim_ascii().to_vec()).filter(|value| !value.is_empty())
}
