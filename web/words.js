// How numbers, countries, periods and charts are written for people.
//
// In the reader's own language where the browser knows it; days are UTC, as the charts are.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: 'percent', maximumSignificantDigits: 2 });
const regions = new Intl.DisplayNames(undefined, { type: 'region', fallback: 'code' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });
const dayOfYear = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  timeZone: 'UTC',
});
const month = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric', timeZone: 'UTC' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', timeZone: 'UTC' });

export const GLOBAL = 'global';
const DEVICE = 'device:';
const COUNTRY = 'country:';

export const count = (number) => whole.format(number);
// Four digits take no more room than "1.3k", and say more.
export const compact = (number) => (number < 10_000 ? whole : short).format(number);
export const share = (part) => percent.format(part);
export const plays = (number) => `${whole.format(number)} ${number === 1 ? 'play' : 'plays'}`;
export const isDevice = (scope) => scope.startsWith(DEVICE);
export const isCountry = (scope) => scope !== GLOBAL && !isDevice(scope);
export const device = (scope) => sentence(scope.slice(DEVICE.length));
export const clock = (instant) => `${minute.format(new Date(instant))} UTC`;

export function country(code) {
  try {
    return regions.of(code);
  } catch {
    // Plays may come from "countries" that are none.
    return code;
  }
}

// The code of ISO 3166 for one that people also use, as GB for UK.
export function isoCode(code) {
  try {
    return new Intl.Locale(`und-${code}`).region ?? code;
  } catch {
    return code;
  }
}

export function scope(name) {
  if (name === GLOBAL) return 'Worldwide';
  if (isDevice(name)) return `On ${device(name).toLowerCase()}`;
  return country(name.replace(COUNTRY, ''));
}

// The scope of a country's lists. What could be taken for something else says that it is a country.
export const countryScope = (code) => (/^[A-Z]{2}$/.test(code) ? code : `${COUNTRY}${code}`);

// `all-time` becomes "All time".
export function sentence(name) {
  const words = name.replaceAll('-', ' ').trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function period(name) {
  const week = /^(\d+)-W(\d+)$/.exec(name);
  if (week) return `Week ${Number(week[2])}, ${week[1]}`;
  if (/^\d+-\d+-\d+$/.test(name)) return dayOfYear.format(new Date(`${name}T00:00:00Z`));
  if (/^\d+-\d+$/.test(name)) return month.format(new Date(`${name}-01T00:00:00Z`));
  if (name === 'all') return 'All time';
  if (name.includes('/')) return `Until ${clock(name.split('/')[1])}`;
  return name;
}

// A period where there is little room, as below a column.
export function shortPeriod(name) {
  const week = /-(W\d+)$/.exec(name);
  if (week) return week[1];
  if (/^\d+-\d+-\d+$/.test(name)) return day.format(new Date(`${name}T00:00:00Z`));
  if (/^\d+-\d+$/.test(name)) return month.format(new Date(`${name}-01T00:00:00Z`)).slice(0, 3);
  return period(name);
}

// The days from `start` up to, not including, `end`.
export function days(start, end) {
  if (!start || !end) return '';
  return day.formatRange(new Date(start), new Date(Date.parse(end) - 1));
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
