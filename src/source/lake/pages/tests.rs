//! Columns of each kind are written by `parquet`, with small pages, and read in pieces.

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::{WriterProperties, WriterVersion};
use proptest::prelude::*;

use std::sync::Arc;

use bytes::Bytes;

use super::*;

/// A row: two texts, a bit, a moment and two integers.
type Row = (Option<u8>, Option<u8>, bool, i64, Option<i32>, Option<i32>);

fn row() -> impl Strategy<Value = Row> {
    let some = |most| prop::option::weighted(most, any::<u8>());
    let number = prop_oneof![0..5i32, any::<i32>()];
    let moment = -1_000_000_000..1_000_000_000i64;
    (
        some(0.8),
        some(0.1),
        any::<bool>(),
        moment,
        prop::option::of(number.clone()),
        prop::option::weighted(0.99, number),
    )
}

const KINDS: [(&str, Values); 6] = [
    ("coded", Values::Coded),
    ("plain", Values::Plain),
    ("bit", Values::Bits),
    ("moment", Values::Moments),
    ("delta", Values::Integers),
    ("dictionary", Values::Integers),
];

fn batch(rows: &[Row]) -> RecordBatch {
    use arrow::array::{BooleanArray, Int32Array, TimestampMicrosecondArray};
    let text = |number: Option<u8>| number.map(|number| "é".repeat(number as usize % 7) + &number.to_string());
    let bits = BooleanArray::from(rows.iter().map(|row| row.2).collect::<Vec<_>>());
    let moments = TimestampMicrosecondArray::from(rows.iter().map(|row| row.3).collect::<Vec<_>>());
    let columns: [(&str, Arc<dyn Array>, bool); 6] = [
        ("coded", Arc::new(rows.iter().map(|row| text(row.0)).collect::<StringArray>()), true),
        ("plain", Arc::new(rows.iter().map(|row| text(row.1)).collect::<StringArray>()), true),
        ("bit", Arc::new(bits), false),
        ("moment", Arc::new(moments.with_timezone("UTC")), false),
        ("delta", Arc::new(rows.iter().map(|row| row.4).collect::<Int32Array>()), true),
        ("dictionary", Arc::new(rows.iter().map(|row| row.5).collect::<Int32Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn properties(page_rows: usize, version: WriterVersion) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_data_page_row_count_limit(page_rows)
        .set_write_batch_size(page_rows.min(7));
    for (name, encoding) in [
        ("plain", Encoding::PLAIN),
        ("moment", Encoding::DELTA_BINARY_PACKED),
        ("delta", Encoding::DELTA_BINARY_PACKED),
        ("bit", Encoding::PLAIN),
    ] {
        properties =
            properties.set_column_dictionary_enabled(name.into(), false).set_column_encoding(name.into(), encoding);
    }
    properties.build()
}

proptest! {
    #[test]
    fn pieces_of_any_size_are_the_column(
        rows in prop::collection::vec(row(), 1..300),
        page_rows in 1usize..120,
        is_second in any::<bool>(),
        pieces in prop::collection::vec(1usize..200, 1..20),
    ) {
        let batch = batch(&rows);
        let version = if is_second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties(page_rows, version))).unwrap();
        writer.write(&batch).unwrap();
        let bytes = Bytes::from(writer.into_inner().unwrap());
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
        for (index, (name, values)) in KINDS.into_iter().enumerate() {
            let about = metadata.row_group(0).column(index).clone();
            let written = batch.column(index);
            prop_assert_eq!(Values::of(&about, written.data_type()), Some(values), "{}", name);
            let (start, length) = about.byte_range();
            let column = Column { bytes: bytes.slice(start as usize..(start + length) as usize), about, rows: rows.len() };
            let mut reader = column.reader(values).unwrap();
            let (mut left, mut read) = (rows.len(), Vec::new());
            for size in pieces.iter().copied().chain([rows.len()]) {
                let piece = reader.next(size).unwrap();
                prop_assert_eq!(piece.len(), size.min(left), "{}", name);
                left -= piece.len();
                read.push(cast(&piece, written.data_type()).unwrap());
            }
            let read: Vec<&dyn Array> = read.iter().map(|piece| piece.as_ref()).collect();
            prop_assert_eq!(&concat(&read).unwrap(), written, "{}", name);
        }
    }
}
