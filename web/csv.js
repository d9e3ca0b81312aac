// Tables as CSV that is safe to open in a spreadsheet, with the same cells as src/terminal/output/csv.rs:
// tests/page/csv-cases.json tests both. Lines end with CR LF here, as RFC 4180 has them.

// The first characters that make a spreadsheet treat a cell as a formula (OWASP). Any producer can write such a title.
const FORMULA = /^[=+\-@＝＋－＠\t\r\n]/;
// A terminal, or a program that reads lines, would act on these.
const CONTROL = /\p{Cc}/gu;
const NAMED = { '\t': '\\t', '\r': '\\r', '\n': '\\n' };

const escaped = (control) => NAMED[control] ?? `\\u{${control.codePointAt(0).toString(16)}}`;

function field(value) {
  if (typeof value === 'number') return String(value);
  const text = String(value ?? '');
  const harmless = (FORMULA.test(text) ? `'${text}` : text).replaceAll(CONTROL, escaped);
  return /[",]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

export const csv = (rows) => rows.map((row) => `${row.map(field).join(',')}\r\n`).join('');

// The columns of entries; an empty cell has the columns of artists.
const ALL = ['rank', 'track_id', 'title', 'artist', 'plays'];
const REQUIRED = ['rank', 'plays'];

// The entries of a chart's cell, one a line.
export function cellRows({ chart, period, scope, entries }) {
  const columns = ALL.filter((name) => REQUIRED.includes(name) || entries.some((entry) => entry[name] !== undefined));
  const rows = entries.map((entry) => [chart, period, scope, ...columns.map((name) => entry[name])]);
  return [['chart', 'period', 'scope', ...columns], ...rows];
}
