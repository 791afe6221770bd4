//! As much of protobuf's wire format as our few messages need, by hand: their types will not change.
//!
//! Knows no message. Spec: protobuf.dev/programming-guides/encoding.

/// A field's number and value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// An integer, a bool or an enum.
    Varint(u64, u64),
    /// A `double`; a `fixed64` would look the same.
    Double(u64, f64),
    /// A string or a message.
    Bytes(u64, &'a [u8]),
    /// What none of our messages has.
    Fixed32,
}

/// Shows every field of a message, until one is no field or is not taken.
pub fn fields<'a>(mut rest: &'a [u8], take: &mut dyn FnMut(Field<'a>) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let number = tag >> 3;
        take(match tag & 7 {
            0 => Field::Varint(number, varint(&mut rest)?),
            1 => {
                let (bytes, after) = rest.split_first_chunk()?;
                rest = after;
                Field::Double(number, f64::from_le_bytes(*bytes))
            }
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(len)?;
                rest = after;
                Field::Bytes(number, bytes)
            }
            5 => {
                rest = rest.split_at_checked(4)?.1;
                Field::Fixed32
            }
            _ => return None,
        })?;
    }
    Some(())
}

/// Most integers of our messages are tags, lengths and small numbers, of one byte.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    if let Some((&byte @ ..0x80, after)) = rest.split_first() {
        *rest = after;
        return Some(byte.into());
    }
    long_varint(rest)
}

/// Seven bits in a byte, the lowest first; the highest bit says that more follow.
fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends an integer; none is left out, as a zero in an `UInt64Value` may be. The field's `number` is at most 15.
pub fn put_integer(message: &mut Vec<u8>, number: u8, value: u64) {
    put_tagged(message, number << 3, value);
}

/// Appends a string or a message. The field's `number` is at most 15.
pub fn put_bytes(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_tagged(message, number << 3 | 2, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Appends a message in place: few of ours are longer than the one byte that is left for their length.
pub fn put_message(message: &mut Vec<u8>, number: u8, write: &mut dyn FnMut(&mut Vec<u8>)) {
    put_bytes(message, number, &[]);
    let start = message.len();
    write(message);
    let len = message.len().saturating_sub(start);
    let at = start.saturating_sub(1);
    if let (Ok(short @ ..0x80), Some(place)) = (u8::try_from(len), message.get_mut(at)) {
        *place = short;
    } else {
        let mut prefix = Vec::new();
        put_varint(&mut prefix, len as u64);
        message.splice(at..start, prefix);
    }
}

/// A tag and what stands first behind it, nearly always a byte each.
fn put_tagged(message: &mut Vec<u8>, tag: u8, value: u64) {
    if let Ok(short @ ..0x80) = u8::try_from(value) {
        message.extend_from_slice(&[tag, short]);
    } else {
        message.push(tag);
        put_varint(message, value);
    }
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        message.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    message.push(low);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    struct Sample {
        #[prost(uint64, tag = "1")]
        integer: u64,
        #[prost(double, tag = "2")]
        double: f64,
        #[prost(bytes = "vec", tag = "15")]
        bytes: Vec<u8>,
        #[prost(fixed32, tag = "16")]
        fixed: u32,
    }

    fn read(message: &[u8]) -> Option<Sample> {
        let mut sample = Sample::default();
        fields(message, &mut |field| {
            match field {
                Field::Varint(1, value) => sample.integer = value,
                Field::Double(2, value) => sample.double = value,
                Field::Bytes(15, value) => sample.bytes = value.to_vec(),
                _ => {}
            }
            Some(())
        })?;
        Some(sample)
    }

    #[test]
    fn what_is_cut_short_or_overlong_is_no_message() {
        let all = {
            let mut message = Vec::new();
            put_integer(&mut message, 1, 300);
            put_bytes(&mut message, 15, b"abc");
            message
        };
        assert_eq!(all, b"\x08\xac\x02\x7a\x03abc");
        for end in [1, 2, 4, 5, 6, 7] {
            assert_eq!(read(&all[..end]), None, "{end}");
        }
        assert_eq!(
            read(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            None
        );
        assert_eq!(read(b"\x0b\x0c"), None, "a group");
        assert_eq!(read(b"\x7a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
        assert_eq!(read(b"\x15\x00\x00"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn it_reads_what_others_write(integer: u64, double in -1e9..1e9, bytes: Vec<u8>, fixed: u32) {
            let theirs = Sample { integer, double, bytes, fixed };
            let ours = read(&theirs.encode_to_vec());
            prop_assert_eq!(ours, Some(Sample { fixed: 0, ..theirs }));
        }

        #[test]
        fn others_read_what_it_writes(integer: u64, bytes: Vec<u8>) {
            let mut message = Vec::new();
            put_bytes(&mut message, 15, &bytes);
            put_integer(&mut message, 1, integer);
            let expected = Sample { integer, bytes, ..Sample::default() };
            prop_assert_eq!(Sample::decode(&*message).unwrap(), expected);
        }

        #[test]
        fn a_message_in_place_is_that_message(bytes in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            let mut inner = Vec::new();
            put_bytes(&mut inner, 15, &bytes);
            let (mut copied, mut in_place) = (vec![1], vec![1]);
            put_bytes(&mut copied, 3, &inner);
            put_message(&mut in_place, 3, &mut |message| put_bytes(message, 15, &bytes));
            prop_assert_eq!(in_place, copied);
        }
    }
}
