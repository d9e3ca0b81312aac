//! The decoder of Parquet's DELTA_BINARY_PACKED, which stores the differences of successive
//! integers.
//!
//! A header has the number of values in a block, of miniblocks in a block, of all values, and the
//! first value. Each block has its least difference, the bit width of each miniblock, and then the
//! miniblocks: what each difference exceeds the least one by, packed from the lowest bit.
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC>

use super::number::Number;

/// Blocks with more values than this are damaged: writers have some hundreds.
const BLOCK_VALUES_MAX: u64 = 1 << 20;

/// Appends `count` integers. `None` if `bytes` hold fewer, or are damaged.
pub fn decode<N: Number>(bytes: &[u8], count: usize, numbers: &mut Vec<N>) -> Option<()> {
    let mut rest = bytes;
    let (block_values, miniblocks) = (varint(&mut rest)?, varint(&mut rest)?);
    let values = block_values.checked_div(miniblocks).filter(|values| values % 8 == 0 && *values > 0)? as usize;
    let (total, mut last) = (varint(&mut rest)?, zigzag(varint(&mut rest)?));
    if block_values > BLOCK_VALUES_MAX || (total as usize) < count {
        return None;
    }
    let Some(mut left) = count.checked_sub(1) else { return Some(()) };
    numbers.push(N::truncated(last));
    while left > 0 {
        let least = zigzag(varint(&mut rest)?);
        let (widths, packed) = rest.split_at_checked(miniblocks as usize)?;
        rest = packed;
        for width in widths {
            let some = left.min(values);
            if some == 0 {
                break;
            }
            // The last miniblock may end after the last value.
            let bytes = (usize::from(*width) * values / 8).min(rest.len());
            let (packed, behind) = rest.split_at(bytes);
            rest = behind;
            unpack(packed, *width, some, |excess| {
                last = last.wrapping_add(least).wrapping_add(excess as i64);
                numbers.push(N::truncated(last));
            })?;
            left -= some;
        }
    }
    Some(())
}

/// Calls `visit` with each of `count` values of `width` bits.
#[inline]
fn unpack(packed: &[u8], width: u8, count: usize, mut visit: impl FnMut(u64)) -> Option<()> {
    let width = usize::from(width);
    if width == 0 {
        (0..count).for_each(|_| visit(0));
        return Some(());
    }
    if width > 64 || packed.len() < (count * width).div_ceil(8) {
        return None;
    }
    let mask = u64::MAX >> (64 - width);
    for index in 0..count {
        let bit = index * width;
        let (rest, shift) = (&packed[bit / 8..], bit % 8);
        let low = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut window = [0; 8];
            window[..rest.len()].copy_from_slice(rest);
            window
        });
        let mut value = u64::from_le_bytes(low) >> shift;
        // The value may end in a ninth byte.
        if shift + width > 64 {
            value |= u64::from(*rest.get(8)?) << (64 - shift);
        }
        visit(value & mask);
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * index)?;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An encoder that follows the specification, bit by bit.
    fn encode(values: &[i64], miniblock: usize, miniblocks: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let put = |bytes: &mut Vec<u8>, mut value: u64| {
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
        };
        let folded = |value: i64| (value << 1 ^ value >> 63) as u64;
        for size in [miniblock * miniblocks, miniblocks, values.len()] {
            put(&mut bytes, size as u64);
        }
        put(&mut bytes, folded(values.first().copied().unwrap_or(0)));
        let deltas: Vec<i64> = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        for block in deltas.chunks(miniblock * miniblocks) {
            let least = *block.iter().min().unwrap();
            put(&mut bytes, folded(least));
            let parts: Vec<Vec<u64>> = block
                .chunks(miniblock)
                .map(|part| part.iter().map(|delta| delta.wrapping_sub(least) as u64).collect())
                .collect();
            let width = |part: Option<&Vec<u64>>| {
                part.map_or(0, |part| part.iter().map(|excess| 64 - excess.leading_zeros()).max().unwrap())
            };
            bytes.extend((0..miniblocks).map(|index| width(parts.get(index)) as u8));
            for part in &parts {
                let width = width(Some(part));
                let mut bits: Vec<u8> =
                    part.iter().flat_map(|value| (0..width).map(move |bit| (value >> bit & 1) as u8)).collect();
                bits.resize(miniblock * width as usize, 0);
                bytes.extend(bits.chunks(8).map(|byte| (0..).zip(byte).map(|(at, bit)| bit << at).sum::<u8>()));
            }
        }
        bytes
    }

    fn values() -> impl Strategy<Value = Vec<i64>> {
        let steps = prop_oneof![Just(0i64), 0..9i64, -5000..5000i64, any::<i64>()];
        prop::collection::vec(steps, 0..300).prop_map(|steps| {
            steps
                .into_iter()
                .scan(0i64, |sum, step| {
                    *sum = sum.wrapping_add(step);
                    Some(*sum)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(values in values(), groups in 1usize..5, miniblocks in 1usize..5, cut in 0usize..8) {
            let bytes = encode(&values, groups * 8, miniblocks);
            let count = values.len().saturating_sub(cut);
            let (mut decoded, mut low) = (vec![7], Vec::<i32>::new());
            prop_assert_eq!(decode(&bytes, count, &mut decoded), Some(()));
            prop_assert_eq!(&decoded[1..], &values[..count]);
            prop_assert_eq!(decode(&bytes, count, &mut low), Some(()));
            prop_assert_eq!(low, values[..count].iter().map(|value| *value as i32).collect::<Vec<_>>());
            prop_assert_eq!(decode(&bytes, values.len() + 1, &mut Vec::<i64>::new()), None);
        }

        /// Arbitrary bytes do not panic, and a result has the requested length.
        #[test]
        fn bytes_of_any_kind_end_nothing(bytes in prop::collection::vec(any::<u8>(), 0..80), count in 0usize..300) {
            let mut numbers = Vec::<i64>::new();
            if decode(&bytes, count, &mut numbers).is_some() {
                prop_assert_eq!(numbers.len(), count);
            }
        }
    }
}
