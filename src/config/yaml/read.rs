//! Values of Rust from a tree: serde's rules, with the place of a mistake.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{Cause, Error, Location, Node, Value};

/// A value out of a tree.
pub(in crate::config) fn read<'a, T: Deserialize<'a>>(node: &'a Node) -> Result<T, Error> {
    T::deserialize(Reader(node))
}

/// A value, and where it stands.
pub(in crate::config) struct Spanned<T> {
    /// The value.
    pub(in crate::config) value: T,
    /// Where it stands.
    pub(in crate::config) at: Location,
}

/// The name by which [`Reader`] knows that the place is wanted too.
const SPANNED: &str = "vaulttoken::Spanned";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Parts<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Parts<T> {
            type Value = Spanned<T>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value and its place")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Spanned<T>, A::Error> {
                let lacks = || de::Error::custom("the place is not known");
                let line = parts.next_element()?.ok_or_else(lacks)?;
                let column = parts.next_element()?.ok_or_else(lacks)?;
                let value = parts.next_element()?.ok_or_else(lacks)?;
                Ok(Spanned { value, at: Location { line, column } })
            }
        }
        from.deserialize_newtype_struct(SPANNED, Parts(std::marker::PhantomData))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.cause)
    }
}

impl std::error::Error for Error {}

impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        Self { cause, at: None }
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Cause::Value(message.to_string()).into()
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Cause::Expected(expected.to_string()).into()
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Cause::Expected(expected.to_string()).into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Cause::Field(field.to_owned(), expected).into()
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Cause::Kind(variant.to_owned(), expected).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Cause::Missing(field).into()
    }
}

impl Error {
    /// In this node, where it is not known to be deeper in it.
    fn within(mut self, node: &Node) -> Self {
        self.at.get_or_insert(node.at);
        self
    }
}

/// The words of YAML's core schema (YAML 1.2.2, section 10.3.2).
enum Plain<'a> {
    Nothing,
    Truth(bool),
    Text(&'a str),
}

impl Node {
    /// A scalar by what it looks like; `None` for lists and mappings.
    fn scalar(&self) -> Option<Plain<'_>> {
        let Value::Scalar { text, plain } = &self.value else { return None };
        Some(match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" if *plain => Plain::Nothing,
            "true" | "True" | "TRUE" if *plain => Plain::Truth(true),
            "false" | "False" | "FALSE" if *plain => Plain::Truth(false),
            text => Plain::Text(text),
        })
    }

    /// The text of a scalar, whatever it looks like.
    fn text(&self) -> Result<&str, Error> {
        match (&self.value, self.scalar()) {
            (_, Some(Plain::Nothing)) => Err(self.expected("a value")),
            (Value::Scalar { text, .. }, _) => Ok(text),
            _ => Err(self.expected("a text")),
        }
    }

    fn expected(&self, what: &str) -> Error {
        Error::new(self.at, Cause::Expected(what.to_owned()))
    }
}

struct Reader<'a>(&'a Node);

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let plain = matches!(self.0.value, Value::Scalar { plain: true, .. });
        let read = match (self.0.scalar(), &self.0.value) {
            (Some(Plain::Nothing), _) => visitor.visit_unit(),
            (Some(Plain::Truth(truth)), _) => visitor.visit_bool(truth),
            (Some(Plain::Text(text)), _) if plain => {
                if let Ok(number) = text.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = text.parse::<i64>() {
                    visitor.visit_i64(number)
                } else {
                    // `nan` and `infinity` are words here.
                    let number =
                        text.parse().ok().filter(|_| text.ends_with(|end: char| end.is_ascii_digit()));
                    match number {
                        Some(number) => visitor.visit_f64(number),
                        None => visitor.visit_borrowed_str(text),
                    }
                }
            }
            (Some(Plain::Text(text)), _) => visitor.visit_borrowed_str(text),
            (None, Value::List(nodes)) => visitor.visit_seq(Elements(nodes.iter())),
            (None, Value::Mapping(entries)) => {
                visitor.visit_map(Entries { rest: entries.iter(), value: None })
            }
            (None, Value::Scalar { .. }) => Err(self.0.expected("a value")),
        };
        read.map_err(|error| error.within(self.0))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0.text()?).map_err(|error: Error| error.within(self.0))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.scalar() {
            Some(Plain::Truth(truth)) => visitor.visit_bool(truth),
            _ => Err(self.0.expected("`true` or `false`")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.scalar() {
            Some(Plain::Nothing) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::List(nodes) = &self.0.value else { return Err(self.0.expected("a list")) };
        visitor.visit_seq(Elements(nodes.iter())).map_err(|error: Error| error.within(self.0))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Mapping(entries) = &self.0.value else { return Err(self.0.expected("a mapping")) };
        let entries = Entries { rest: entries.iter(), value: None };
        visitor.visit_map(entries).map_err(|error: Error| error.within(self.0))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let kind = match &self.0.value {
            Value::Scalar { .. } => Kind { name: self.0, value: None },
            Value::Mapping(entries) => match entries.as_slice() {
                [(name, value)] => Kind { name, value: Some(value) },
                [_, (second, _), ..] => return Err(Error::new(second.at, Cause::TwoKinds)),
                [] => return Err(self.0.expected("a key that names the kind")),
            },
            Value::List(_) => return Err(self.0.expected("a key that names the kind")),
        };
        visitor.visit_enum(kind).map_err(|error: Error| error.within(self.0))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == SPANNED {
            visitor.visit_seq(Parts::Line(self.0))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct ignored_any
    }
}

struct Elements<'a>(std::slice::Iter<'a, Node>);

impl<'a> SeqAccess<'a> for Elements<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(node)).map(Some).map_err(|error| error.within(node))
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, (Node, Node)>,
    value: Option<&'a Node>,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Reader(key)).map(Some).map_err(|error| error.within(key))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let lacks = || Error::from(Cause::Value("a value without a key".to_owned()));
        let node = self.value.take().ok_or_else(lacks)?;
        seed.deserialize(Reader(node)).map_err(|error| error.within(node))
    }
}

/// A kind by its name alone, or with what belongs to it.
struct Kind<'a> {
    name: &'a Node,
    value: Option<&'a Node>,
}

impl<'a> EnumAccess<'a> for Kind<'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = BorrowedStrDeserializer::new(self.name.text()?);
        let kind = seed.deserialize(name).map_err(|error: Error| error.within(self.name))?;
        Ok((kind, self))
    }
}

impl<'a> VariantAccess<'a> for Kind<'a> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            Some(value) if !matches!(value.scalar(), Some(Plain::Nothing)) => Err(value.expected("nothing")),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Error> {
        match self.value {
            Some(value) => seed.deserialize(Reader(value)).map_err(|error| error.within(value)),
            None => seed.deserialize(Alone(self.name)).map_err(|error| error.within(self.name)),
        }
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(self.name.expected("a kind of one value"))
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(self.name.expected("a kind of one value"))
    }
}

/// What belongs to a kind that stands alone: nothing.
struct Alone<'a>(&'a Node);

impl<'de> Deserializer<'de> for Alone<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(self.0.expected("a mapping"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Line, column and value of a node, in this order.
enum Parts<'a> {
    Line(&'a Node),
    Column(&'a Node),
    Value(&'a Node),
    None,
}

impl<'a> SeqAccess<'a> for Parts<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        use serde::de::IntoDeserializer as _;
        let read = match *self {
            Self::Line(node) => {
                *self = Self::Column(node);
                seed.deserialize(node.at.line.into_deserializer())
            }
            Self::Column(node) => {
                *self = Self::Value(node);
                seed.deserialize(node.at.column.into_deserializer())
            }
            Self::Value(node) => {
                *self = Self::None;
                seed.deserialize(Reader(node)).map_err(|error| error.within(node))
            }
            Self::None => return Ok(None),
        };
        read.map(Some)
    }
}
