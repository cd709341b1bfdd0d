//! Serde over the positioned tree: structs are filled from nodes, and an error keeps the node it is about.
//!
//! serde's own errors are text by the time they arrive. Here they stay what they are (this key, those known keys), so
//! that the report can point and propose.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde_yaml::Value;

use super::tree::{Body, Key, Node, NodeId};

/// Why a node does not fit its struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The node it is about: a key, a value, or the map in which a key is missing.
    pub at: Option<NodeId>,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// A key the struct does not have; with those it has.
    UnknownKey(String, &'static [&'static str]),
    /// A word out of a fixed set, but not one of it; with the set.
    UnknownWord(String, &'static [&'static str]),
    /// A key that must be there.
    Missing(&'static str),
    /// Nothing new: the value is reported already.
    Reported,
    /// Some other value; with what was expected.
    Expected(String),
}

impl Error {
    fn new(kind: ErrorKind) -> Self {
        Error { at: None, kind }
    }

    /// Errors bubble up from the innermost node, which is the one to point at.
    fn within(mut self, id: NodeId) -> Self {
        self.at.get_or_insert(id);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.kind {
            ErrorKind::UnknownKey(key, _) => write!(f, "unknown key `{key}`"),
            ErrorKind::UnknownWord(word, _) => write!(f, "unknown value `{word}`"),
            ErrorKind::Missing(key) => write!(f, "`{key}` is missing"),
            ErrorKind::Reported => f.write_str("reported already"),
            ErrorKind::Expected(expected) => f.write_str(expected),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error::new(ErrorKind::Expected(message.to_string()))
    }
    fn invalid_type(_: Unexpected, expected: &dyn Expected) -> Self {
        Error::new(ErrorKind::Expected(format!("expected {}", plain_words(&expected.to_string()))))
    }
    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Error::new(ErrorKind::Expected(format!("expected {expected}")))
    }
    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Error::new(ErrorKind::UnknownWord(variant.into(), known))
    }
    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Error::new(ErrorKind::UnknownKey(field.into(), known))
    }
    fn missing_field(field: &'static str) -> Self {
        Error::new(ErrorKind::Missing(field))
    }
}

/// What serde's derive calls a thing of Rust, in the words of the file.
fn plain_words(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" | "u16" => "a whole number",
        "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" | "path string" => "text; numbers, `true`, `false` and `null` need quotes to be text",
        "a sequence" => "a list",
        struct_or_enum if struct_or_enum.starts_with("struct ") => "a map of keys and values",
        struct_or_enum if struct_or_enum.starts_with("enum ") => "one word, or a map of one key",
        other => other,
    }
}

/// The keys a struct knows, without a value of it at hand.
pub fn known_keys<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = Error;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(de::Error::custom(""))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    // Always an error: the probe has nothing to give but the question.
    let _ = T::deserialize(Probe(&mut fields));
    fields
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.body {
            Body::Unknown => Err(Error::new(ErrorKind::Reported)),
            Body::List(items) => visitor.visit_seq(Items(items.iter())),
            Body::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
            Body::Scalar { value, .. } => match value {
                Value::Bool(value) => visitor.visit_bool(*value),
                Value::String(text) => visitor.visit_str(text),
                Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                    (Some(number), ..) => visitor.visit_u64(number),
                    (_, Some(number), _) => visitor.visit_i64(number),
                    (_, _, Some(number)) => visitor.visit_f64(number),
                    _ => visitor.visit_unit(),
                },
                _ => visitor.visit_unit(),
            },
        };
        result.map_err(|error| error.within(self.id))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
            .map_err(|error: Error| error.within(self.id))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self).map_err(|error: Error| error.within(self.id))
    }

    // A section whose keys are all commented out is an empty one, not an error.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            let empty = Entries { entries: [].iter(), value: None };
            return visitor.visit_map(empty).map_err(|error| error.within(self.id));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Visitors of structs also take lists, field by field; a file that relies on that is a mistake.
        if let Body::List(_) = self.body {
            return Err(
                Error::new(ErrorKind::Expected("expected a map of keys and values".into())).within(self.id)
            );
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let choice = match &self.body {
            Body::Scalar { value: Value::String(word), .. } => Choice { id: self.id, word, value: None },
            Body::Map(entries) if entries.len() == 1 => {
                let (Key { id, name, .. }, value) = &entries[0];
                Choice { id: *id, word: name, value: Some(value) }
            }
            Body::Unknown => return Err(Error::new(ErrorKind::Reported).within(self.id)),
            _ => {
                let expected = format!("expected one of: {}", variants.join(", "));
                return Err(Error::new(ErrorKind::Expected(expected)).within(self.id));
            }
        };
        visitor.visit_enum(choice).map_err(|error: Error| error.within(self.id))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(item).map(Some).map_err(|error| error.within(item.id))
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let name = StringDeserializer::<Error>::new(key.name.clone());
        seed.deserialize(name).map(Some).map_err(|error| error.within(key.id))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(|error| error.within(value.id)),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}

/// One variant of an enum: a word, or a key with its value.
struct Choice<'a> {
    id: NodeId,
    word: &'a str,
    value: Option<&'a Node>,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = StringDeserializer::<Error>::new(self.word.into());
        let variant = seed.deserialize(name).map_err(|error| error.within(self.id))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            None => Ok(()),
            Some(value) => {
                Err(Error::new(ErrorKind::Expected("expected the word alone".into())).within(value.id))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        match self.value {
            Some(value) => seed.deserialize(value),
            None => {
                let expected = format!("expected a value: `{}: ...`", self.word);
                Err(Error::new(ErrorKind::Expected(expected)).within(self.id))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("expected a single value"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Some(value) => value.deserialize_struct("", fields, visitor),
            None => Err(de::Error::custom(format_args!("expected a map: `{}: {{ ... }}`", self.word))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        count: u64,
        name: Option<String>,
        #[serde(default)]
        list: Vec<bool>,
        #[serde(default)]
        choice: Option<Word>,
        #[serde(default)]
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        share: f64,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        Plain,
        With(i64),
    }

    fn read(text: &str) -> Result<Sample, (Option<String>, ErrorKind)> {
        let mut problems = Vec::new();
        let tree = tree::parse(text, &|_| None, &mut problems).unwrap();
        Sample::deserialize(&tree).map_err(|error| {
            let at = error.at.and_then(|id| place(&tree, id)).map(|span| text[span].to_owned());
            (at, error.kind)
        })
    }

    fn place(node: &Node, id: NodeId) -> Option<std::ops::Range<usize>> {
        let keys = node.entries().iter().map(|(key, _)| (key.id, key.span.clone()));
        let here = std::iter::once((node.id, node.span.clone())).chain(keys);
        let values = node.entries().iter().map(|(_, value)| value);
        let items: Vec<&Node> = match &node.body {
            Body::List(items) => items.iter().collect(),
            _ => values.collect(),
        };
        let found = here.into_iter().find(|(each, _)| *each == id).map(|(_, span)| span);
        found.or_else(|| items.into_iter().find_map(|item| place(item, id)))
    }

    #[test]
    fn structs_are_filled_from_nodes() {
        let sample = read("count: 3\nname: x\nlist: [true]\nchoice: { with: -4 }\ninner:\n").unwrap();
        assert_eq!(sample.choice, Some(Word::With(-4)));
        assert_eq!((sample.count, sample.name.as_deref(), sample.list), (3, Some("x"), vec![true]));
        assert_eq!(read("{count: 1, choice: plain}").unwrap().choice, Some(Word::Plain));
        assert_eq!(read("count: 1\nname:\n").unwrap().name, None);
    }

    #[test]
    fn an_error_keeps_the_innermost_node_it_is_about() {
        let expected = |text: &str| ErrorKind::Expected(text.into());
        let words: &'static [&'static str] = &["plain", "with"];
        let cases = [
            ("count: x", "x", expected("expected a whole number")),
            ("count: -1", "-1", expected("expected a whole number")),
            ("{count: 1, list: [true, no]}", "no", expected("expected `true` or `false`")),
            ("{count: 1, inner: {sare: 1}}", "sare", ErrorKind::UnknownKey("sare".into(), &["share"])),
            ("{count: 1, inner: [1]}", "[1]", expected("expected a map of keys and values")),
            ("{count: 1, choice: plan}", "plan", ErrorKind::UnknownWord("plan".into(), words)),
            ("{count: 1, choice: {wit: 1}}", "wit", ErrorKind::UnknownWord("wit".into(), words)),
            ("{count: 1, choice: with}", "with", expected("expected a value: `with: ...`")),
            ("{count: 1, choice: {plain: 1}}", "1", expected("expected the word alone")),
        ];
        for (text, at, kind) in cases {
            assert_eq!(read(text), Err((Some(at.into()), kind)), "{text}");
        }
        assert_eq!(read("name: x").unwrap_err().1, ErrorKind::Missing("count"));
    }

    #[test]
    fn the_keys_of_a_struct_are_known_without_a_value() {
        assert_eq!(known_keys::<Sample>(), ["count", "name", "list", "choice", "inner"]);
    }
}
