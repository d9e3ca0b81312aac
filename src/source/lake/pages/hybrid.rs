//! The decoder of Parquet's RLE and bit-packing hybrid, which stores the keys of a dictionary.
//!
//! A header is a varint of seven bits a byte. If it is even, half of it is the number of
//! repetitions of the one value that follows; if it is odd, half of it, rounded down, is the number
//! of groups of eight values that follow, packed from the lowest bit.
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>

use arrow::array::BooleanBufferBuilder;

/// Appends `count` values of `width` bits to `values`. `None` if `bytes` hold fewer values, or if a
/// value or `width` is out of range.
pub fn decode(mut bytes: &[u8], width: u8, count: usize, values: &mut Vec<i32>) -> Option<()> {
    if width > 31 {
        return None;
    }
    let end = values.len() + count;
    while values.len() < end {
        let left = end - values.len();
        let header = header(&mut bytes)?;
        let many = usize::try_from(header >> 1).ok()?;
        if header & 1 == 0 {
            let (value, rest) = bytes.split_at_checked(usize::from(width).div_ceil(8))?;
            bytes = rest;
            let mut whole = [0; 4];
            whole[..value.len()].copy_from_slice(value);
            let value = i32::try_from(u32::from_le_bytes(whole)).ok().filter(|value| value >> width == 0)?;
            values.resize(values.len() + many.min(left), value);
        } else {
            // The last group may be truncated after the last value that is needed.
            let (packed, rest) = bytes.split_at(many.checked_mul(width.into())?.min(bytes.len()));
            bytes = rest;
            unpack(packed, width, many.saturating_mul(8).min(left), values)?;
        }
    }
    Some(())
}

/// Appends `count` keys of a dictionary: a page of them begins with their width. `None` as for
/// [`decode`].
pub fn decode_keys(page: &[u8], count: usize, keys: &mut Vec<i32>) -> Option<()> {
    let (width, packed) = page.split_first()?;
    decode(packed, *width, count, keys)
}

/// Appends `count` values of one bit. `None` if `bytes` hold fewer values, or one that is out of
/// range.
pub fn decode_bits(mut bytes: &[u8], mut count: usize, bits: &mut BooleanBufferBuilder) -> Option<()> {
    while count > 0 {
        let header = header(&mut bytes)?;
        let many = usize::try_from(header >> 1).ok()?;
        let some = if header & 1 == 0 {
            let (value, rest) = bytes.split_first()?;
            bytes = rest;
            if *value > 1 {
                return None;
            }
            let some = many.min(count);
            bits.append_n(some, *value == 1);
            some
        } else {
            // The last group may be truncated after the last value that is needed.
            let (packed, rest) = bytes.split_at(many.min(bytes.len()));
            bytes = rest;
            let some = many.saturating_mul(8).min(count);
            if packed.len() < some.div_ceil(8) {
                return None;
            }
            bits.append_packed_range(0..some, packed);
            some
        };
        count -= some;
    }
    Some(())
}

fn header(bytes: &mut &[u8]) -> Option<u32> {
    let mut header = 0u32;
    for index in 0..5 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        header |= u32::from(byte & 0x7f).checked_shl(7 * index)?;
        if *byte < 0x80 {
            return Some(header);
        }
    }
    None
}

fn unpack(packed: &[u8], width: u8, count: usize, values: &mut Vec<i32>) -> Option<()> {
    let width = usize::from(width);
    if packed.len() < (count * width).div_ceil(8) {
        return None;
    }
    let mask = (1u64 << width) - 1;
    values.extend((0..count).map(|index| {
        let bit = index * width;
        // A value and the bits before it in its first byte fit in eight bytes.
        let rest = &packed[bit / 8..];
        let window = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut window = [0; 8];
            window[..rest.len()].copy_from_slice(rest);
            window
        });
        (u64::from_le_bytes(window) >> (bit % 8) & mask) as i32
    }));
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An encoder that follows the specification, value by value and bit by bit.
    fn encode(runs: &[(bool, Vec<i32>)], width: u8) -> (Vec<u8>, Vec<i32>) {
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        let put = |bytes: &mut Vec<u8>, mut header: u32| {
            while header >= 0x80 {
                bytes.push(header as u8 | 0x80);
                header >>= 7;
            }
            bytes.push(header as u8);
        };
        for (packed, run) in runs {
            let run: Vec<i32> = run.iter().map(|value| value & ((1i64 << width) - 1) as i32).collect();
            if *packed {
                let groups = run.len().div_ceil(8);
                put(&mut bytes, (groups as u32) << 1 | 1);
                let mut bits =
                    run.iter().flat_map(|value| (0..width).map(move |bit| value >> bit & 1)).collect::<Vec<_>>();
                bits.resize(groups * 8 * usize::from(width), 0);
                bytes
                    .extend(bits.chunks(8).map(|byte| (0..).zip(byte).map(|(at, bit)| (*bit as u8) << at).sum::<u8>()));
                values.extend(&run);
            } else {
                put(&mut bytes, (run.len() as u32) << 1);
                bytes.extend(&run[0].to_le_bytes()[..usize::from(width).div_ceil(8)]);
                values.extend(std::iter::repeat_n(run[0], run.len()));
            }
        }
        (bytes, values)
    }

    fn runs() -> impl Strategy<Value = Vec<(bool, Vec<i32>)>> {
        let packed = (1usize..5).prop_flat_map(|groups| prop::collection::vec(0..i32::MAX, groups * 8));
        let runs = prop_oneof![
            packed.prop_map(|values| (true, values)),
            prop::collection::vec(0..i32::MAX, 1..40).prop_map(|values| (false, values))
        ];
        prop::collection::vec(runs, 0..6)
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(runs in runs(), width in prop_oneof![0u8..=31, Just(1u8)], cut in 0usize..8) {
            let (bytes, values) = encode(&runs, width);
            let count = values.len().saturating_sub(cut);
            let mut decoded = vec![7];
            prop_assert_eq!(decode(&bytes, width, count, &mut decoded), Some(()));
            prop_assert_eq!(&decoded[1..], &values[..count]);
            prop_assert_eq!(decode(&bytes, width, values.len() + 1, &mut Vec::new()), None);
            if width == 1 {
                let mut bits = BooleanBufferBuilder::new(0);
                prop_assert_eq!(decode_bits(&bytes, count, &mut bits), Some(()));
                let bits: Vec<i32> = bits.finish().iter().map(i32::from).collect();
                prop_assert_eq!(&bits[..], &values[..count]);
            }
        }

        /// Arbitrary bytes do not panic, and a result has the requested length.
        #[test]
        fn bytes_of_any_kind_end_nothing(bytes in prop::collection::vec(any::<u8>(), 0..60), width: u8, count in 0usize..300) {
            let mut bits = BooleanBufferBuilder::new(0);
            if decode_bits(&bytes, count, &mut bits).is_some() {
                prop_assert_eq!(bits.len(), count);
            }
            let mut values = Vec::new();
            if decode(&bytes, width, count, &mut values).is_some() {
                prop_assert_eq!(values.len(), count);
                prop_assert!(values.iter().all(|value| i64::from(*value) >> width == 0));
            }
        }
    }
}
