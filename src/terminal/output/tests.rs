//! The output for people and programs, for any titles and any width of the terminal.

use proptest::prelude::*;

use super::*;
use crate::state::charts::{AsOf, Available, Entry};

fn cell(titles: &[&str]) -> ChartCell {
    let entries = titles.iter().zip(1..).map(|(title, rank)| Entry {
        rank,
        track_id: Some(format!("S{rank}")),
        title: Some((*title).to_owned()),
        artist: Some("Ana, \"the\" Second".to_owned()),
        plays: 12_345 / rank as i64,
    });
    ChartCell {
        chart: "weekly".to_owned(),
        period: "2026-W47".to_owned(),
        start_us: Some(1_794_787_200_000_000),
        end_us: Some(1_795_392_000_000_000),
        scope: "US".to_owned(),
        as_of: AsOf::default(),
        entries: entries.collect(),
        available: None,
    }
}

fn artists() -> ChartCell {
    let entry = Entry { rank: 1, track_id: None, title: None, artist: Some("Ana".to_owned()), plays: 7 };
    let all_time = ChartCell { period: "all".to_owned(), start_us: None, end_us: None, ..cell(&[]) };
    ChartCell { entries: vec![entry], ..all_time }
}

fn text(format: Format, cells: &[ChartCell], width: Option<u16>) -> String {
    let mut out = Vec::new();
    write_text(format, cells, width, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_is_one_line_per_cell() {
    let cells = [cell(&["one\ntwo"]), artists()];
    let text = text(Format::Json, &cells, None);
    let read: Vec<ChartCell> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, cells);
}

#[test]
fn csv_quotes_special_characters() {
    let csv = text(Format::Csv, &[cell(&["plain", "a,b", "say \"hi\"", "two\r\nlines"]), artists()], None);
    let week = "weekly,2026-W47,2026-11-16T00:00:00Z,2026-11-23T00:00:00Z,US";
    let artist = r#""Ana, ""the"" Second""#;
    let expected = [
        "chart,period,start,end,scope,rank,track_id,title,artist,plays\n",
        &format!("{week},1,S1,plain,{artist},12345\n"),
        &format!("{week},2,S2,\"a,b\",{artist},6172\n"),
        &format!("{week},3,S3,\"say \"\"hi\"\"\",{artist},4115\n"),
        &format!("{week},4,S4,two\\r\\nlines,{artist},3086\n"),
        "weekly,all,,,US,1,,,Ana,7\n",
    ];
    assert_eq!(csv, expected.concat());
}

/// The rows of a CSV text, parsed by the quotes of RFC 4180.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = csv.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            other => field.push(other),
        }
    }
    rows
}

/// A spreadsheet takes no cell for a formula, and numbers stay numbers. The web page writes the
/// same CSV, so both share these cases.
#[test]
fn csv_has_no_formulas() {
    let cases: Vec<(String, String)> =
        serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/csv-cases.json"))).unwrap();
    let titles: Vec<&str> = cases.iter().map(|(title, _)| title.as_str()).collect();
    let csv = text(Format::Csv, &[ChartCell { scope: "-Ö".to_owned(), ..cell(&titles) }], None);
    for ((title, written), line) in cases.iter().zip(csv.lines().skip(1)) {
        assert!(line.contains(&format!(",{written},\"Ana, ")), "{title:?}: {line}");
    }
    let rows = rows(&csv);
    assert_eq!(rows.len(), cases.len() + 1);
    let column = |number: usize| rows[1..].iter().map(|row| row[number].as_str()).collect::<Vec<_>>();
    assert!(column(4).iter().all(|scope| *scope == "'-Ö"));
    assert_eq!((column(5)[1], column(9)[1]), ("2", "6172"));
}

proptest! {
    /// For any texts, the only control character in the output is the end of a line, JSON is read
    /// back unchanged, and each row of CSV has all columns, none of which begins like a formula.
    #[test]
    fn no_text_controls_a_terminal_or_a_spreadsheet(
        texts in prop::collection::vec("(\\PC|\\pC|[=+@\t\r,\"-]|\u{9b}|\x1b\\[2J){0,12}", 4),
        name in "(\\PC|\\pC){0,3}",
    ) {
        let mut cells = [cell(&texts.iter().map(String::as_str).collect::<Vec<_>>()), artists()];
        for (entry, text) in cells[0].entries.iter_mut().zip(texts.iter().rev()) {
            (entry.track_id, entry.artist) = (Some(text.clone()), Some(text.clone()));
        }
        cells[0].scope.clone_from(&name);
        for format in [Format::Table, Format::Csv, Format::Json] {
            let text = text(format, &cells, None);
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{:?} {:?}", format, text);
        }
        let json = text(Format::Json, &cells, None);
        let read: Vec<ChartCell> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&read[..], &cells[..]);
        for row in rows(&text(Format::Csv, &cells, None)) {
            prop_assert_eq!(row.len(), 10);
            prop_assert!(!row.iter().any(|field| field.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{:?}", row);
        }
    }
}

#[test]
fn a_table_shows_the_cell_and_its_entries() {
    let cells = [cell(&["Gold Rush", "夜に駆ける"]), artists(), cell(&[])];
    insta::assert_snapshot!(text(Format::Table, &cells, None), @r#"
    weekly · US · 2026-W47
     rank   title        artist               plays
    ────────────────────────────────────────────────
        1   Gold Rush    Ana, "the" Second   12,345
        2   夜に駆ける   Ana, "the" Second    6,172

    weekly · US · all
     rank   artist   plays
    ───────────────────────
        1   Ana          7

    weekly · US · 2026-W47
     no plays
    "#);
}

#[test]
fn an_empty_table_names_the_available_ones() {
    let mut empty = cell(&[]);
    let [periods, scopes] =
        [["2026-W47", "2026-W46"], ["global", "D\u{1b}E"]].map(|names| names.map(str::to_owned).to_vec());
    empty.available = Some(Available { periods, scopes });
    let shown = text(Format::Table, &[empty], None);
    assert!(shown.ends_with(" no plays; there are lists of 2026-W47, 2026-W46; for global, D\\u{1b}E\n"), "{shown}");
}

#[test]
fn tables_are_cut_to_the_width() {
    let cell = cell(&["A Title That Goes On and On and On", "夜に駆ける夜に駆ける"]);
    insta::assert_snapshot!(text(Format::Table, &[cell], Some(44)), @r#"
    weekly · US · 2026-W47
     rank   title          artist         plays
    ────────────────────────────────────────────
        1   A Title Tha…   Ana, "the"…   12,345
        2   夜に駆ける…    Ana, "the"…    6,172
    "#);
}

/// Titles that would move the cursor, ring the bell, set colours, reverse the text or break the
/// line; and long and wide ones.
fn nasty_titles() -> Vec<String> {
    let long = ["x".repeat(1024), "夜".repeat(341), "\u{1b}".repeat(1024), "👩‍👩‍👧‍👦".repeat(40), "e\u{301}".repeat(300)];
    let short = [
        "\u{1b}[2J\u{1b}[31mred",
        "a\nb\r\nc\td",
        "\0",
        "\u{9b}31m",
        "\u{7f}\u{8}\u{7}",
        "\u{202e}reversed",
        "\u{2028}",
        "",
        " ",
        "\u{200b}",
        "\u{feff}",
        "🇵🇹",
        "ﷺ",
        "ｆｕｌｌ",
    ];
    long.into_iter().chain(short.map(str::to_owned)).collect()
}

/// For any titles there is one line per entry, no wider than asked, and nothing that a terminal
/// acts on.
#[test]
fn nasty_titles_stay_in_their_line() {
    use unicode_width::UnicodeWidthStr;
    let titles = nasty_titles();
    let cell = cell(&titles.iter().map(String::as_str).collect::<Vec<_>>());
    for width in [None, Some(200), Some(80), Some(40), Some(30)] {
        let table = text(Format::Table, std::slice::from_ref(&cell), width);
        assert_eq!(table.lines().count(), 3 + titles.len(), "{width:?}\n{table}");
        assert!(!table.contains(|c: char| c != '\n' && c.is_control()), "{width:?}\n{table}");
        assert!(!table.contains(['\u{202e}', '\u{2028}']), "{width:?}");
        for line in table.lines() {
            assert!(width.is_none_or(|width| line.width() <= usize::from(width)), "{width:?} {line}");
        }
    }
}

/// However narrow the terminal is, there is output.
#[test]
fn any_width_is_survived() {
    let titles = nasty_titles();
    let cell = cell(&titles.iter().map(String::as_str).collect::<Vec<_>>());
    for width in 0..30 {
        assert!(!text(Format::Table, std::slice::from_ref(&cell), Some(width)).is_empty());
    }
}

#[test]
fn parquet_holds_a_row_per_entry() {
    use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("charts.parquet");
    write(Format::Parquet, &[cell(&["one", "two"]), artists()], Some(&path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let [batch] = &batches[..] else { panic!("{} batches", batches.len()) };
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names.join(","), text(Format::Csv, &[], None).trim_end());
    let column = |name| batch.column_by_name(name).unwrap();
    assert_eq!(column("title").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("one"), Some("two"), None]);
    assert_eq!(column("plays").as_primitive::<Int64Type>().values(), &[12_345, 6172, 7]);
    assert_eq!(column("start").as_primitive::<TimestampMicrosecondType>().value(0), 1_794_787_200_000_000);
    assert!(column("start").is_null(2) && column("track_id").is_null(2));
}

#[test]
fn an_empty_parquet_file_has_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.parquet");
    write(Format::Parquet, &[], Some(&path)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

/// An error names the file that cannot be written, and Parquet asks for a path.
#[test]
fn errors_advise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/charts.csv");
    let error = format!("{:#}", write(Format::Csv, &[], Some(&path)).unwrap_err());
    assert!(error.contains("absent/charts.csv cannot be written"), "{error}");
    let error = format!("{:#}", write(Format::Parquet, &[], None).unwrap_err());
    assert!(error.contains("--output PATH"), "{error}");
}

#[test]
fn a_closed_pipe_is_success() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in [Format::Table, Format::Json, Format::Csv] {
        unless_closed(write_text(format, &[cell(&["one"])], None, &mut Closed)).unwrap();
    }
}

/// Headings are recognised by their position alone, and their texts stay unchanged.
#[test]
fn headings_are_emphasised() {
    let bold = |text: &str| format!("\u{1b}[1m{text}\u{1b}[0m");
    let tables = table::tables(&[cell(&["one"]), artists()], None);
    let emphasised = table::emphasised(&tables);
    assert_eq!(emphasised.matches("\u{1b}[1m").count(), 2, "{emphasised}");
    let name = tables.lines().next().unwrap();
    assert!(emphasised.starts_with(&format!("{}\n", bold(name))), "{emphasised}");
    assert_eq!(table::emphasised("\n\na"), format!("\n\n{}", bold("a")));
}
