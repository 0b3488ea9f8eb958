//! Reads the protobuf that kubectl's typed commands send, such as `auth can-i` and
//! `create configmap`: the kinds of the table below, and of them what people set. Nothing is ever
//! written in it: every client takes JSON as an answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What a body in protobuf says of itself.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What stands before every object, so that it cannot be taken for something else.
const MAGIC: &[u8] = b"k8s\0";

/// A field of a message: its number and name in `generated.proto`, and what it holds.
struct Field(u64, &'static str, Holds);

enum Holds {
    Text,
    Flag,
    /// A map from text to text.
    Texts,
    /// A map from text to bytes, which are base64 in JSON.
    Blobs,
    Message(&'static [Field]),
}

const TYPE: &[Field] = &[
    Field(1, "apiVersion", Holds::Text),
    Field(2, "kind", Holds::Text),
];

const METADATA: Field = Field(
    1,
    "metadata",
    Holds::Message(&[
        Field(1, "name", Holds::Text),
        Field(2, "generateName", Holds::Text),
        Field(3, "namespace", Holds::Text),
        Field(6, "resourceVersion", Holds::Text),
        Field(11, "labels", Holds::Texts),
        Field(12, "annotations", Holds::Texts),
    ]),
);

const KINDS: &[(&str, &[Field])] = &[
    ("Namespace", &[METADATA]),
    (
        "ConfigMap",
        &[
            METADATA,
            Field(2, "data", Holds::Texts),
            Field(3, "binaryData", Holds::Blobs),
            Field(4, "immutable", Holds::Flag),
        ],
    ),
    (
        "Secret",
        &[
            METADATA,
            Field(2, "data", Holds::Blobs),
            Field(3, "type", Holds::Text),
            Field(4, "stringData", Holds::Texts),
            Field(5, "immutable", Holds::Flag),
        ],
    ),
    (
        "SelfSubjectAccessReview",
        &[
            METADATA,
            Field(
                2,
                "spec",
                Holds::Message(&[Field(
                    1,
                    "resourceAttributes",
                    Holds::Message(&[
                        Field(1, "namespace", Holds::Text),
                        Field(2, "verb", Holds::Text),
                        Field(3, "group", Holds::Text),
                        Field(4, "version", Holds::Text),
                        Field(5, "resource", Holds::Text),
                        Field(6, "subresource", Holds::Text),
                        Field(7, "name", Holds::Text),
                    ]),
                )]),
            ),
        ],
    ),
];

/// The object in a body; an error says what of it is not understood.
pub(crate) fn read(body: &[u8]) -> Result<Value, String> {
    let envelope = body
        .strip_prefix(MAGIC)
        .ok_or("the body does not begin as Kubernetes' protobuf does")?;
    let (mut kind, mut raw): (Value, &[u8]) = (json!({}), &[]);
    for (number, content) in Contents(envelope).all()? {
        match (number, content) {
            (1, Content::Bytes(bytes)) => kind = message(TYPE, bytes)?,
            (2, Content::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = kind.get("kind").and_then(Value::as_str).unwrap_or("");
    let Some((_, fields)) = KINDS.iter().find(|known| known.0 == name) else {
        return Err(format!(
            "`{name}` is not read as protobuf here: send it as JSON or YAML, as `kubectl apply` does"
        ));
    };
    let mut object = message(fields, raw)?;
    if let (Some(object), Value::Object(kind)) = (object.as_object_mut(), kind) {
        object.extend(kind);
    }
    Ok(object)
}

fn message(fields: &[Field], bytes: &[u8]) -> Result<Value, String> {
    let mut object = Map::new();
    for (number, content) in Contents(bytes).all()? {
        let Some(Field(_, name, holds)) = fields.iter().find(|field| field.0 == number) else {
            continue;
        };
        match (holds, content) {
            // Go writes texts that are empty; in JSON they are left out.
            (Holds::Text, Content::Bytes([])) => {}
            (Holds::Text, Content::Bytes(bytes)) => {
                object.insert((*name).to_owned(), json!(text(bytes)?));
            }
            (Holds::Flag, Content::Number(number)) => {
                object.insert((*name).to_owned(), json!(number != 0));
            }
            (Holds::Message(fields), Content::Bytes(bytes)) => {
                object.insert((*name).to_owned(), message(fields, bytes)?);
            }
            (Holds::Texts, Content::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                add(&mut object, name, key, json!(text(value)?));
            }
            (Holds::Blobs, Content::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                add(&mut object, name, key, json!(STANDARD.encode(value)));
            }
            _ => return Err(format!("`{name}` has another type in protobuf")),
        }
    }
    Ok(Value::Object(object))
}

fn add(object: &mut Map<String, Value>, name: &str, key: &str, value: Value) {
    let map = object.entry(name).or_insert_with(|| json!({}));
    if let Some(map) = map.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Key and value of one entry of a map.
fn entry(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let (mut key, mut value): (&str, &[u8]) = ("", &[]);
    for (number, content) in Contents(bytes).all()? {
        match (number, content) {
            (1, Content::Bytes(bytes)) => key = text(bytes)?,
            (2, Content::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

/// What a field holds on the wire.
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of fixed size, which no field of the table has.
    Fixed,
}

/// The fields of a message that are still to be read.
struct Contents<'a>(&'a [u8]);

impl<'a> Contents<'a> {
    fn all(mut self) -> Result<Vec<(u64, Content<'a>)>, String> {
        let mut fields = Vec::new();
        while !self.0.is_empty() {
            let key = self.number()?;
            let content = match key & 7 {
                0 => Content::Number(self.number()?),
                1 => self.take(8).map(|_| Content::Fixed)?,
                2 => {
                    let length =
                        usize::try_from(self.number()?).map_err(|error| error.to_string())?;
                    Content::Bytes(self.take(length)?)
                }
                5 => self.take(4).map(|_| Content::Fixed)?,
                other => return Err(format!("there is no wire type {other}")),
            };
            fields.push((key >> 3, content));
        }
        Ok(fields)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or("the body ends in the middle of a field")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80, "a test's field is short");
        [&[(number << 3) | 2, length], content].concat()
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let kind = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &kind), &field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_and_a_secret_are_read() {
        let name = field(1, &[field(1, b"m"), field(3, b"")].concat());
        let pair = field(2, &[field(1, b"k"), field(2, b"v")].concat());
        let raw = [name, pair, vec![4 << 3, 1]].concat();
        assert_eq!(
            read(&body("ConfigMap", &raw)).unwrap(),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "v"}, "immutable": true})
        );
        let secret = read(&body("Secret", raw.get(..raw.len() - 2).unwrap())).unwrap();
        assert_eq!(secret["data"], json!({"k": "dg=="}));
    }

    #[test]
    fn what_is_not_in_the_table_is_refused_with_the_way_out() {
        let error = read(&body("Pod", b"")).unwrap_err();
        assert!(
            error.contains("`Pod`") && error.contains("kubectl apply"),
            "{error}"
        );
        assert!(read(b"{}").is_err());
    }

    #[test]
    fn a_body_that_is_cut_anywhere_is_an_error_or_has_less() {
        let whole = body("ConfigMap", &field(1, &field(1, b"name")));
        assert_eq!(read(&whole).unwrap()["metadata"]["name"], "name");
        for length in 0..whole.len() {
            // Protobuf has no end: what is cut between two fields is whole.
            if let Ok(object) = read(whole.get(..length).unwrap()) {
                assert!(object.get("metadata").is_none(), "{length}: {object}");
            }
        }
    }
}
