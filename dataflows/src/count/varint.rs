//! Integers in few bytes: LEB128, and ZigZag in front of it for signed ones.

/// Appends `number` in LEB128: seven bits a byte, the lowest first.
#[inline]
pub fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends `number` in ZigZag, which maps numbers close to zero, of either sign, to small unsigned
/// numbers.
#[inline]
pub fn write_signed(bytes: &mut Vec<u8>, number: i64) {
    write(bytes, ((number << 1) ^ (number >> 63)) as u64);
}

/// Removes the number at the beginning of `bytes`. `None` if they are no number: then it is
/// undefined how many of them are removed.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    while shift < 64 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
    None
}

/// Removes the number at the beginning of `bytes` that [`write_signed`] has written.
#[inline]
pub fn read_signed(bytes: &mut &[u8]) -> Option<i64> {
    read(bytes).map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_written(unsigned: u64, signed: i64, small in -64i64..64) {
            let mut bytes = Vec::new();
            write(&mut bytes, unsigned);
            write_signed(&mut bytes, signed);
            let before = bytes.len();
            write_signed(&mut bytes, small);
            prop_assert_eq!(bytes.len(), before + 1);
            let mut rest = &bytes[..];
            prop_assert_eq!((read(&mut rest), read_signed(&mut rest)), (Some(unsigned), Some(signed)));
            prop_assert_eq!((read_signed(&mut rest), read(&mut rest)), (Some(small), None));
        }
    }
}
