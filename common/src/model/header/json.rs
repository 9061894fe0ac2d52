//! The JSON of a header as it stands in the file: every key in its order, also one that stands twice.
//!
//! serde's own maps keep the last of two equal keys and say nothing, so that two readers may see two files. What the keys mean is
//! [`super::Header`]'s business.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The outermost object.
pub(super) struct Object {
    /// Of every `__metadata__`; more than one is the caller's to refuse.
    pub(super) metadata: Vec<Pairs<String>>,
    pub(super) tensors: Pairs<Entry>,
}

/// What a header says of one tensor.
#[derive(serde::Deserialize)]
pub(super) struct Entry {
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    pub(super) data_offsets: (usize, usize),
}

/// Keys and values in the order of the file.
pub(super) struct Pairs<T>(pub(super) Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Collect(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Split;

        impl<'de> Visitor<'de> for Split {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let (mut metadata, mut tensors) = (Vec::new(), Pairs(Vec::new()));
                while let Some(key) = map.next_key::<String>()? {
                    if key == METADATA {
                        metadata.push(map.next_value()?);
                    } else {
                        tensors.0.push((key, map.next_value()?));
                    }
                }
                Ok(Object { metadata, tensors })
            }
        }

        deserializer.deserialize_map(Split)
    }
}

/// The one key that is no tensor.
pub(super) const METADATA: &str = "__metadata__";
