//! A JSON Pointer into a body, against serde_json, which builds the whole body first.
//!
//! The input is the pointer, a line break, and the body.

use serde_json::Value;
use sidetrack::body::value;

/// One input.
pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(pointer) = std::str::from_utf8(&data[..end]) else { return };
    let body = &data[end + 1..];
    let ours = value(body, pointer);
    match serde_json::from_slice::<Value>(body) {
        // Only what the file's reader takes for a pointer comes here: it begins with a slash.
        Ok(whole) if pointer.is_empty() || pointer.starts_with('/') => {
            let found = whole.pointer(pointer);
            match (found, &ours) {
                (Some(Value::String(text)), Some(ours)) => assert_eq!(text.as_bytes(), &**ours),
                (Some(Value::Number(number)), Some(ours)) => {
                    // The literal as it was sent, which is the same number.
                    let literal: Value = serde_json::from_slice(ours).expect("a number's literal");
                    assert_eq!(literal.as_number(), Some(number));
                    let begins = body.windows(ours.len()).any(|part| part == &**ours);
                    assert!(begins, "a literal that is not in the body");
                }
                (Some(Value::String(_) | Value::Number(_)), None) => {
                    panic!("missed {found:?} at {pointer:?} of {}", body.escape_ascii())
                }
                (_, None) => {}
                (found, Some(ours)) => panic!("{found:?} is no unit: {}", ours.escape_ascii()),
            }
        }
        // A body that ends too soon or goes on has no value. (Where serde_json refuses what it cannot represent, a number
        // out of range say, ours reads on.)
        Err(error) if error.is_eof() || error.to_string().starts_with("trailing characters") => {
            assert_eq!(ours, None, "{}", body.escape_ascii())
        }
        _ => {}
    }
}
