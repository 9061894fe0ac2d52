//! The free-form table `[config]`: handed to the trainers as JSON, unread. Only what JSON can say is allowed.

use serde_json::{Map, Number, Value};

use super::error::StudyError;
use crate::ids::shown;
use crate::limits::MAX_CONFIG_BYTES;

/// The table as JSON.
///
/// # Errors
/// A date, or a number that is not finite: JSON has neither. Nesting is bounded by the parsers.
pub(super) fn to_json(table: toml::Table) -> Result<Map<String, Value>, StudyError> {
    let map = object(table, "config")?;
    let len_bytes = serde_json::to_vec(&map)
        .expect("plain data with text keys")
        .len();
    if len_bytes > MAX_CONFIG_BYTES {
        return Err(StudyError::ConfigTooLong {
            len_bytes,
            limit_bytes: MAX_CONFIG_BYTES,
        });
    }
    Ok(map)
}

fn object(table: toml::Table, path: &str) -> Result<Map<String, Value>, StudyError> {
    let entry = |(key, value)| {
        let path = format!("{path}.{key}");
        Ok((key, json(value, &path)?))
    };
    table.into_iter().map(entry).collect()
}

fn json(value: toml::Value, path: &str) -> Result<Value, StudyError> {
    let number = |float| {
        let not_finite = || StudyError::ConfigNotFinite {
            key: shown(path),
            value: float,
        };
        Number::from_f64(float).ok_or_else(not_finite)
    };
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(whole) => Value::Number(whole.into()),
        toml::Value::Float(float) => Value::Number(number(float)?),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(_) => return Err(StudyError::ConfigDate { key: shown(path) }),
        toml::Value::Array(values) => {
            let entry = |(index, value)| json(value, &format!("{path}[{index}]"));
            Value::Array(
                values
                    .into_iter()
                    .enumerate()
                    .map(entry)
                    .collect::<Result<_, _>>()?,
            )
        }
        toml::Value::Table(table) => Value::Object(object(table, path)?),
    })
}
