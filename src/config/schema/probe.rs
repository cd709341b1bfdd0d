//! Asks the parser what it would take at a place, without a value at hand.
//!
//! A probe is a deserializer that leads a type's own `Deserialize` along one path of keys and notes what is asked for at
//! its end. It never yields a whole value, so nothing needs to be known about the type beforehand, and nothing can be
//! forgotten: what it says is what the parser does.

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::de::{IntoDeserializer, value::StrDeserializer};
use std::fmt;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key of a struct or map.
    Key(String),
    /// An item of a list.
    Item,
    /// What belongs to the variant of an enum.
    Variant(&'static str),
}

/// What the parser asks for at the end of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// A map with these keys.
    Struct(&'static [&'static str]),
    /// One of these words, or a map of one of them to what belongs to it.
    Enum(&'static [&'static str]),
    /// The word of a variant alone.
    Word,
    Map,
    List,
    Bool,
    Whole,
    Number,
    Text,
    /// Whatever it is: the parser looks at it itself, and wants what it says.
    Any(String),
    /// Whether the sample was taken.
    Taken(bool),
}

/// A value tried where the parser looks itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sample {
    Bool,
    Whole,
    Number,
    Text(String),
    List,
    Map,
    /// A map of a key that nobody has: who refuses it says which there are.
    StrangeKey,
}

/// Why nothing comes of it, as nothing ever does.
#[derive(Debug)]
pub(super) enum Stop {
    /// It got where it was to get, or could not.
    Here,
    /// A key or word that is none of these.
    Unknown(&'static [&'static str]),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probe has no values")
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Stop::Here
    }
    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Stop::Unknown(known)
    }
    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Stop::Unknown(known)
    }
}

/// A way down.
pub(super) struct Probe<'a> {
    path: &'a [Step],
    sample: Option<&'a Sample>,
    asked: &'a mut Option<Asked>,
}

/// What `read` asks for at the end of `path`, or whether it takes the sample there; `None` if it never gets there.
pub(super) fn ask<T>(
    read: &dyn Fn(Probe<'_>) -> Result<T, Stop>,
    path: &[Step],
    sample: Option<&Sample>,
) -> Option<Asked> {
    let mut asked = None;
    // A value comes of it only if the sample was taken at the top.
    let _ = read(Probe { path, sample, asked: &mut asked });
    asked
}

impl Probe<'_> {
    /// Notes what was asked for at the end of the path.
    fn note<T>(self, asked: Asked) -> Result<T, Stop> {
        if self.path.is_empty() {
            *self.asked = Some(asked);
        }
        Err(Stop::Here)
    }
}

macro_rules! leaves {
    ($($asked:ident: $($method:ident)*;)*) => { $($(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            match self.sample {
                Some(_) => self.deserialize_any(visitor),
                None => self.note(Asked::$asked),
            }
        }
    )*)* };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match (self.path, self.sample) {
            ([], None) => {
                let expected = (&visitor as &dyn de::Expected).to_string();
                self.note(Asked::Any(expected))
            }
            ([], Some(Sample::StrangeKey)) => {
                let result = visitor.visit_map(Strange);
                if let Err(Stop::Unknown(known)) = result {
                    *self.asked = Some(Asked::Struct(known));
                }
                result
            }
            ([], Some(sample)) => {
                let result = match sample {
                    Sample::Bool => visitor.visit_bool(true),
                    Sample::Whole => visitor.visit_u64(1),
                    Sample::Number => visitor.visit_f64(0.5),
                    Sample::Text(text) => visitor.visit_str(text),
                    Sample::List => visitor.visit_seq(Nothing),
                    Sample::Map | Sample::StrangeKey => visitor.visit_map(Nothing),
                };
                *self.asked = Some(match result {
                    Err(Stop::Unknown(known)) => Asked::Enum(known),
                    _ => Asked::Taken(result.is_ok()),
                });
                result
            }
            ([Step::Item, ..], _) => visitor.visit_seq(One::new(self)),
            ([Step::Key(_), ..], _) => visitor.visit_map(One::new(self)),
            ([Step::Variant(_), ..], _) => Err(Stop::Here),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stop> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match (self.path, self.sample) {
            ([], None) => self.note(Asked::Struct(fields)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match (self.path, self.sample) {
            ([], None) => self.note(Asked::Map),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        match (self.path, self.sample) {
            ([], None) => self.note(Asked::List),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        match self.path {
            [] => self.note(Asked::Enum(variants)),
            [Step::Variant(_), ..] => visitor.visit_enum(One::new(self)),
            _ => Err(Stop::Here),
        }
    }

    leaves! {
        Bool: deserialize_bool;
        Whole: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
            deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128;
        Number: deserialize_f32 deserialize_f64;
        Text: deserialize_str deserialize_string deserialize_char;
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// One step down.
struct One<'a> {
    probe: Option<Probe<'a>>,
    given: bool,
}

impl<'a> One<'a> {
    fn new(probe: Probe<'a>) -> Self {
        One { probe: Some(probe), given: false }
    }

    /// The probe behind the step.
    fn below(&mut self) -> Result<Probe<'a>, Stop> {
        let probe = self.probe.take().ok_or(Stop::Here)?;
        let path = probe.path.get(1..).ok_or(Stop::Here)?;
        Ok(Probe { path, ..probe })
    }
}

impl<'de> MapAccess<'de> for One<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        match self.probe.as_ref().and_then(|probe| probe.path.first()) {
            Some(Step::Key(key)) => {
                let key: StrDeserializer<'_, Stop> = key.as_str().into_deserializer();
                seed.deserialize(key).map(Some)
            }
            _ => Err(Stop::Here),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stop> {
        seed.deserialize(self.below()?)
    }
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        if std::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        seed.deserialize(self.below()?).map(Some)
    }
}

impl<'de, 'a> EnumAccess<'de> for One<'a> {
    type Error = Stop;
    type Variant = Probe<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(mut self, seed: V) -> Result<(V::Value, Probe<'a>), Stop> {
        let Some(Step::Variant(name)) = self.probe.as_ref().and_then(|probe| probe.path.first()) else {
            return Err(Stop::Here);
        };
        let name: StrDeserializer<'_, Stop> = (*name).into_deserializer();
        let variant = seed.deserialize(name)?;
        Ok((variant, self.below()?))
    }
}

impl<'de> VariantAccess<'de> for Probe<'_> {
    type Error = Stop;

    fn unit_variant(self) -> Result<(), Stop> {
        self.note(Asked::Word)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stop> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Stop> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// A list or map of nothing.
struct Nothing;

impl<'de> SeqAccess<'de> for Nothing {
    type Error = Stop;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, _: T) -> Result<Option<T::Value>, Stop> {
        Ok(None)
    }
}

impl<'de> MapAccess<'de> for Nothing {
    type Error = Stop;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>, Stop> {
        Ok(None)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, _: T) -> Result<T::Value, Stop> {
        Err(Stop::Here)
    }
}

/// A map whose one key nobody has.
struct Strange;

impl<'de> MapAccess<'de> for Strange {
    type Error = Stop;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        let key: StrDeserializer<'_, Stop> = "no key of anybody".into_deserializer();
        seed.deserialize(key).map(Some)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, _: T) -> Result<T::Value, Stop> {
        Err(Stop::Here)
    }
}
