//! Which tensors of a model are averaged, and which stay as they are in the global model.

use super::{Layout, ModelError, TensorSpec};
use crate::ids::shown;

/// The averaged tensors of a layout, as indices into it, ascending. All others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    averaged: Vec<usize>,
    elements: u64,
}

impl Selection {
    /// Averages the float tensors of `layout` that match a pattern of `aggregate` and none of `keep_global`.
    ///
    /// # Errors
    /// An integer tensor that would be averaged, a pattern of `aggregate` that fits nothing, an empty selection.
    pub fn choose(
        layout: &Layout,
        aggregate: &[String],
        keep_global: &[String],
    ) -> Result<Self, ModelError> {
        let matched = |patterns: &[String], tensor: &TensorSpec| {
            patterns
                .iter()
                .any(|pattern| glob_matches(pattern, &tensor.name))
        };
        let fits_one = |pattern: &&String| {
            layout
                .tensors()
                .iter()
                .any(|tensor| glob_matches(pattern, &tensor.name))
        };
        if let Some(pattern) = aggregate.iter().find(|pattern| !fits_one(pattern)) {
            return Err(ModelError::Unmatched {
                pattern: shown(pattern),
            });
        }
        let mut selection = Self {
            averaged: Vec::new(),
            elements: 0,
        };
        for (index, tensor) in layout.tensors().iter().enumerate() {
            if !matched(aggregate, tensor) || matched(keep_global, tensor) {
                continue;
            }
            if !tensor.dtype.is_float() {
                return Err(ModelError::Integer {
                    tensor: tensor.name.clone(),
                    dtype: tensor.dtype,
                });
            }
            selection.averaged.push(index);
            selection.elements += tensor.elements();
        }
        if selection.averaged.is_empty() {
            Err(ModelError::NothingSelected)
        } else {
            Ok(selection)
        }
    }

    /// Number of elements of the flat vector: d of the protocol.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// The averaged tensors of `layout`, in the order of the flat vector.
    pub fn averaged<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = &'a TensorSpec> {
        self.averaged.iter().map(|index| &layout.tensors()[*index])
    }
}

/// Whether `name` fits `pattern`: `*` stands for any characters, `?` for exactly one; everything else for itself.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    // `retry`: where to go on if the text after the last star turns out not to fit
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n += width(name[n]);
            }
            Some(literal) if *literal == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut retry {
                Some((after_star, from)) => {
                    *from += width(name[*from]);
                    (p, n) = (*after_star, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == b'*')
}

/// Bytes of the UTF-8 character that begins with `first`.
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}
