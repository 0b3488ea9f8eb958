//! Reading and writing untyped objects by JSON pointer. Nothing here knows a kind, and nothing
//! here fails: what is missing reads as empty.

use serde_json::{Map, Value, json};

/// The text at a pointer, or `""`.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// The whole number at a pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Whether `true` stands at a pointer.
pub(crate) fn flag(object: &Value, pointer: &str) -> bool {
    object
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// The list at a pointer, or an empty one.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The texts of the list at a pointer.
pub(crate) fn texts(object: &Value, pointer: &str) -> Vec<String> {
    items(object, pointer)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The entries of the map at a pointer.
pub(crate) fn entries<'a>(
    object: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> + 'a {
    object
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.iter().map(|(key, value)| (key.as_str(), value)))
}

/// The value as a map, which it becomes if it is none.
pub(crate) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable!("the value was made a map above")
        }
    }
}

/// Puts a value at a pointer, making the maps on the way. Segments are names of members only,
/// escaped as in RFC 6901.
pub(crate) fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for segment in pointer.split('/').skip(1) {
        let key = segment.replace("~1", "/").replace("~0", "~");
        place = as_map(place).entry(key).or_insert(Value::Null);
    }
    *place = value;
}

/// Puts a value at a pointer unless something stands there.
pub(crate) fn set_default(object: &mut Value, pointer: &str, value: Value) {
    if object.pointer(pointer).is_none_or(Value::is_null) {
        set(object, pointer, value);
    }
}

/// Takes the member at a pointer out, keeping the order of the others.
pub(crate) fn remove(object: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    object
        .pointer_mut(parent)?
        .as_object_mut()?
        .shift_remove(&key)
}

/// One segment of a JSON pointer, escaped.
pub(crate) fn segment(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`, empty for what lives in none.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// Whether deletion was asked for.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

/// The uid of the controlling owner, if there is one.
pub(crate) fn controller_uid(object: &Value) -> Option<&str> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| flag(owner, "/controller"))
        .map(|owner| text(owner, "/uid"))
}

/// The time as the API writes it, to the second.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// The last `length` characters of a generated name, from the alphabet of the real server, which
/// spells no words.
pub(crate) fn random_suffix(length: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length)
        .filter_map(|_| fastrand::choice(ALPHABET.iter()))
        .map(|letter| char::from(*letter))
        .collect()
}

/// A random uid in the form of RFC 9562.
pub(crate) fn new_uid() -> String {
    let digits = hex::encode(fastrand::u128(..).to_be_bytes());
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("0");
    format!(
        "{}-{}-4{}-a{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// A short stable name for some content, in the alphabet of generated names.
pub(crate) fn content_hash(content: &Value) -> String {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(content.to_string().as_bytes());
    digest
        .iter()
        .take(10)
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|letter| char::from(*letter))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_makes_the_maps_on_the_way_and_unescapes_segments() {
        let mut object = json!({});
        set(&mut object, "/metadata/annotations/a~1b", json!("c"));
        assert_eq!(object, json!({"metadata": {"annotations": {"a/b": "c"}}}));
        assert_eq!(
            remove(&mut object, "/metadata/annotations/a~1b"),
            Some(json!("c"))
        );
        assert_eq!(object, json!({"metadata": {"annotations": {}}}));
    }

    #[test]
    fn a_uid_has_the_shape_of_a_version_4_uuid() {
        let uid = new_uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(
            uid.split('-').map(str::len).collect::<Vec<_>>(),
            [8, 4, 4, 4, 12]
        );
    }
}
