// Tables as CSV that a spreadsheet shows as it is: no text of it is ever taken for a formula.

// What a spreadsheet may run. A title is written by whoever writes to the topic.
const FORMULA = /^[=+\-@\t\r]/;

function field(value) {
  if (typeof value === 'number') return String(value);
  const text = String(value ?? '');
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return /[",\t\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

// Lines as RFC 4180 has them.
export const csv = (rows) => rows.map((row) => `${row.map(field).join(',')}\r\n`).join('');

// The entries of a chart's cell, one a line.
export function cellRows({ chart, period, scope, entries }) {
  const isTrack = entries.some((entry) => entry.track_id !== undefined);
  const columns = isTrack ? ['rank', 'track_id', 'title', 'artist', 'plays'] : ['rank', 'artist', 'plays'];
  const rows = entries.map((entry) => [chart, period, scope, ...columns.map((name) => entry[name])]);
  return [['chart', 'period', 'scope', ...columns], ...rows];
}
