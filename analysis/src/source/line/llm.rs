//! Fields of a line about the use of a language model, under the names that gateways give them.

use sidetrack::names::{gen_ai, log};

use super::Field;

/// What a field says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum LlmField {
    /// The model.
    Model,
    /// Tokens of the request, those from a cache included.
    Input,
    /// Tokens of the request that come from a cache.
    Cached,
    /// Tokens of the answer.
    Output,
    /// Milliseconds until the answer began.
    First,
}

/// The names of the fields; of several in one line, the first one counts.
///
/// `gen_ai.…` are OpenTelemetry's, with those of its former versions. The others are those of OpenAI's and Anthropic's
/// answers, of LiteLLM's log, and the usual keys of Envoy AI Gateway. Anthropic's own count of cached tokens is not
/// among them, since its input tokens are without these.
pub(in crate::source) const NAMES: [(LlmField, &[&str]); 5] = [
    (LlmField::Model, &[gen_ai::RESPONSE_MODEL, gen_ai::REQUEST_MODEL, "model"]),
    (
        LlmField::Input,
        &[
            gen_ai::INPUT_TOKENS,
            "gen_ai.usage.prompt_tokens",
            "llm_input_token",
            "input_tokens",
            "prompt_tokens",
        ],
    ),
    (
        LlmField::Cached,
        &[
            gen_ai::CACHED_TOKENS,
            "gen_ai.usage.cache_read_input_tokens",
            "llm_cached_input_token",
            "cached_tokens",
        ],
    ),
    (
        LlmField::Output,
        &[
            gen_ai::OUTPUT_TOKENS,
            "gen_ai.usage.completion_tokens",
            "llm_output_token",
            "output_tokens",
            "completion_tokens",
        ],
    ),
    (LlmField::First, &[log::FIRST_BODY, log::FIRST_BYTE]),
];

/// A name: what its field says, and its rank among the names of the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    field: LlmField,
    rank: u8,
}

/// What the field of this name says; `None` if it says nothing of a language model.
pub(super) fn place(name: &str) -> Option<Place> {
    // Most names of other fields end here.
    if !matches!(
        name.as_bytes().first(),
        Some(b'g' | b'f' | b'l' | b'i' | b'o' | b'p' | b'c' | b'm')
    ) {
        return None;
    }
    NAMES.iter().find_map(|(field, names)| {
        let rank = (0..).zip(names.iter()).find(|(_, known)| **known == name)?.0;
        Some(Place { field: *field, rank })
    })
}

/// The fields of a line about a language model, not yet checked.
#[derive(Debug)]
pub(in crate::source) struct Llm<'a>([(u8, Field<'a>); NAMES.len()]);

impl Default for Llm<'_> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| (u8::MAX, Field::Nothing)))
    }
}

impl<'a> Llm<'a> {
    /// Takes a value, unless a better name has one.
    pub(super) fn take(&mut self, place: Place, value: Field<'a>) {
        if let Some((rank, slot)) = self.0.get_mut(place.field as usize)
            && place.rank < *rank
            && !matches!(value, Field::Nothing)
        {
            (*rank, *slot) = (place.rank, value);
        }
    }

    /// The value of a field.
    pub(in crate::source) fn get(&self, field: LlmField) -> &Field<'a> {
        self.0.get(field as usize).map_or(&Field::Nothing, |(_, value)| value)
    }
}

impl Field<'_> {
    /// A number of 0 or more, or the digits of one in text. `Err` is the value that is not one.
    #[expect(clippy::cast_precision_loss, reason = "no number of a log line is beyond 2^53")]
    pub(in crate::source) fn real(&self) -> Result<Option<f64>, String> {
        let number = match self {
            Field::Nothing => return Ok(None),
            Field::Text(text) => text.parse().map_err(|_| text.clone().into_owned())?,
            Field::Whole(number) => *number as f64,
            Field::Number(number) => *number,
        };
        let is_sound = (0.0..=1e15).contains(&number);
        // In words, since the digits alone would be a number.
        is_sound.then_some(Some(number)).ok_or_else(|| format!("the number {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Line, Slot};
    use super::*;

    fn shown(line: &str) -> Vec<String> {
        let line = Line::parse(line.as_bytes()).unwrap();
        NAMES.iter().map(|(field, _)| format!("{:?}", line.llm.get(*field))).collect()
    }

    #[test]
    fn the_fields_have_the_order_of_their_slots() {
        for (at, (field, names)) in NAMES.iter().enumerate() {
            assert_eq!(*field as usize, at);
            for name in *names {
                assert!(place(name).is_some_and(|place| place.field == *field), "{name}");
                assert!(Slot::of(name).is_some(), "{name}");
            }
        }
        assert!(place("time").is_none() && place("gen_ai.usage.total_tokens").is_none());
    }

    #[test]
    fn of_several_names_the_first_one_counts_whatever_their_order() {
        let wanted = ["Text(\"b\")", "Whole(7)", "Nothing", "Number(1.5)", "Whole(40)"];
        for line in [
            r#"{"gen_ai.request.model":"a","gen_ai.response.model":"b","prompt_tokens":9,"gen_ai.usage.input_tokens":7,"gen_ai.usage.output_tokens":1.5,"first_byte":10,"first_body":40}"#,
            r#"{"first_body":40,"first_byte":10,"gen_ai.usage.output_tokens":1.5,"gen_ai.usage.input_tokens":7,"prompt_tokens":9,"gen_ai.response.model":"b","gen_ai.request.model":"a"}"#,
        ] {
            assert_eq!(shown(line), wanted, "{line}");
        }
        // What is missing under the better name.
        let line = r#"{"gen_ai.response.model":"-","gen_ai.request.model":"a","gen_ai.usage.input_tokens":null,"llm_input_token":3,"x":"\u0041"}"#;
        assert_eq!(shown(line)[..2], ["Text(\"a\")", "Whole(3)"]);
    }

    #[test]
    fn lists_and_objects_are_no_values_and_no_fault() {
        let line = r#"{"model":{"name":"a"},"input_tokens":[1],"output_tokens":2}"#;
        assert_eq!(shown(line), ["Nothing", "Nothing", "Nothing", "Whole(2)", "Nothing"]);
    }

    #[test]
    fn records_of_other_formats_have_the_same_fields() {
        let mut line = Line::default();
        for (name, value) in [("llm_output_token", "5"), ("output_tokens", "6")] {
            line.set(name, Field::of_text(value.into())).unwrap();
        }
        assert_eq!(line.llm.get(LlmField::Output).text(), Some("5"));
    }
}
