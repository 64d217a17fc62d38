//! Envoy's foreign functions for expressions: `expr_create`, `expr_evaluate` and `expr_delete`, in CEL over the
//! attributes of a stream. As in Envoy, an expression belongs to the root that created it, and an attribute without a value makes
//! the evaluation fail.

use std::collections::{BTreeMap, HashMap};

use cel::{Context, Program, Value};

use super::abi::Status;
use super::guest::{Answer, Guest, Root};

/// The number that Envoy gives for an attribute: signed or not.
type Kind = fn(i64) -> Value;

/// The attributes that can be asked for.
const ATTRIBUTES: [(&str, &str, Kind); 4] = [
    ("response", "code", Value::Int),
    ("response", "flags", Value::Int),
    ("response", "grpc_status", Value::Int),
    ("upstream", "request_attempt_count", |count| Value::UInt(count.cast_unsigned())),
];

/// The compiled expressions of a root.
#[derive(Default)]
pub(super) struct Expressions {
    by_token: BTreeMap<u32, Program>,
    next: u32,
}

/// Answers a call of one of the functions; none if the name is another's.
pub(super) fn call(guest: &mut Guest<'_>, name: &str, argument: &[u8]) -> Option<Answer<Vec<u8>>> {
    Some(match name {
        "expr_create" => create(guest, argument),
        "expr_evaluate" => evaluate(guest, argument),
        "expr_delete" => token(argument).and_then(|token| {
            of_root(guest, |root| root.expressions.by_token.remove(&token)).map(|_| Vec::new())
        }),
        _ => return None,
    })
}

fn create(guest: &mut Guest<'_>, source: &[u8]) -> Answer<Vec<u8>> {
    let program =
        Program::compile(&String::from_utf8_lossy(source)).map_err(|_| Status::BadArgument)?;
    of_root(guest, |root| {
        let token = root.expressions.next;
        root.expressions.next += 1;
        root.expressions.by_token.insert(token, program);
        token.to_le_bytes().to_vec()
    })
}

fn evaluate(guest: &mut Guest<'_>, argument: &[u8]) -> Answer<Vec<u8>> {
    let token = token(argument)?;
    let now = guest.shared().now_ns;
    let mut values: BTreeMap<&str, HashMap<&str, Value>> = BTreeMap::new();
    for (group, name, kind) in ATTRIBUTES {
        let path = format!("{group}\0{name}");
        let bytes = guest.stream().and_then(|mut stream| stream.property(path.as_bytes(), now));
        let group = values.entry(group).or_default();
        if let Some(number) = bytes.and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes)
        {
            group.insert(name, kind(number));
        }
    }
    let mut context = Context::default();
    for (group, values) in values {
        context.add_variable_from_value(group, values);
    }
    let result = of_root(guest, |root| {
        root.expressions.by_token.get(&token).map(|it| it.execute(&context))
    })?;
    match result.ok_or(Status::NotFound)?.map_err(|_| Status::InternalFailure)? {
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Bool(yes) => Ok(vec![u8::from(yes)]),
        Value::Int(number) => Ok(number.to_le_bytes().to_vec()),
        Value::UInt(number) => Ok(number.to_le_bytes().to_vec()),
        _ => Err(Status::SerializationFailure.into()),
    }
}

fn token(argument: &[u8]) -> Answer<u32> {
    Ok(u32::from_le_bytes(argument.try_into().map_err(|_| Status::BadArgument)?))
}

fn of_root<T>(guest: &mut Guest<'_>, act: impl FnOnce(&mut Root) -> T) -> Answer<T> {
    let root = guest.host().current_root();
    Ok(act(guest.host_mut().root_mut(root).ok_or(Status::BadArgument)?))
}
