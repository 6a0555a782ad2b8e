//! A value that is written into records far more often than it changes.
//!
//! Responsible for writing it as text once: a unit's record is written at each change of its
//! counts, and much of it is templates. Must not know what the value is.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::ops::Deref;
use std::sync::Arc;

/// A value with its JSON. Cheap to clone; reads as the value, and is stored as it.
#[derive(Clone, Debug)]
pub struct Encoded<T> {
    value: Arc<T>,
    /// `None`: it could not be written, which the types that are stored cannot come to.
    text: Option<Arc<RawValue>>,
}

impl<T: Serialize> From<Arc<T>> for Encoded<T> {
    fn from(value: Arc<T>) -> Encoded<T> {
        let text = to_raw_value(&*value).ok().map(Arc::from);
        Encoded { value, text }
    }
}

impl<T> Deref for Encoded<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Encoded<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value) || self.value == other.value
    }
}

impl<T: Eq> Eq for Encoded<T> {}

impl<T: Serialize> Serialize for Encoded<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => text.serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

impl<'de, T: Serialize + DeserializeOwned> Deserialize<'de> for Encoded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Encoded::from(Arc::new(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stored_as_its_value() {
        let value = vec![Some("a\"b".to_owned()), None];
        let encoded = Encoded::from(Arc::new(value.clone()));
        let text = serde_json::to_string(std::slice::from_ref(&encoded)).unwrap();
        assert_eq!(text, serde_json::to_string(&[&value]).unwrap());
        let again: [Encoded<Vec<Option<String>>>; 1] = serde_json::from_str(&text).unwrap();
        assert_eq!(again[0], encoded);
        assert_eq!(**again[0], value);
        assert_ne!(again[0], Encoded::from(Arc::new(vec![None])));
        assert_eq!(serde_json::to_value(&encoded).unwrap(), serde_json::to_value(&value).unwrap());
    }
}
