// Formats numbers, scopes, periods and charts for readers, in their language as far as the browser has it. Moments are UTC; the
// days of a chart are those of its zone.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: 'percent', maximumSignificantDigits: 2 });
const regions = new Intl.DisplayNames(undefined, { type: 'region', fallback: 'code' });
const DAY = { day: 'numeric', month: 'short' };
const dayIn = (zone) => new Intl.DateTimeFormat(undefined, { ...DAY, timeZone: zone });
const day = dayIn('UTC');
const dayOfYear = new Intl.DateTimeFormat(undefined, { ...DAY, year: 'numeric', timeZone: 'UTC' });
const month = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric', timeZone: 'UTC' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', timeZone: 'UTC' });

export const GLOBAL = 'global';
const COUNTRY = 'country:';
const HOUR_MS = 3_600_000;

// Words with a fixed spelling.
const SPELLED = { tv: 'TV', ios: 'iOS', pc: 'PC', uk: 'UK', us: 'US', usa: 'USA', eu: 'EU' };

export const count = (number) => whole.format(number);
// Four digits are as short as "1.3k", and more exact.
export const compact = (number) => (number < 10_000 ? whole : short).format(number);
export const share = (part) => percent.format(part);
export const several = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;
export const plays = (number) => several(number, 'play');
// The kind of a scope: `global`, or its dimension. Countries need no prefix.
export const scopeKind = (scope) => (scope === GLOBAL ? GLOBAL : /^([a-z]+):/.exec(scope)?.[1] ?? 'country');
export const isDevice = (scope) => scopeKind(scope) === 'device';
export const isCountry = (scope) => scopeKind(scope) === 'country';
const valueOf = (scope) => scope.slice(scope.indexOf(':') + 1);
export const device = (scope) => sentence(valueOf(scope)) || 'Unknown device';
export const clock = (instant) => `${minute.format(new Date(instant))} UTC`;

// A moment, with its day unless it is within half a day of now.
export function moment(instant, now = Date.now()) {
  const isNear = Math.abs(now - Date.parse(instant)) < 12 * HOUR_MS;
  return isNear ? clock(instant) : `${dayOfYear.format(new Date(instant))}, ${clock(instant)}`;
}

export function country(code) {
  try {
    const name = regions.of(code);
    return name === code && code === 'ZZ' ? 'Unknown country' : name;
  } catch {
    // Plays may name countries that do not exist.
    return code || 'No country';
  }
}

// The ISO 3166 code for a common other one, such as GB for UK.
export function isoCode(code) {
  try {
    return new Intl.Locale(`und-${code}`).region ?? code;
  } catch {
    return code;
  }
}

export function scope(name) {
  if (name === GLOBAL) return 'Worldwide';
  if (isDevice(name)) return `On ${within(device(name))}`;
  if (isCountry(name)) return country(countryOf(name));
  // A value of another dimension, unchanged.
  return valueOf(name) || `No ${scopeKind(name)}`;
}

// The country code of a scope.
export const countryOf = (scope) => (scope.startsWith(COUNTRY) ? scope.slice(COUNTRY.length) : scope);

// The scope of a country. A code that could be read as something else gets the prefix.
export const countryScope = (code) => (/^[A-Z]{2}$/.test(code) ? code : `${COUNTRY}${code}`);

// `all-time` becomes "All time", `smart-tv` "Smart TV".
export function sentence(name) {
  const words = name.replaceAll(/[-_]/g, ' ').trim().split(/ +/);
  const text = words.map((word) => SPELLED[word.toLowerCase()] ?? word).join(' ');
  return /^[a-z]+[A-Z]/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

// A name for the middle of a sentence: "all time", but "TV".
const within = (text) => (/^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text);

// The name of a chart for the middle of a sentence.
export const chartName = (name) => within(sentence(name));

export function period(name) {
  const week = /^(\d+)-W(\d+)$/.exec(name);
  if (week) return `Week ${Number(week[2])}, ${week[1]}`;
  if (/^\d+-\d+-\d+$/.test(name)) return dayOfYear.format(new Date(`${name}T00:00:00Z`));
  if (/^\d+-\d+$/.test(name)) return month.format(new Date(`${name}-01T00:00:00Z`));
  if (name === 'all') return 'All time';
  // There is no period before the first play.
  if (name === '../..') return '';
  if (name.includes('/')) return `Until ${moment(name.split('/')[1])}`;
  return name;
}

// A short name of a period, such as below a column.
export function shortPeriod(name) {
  const week = /-(W\d+)$/.exec(name);
  if (week) return week[1];
  if (/^\d+-\d+-\d+$/.test(name)) return day.format(new Date(`${name}T00:00:00Z`));
  if (/^\d+-\d+$/.test(name)) return month.format(new Date(`${name}-01T00:00:00Z`)).slice(0, 3);
  return period(name);
}

// The days from `start` until before `end`, in the time zone `zone`.
export function days(start, end, zone) {
  if (!start || !end) return '';
  return inZone((known) => dayIn(known).formatRange(new Date(start), new Date(Date.parse(end) - 1)), zone);
}

// Formats with `zone`, or with UTC if the browser does not know the zone.
function inZone(format, zone) {
  try {
    return format(zone ?? 'UTC');
  } catch {
    return format('UTC');
  }
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 90) return `${Math.round(minutes)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} days`;
}
