// How are numbers, money and moments said? With their units; what is not known is called unknown, and never 0.

export const UNKNOWN = "unknown";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const cents = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const fine = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 2 });
const large = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumFractionDigits: 0 });

const missing = (value) => value === null || value === undefined || Number.isNaN(value);

export const count = (value) => (missing(value) ? UNKNOWN : whole.format(value));

export function usd(value) {
  if (missing(value)) return UNKNOWN;
  if (value !== 0 && Math.abs(value) < 0.1) return fine.format(value);
  return Math.abs(value) >= 10000 ? large.format(value) : cents.format(value);
}

export const percent = (fraction, digits = 0) =>
  missing(fraction) ? UNKNOWN : `${(fraction * 100).toFixed(digits)} %`;

export function minutes(value) {
  if (missing(value)) return UNKNOWN;
  if (value < 1) return value <= 0 ? "0 min" : "< 1 min";
  if (value < 120) return `${Math.floor(value)} min`;
  if (value < 2880) return `${Math.floor(value / 60)} h ${Math.floor(value % 60)} min`;
  return `${whole.format(Math.floor(value / 1440))} days`;
}

export function seconds(value) {
  if (missing(value)) return UNKNOWN;
  if (value < 90) return `${Math.floor(value)} s`;
  return minutes(value / 60);
}

export const range = (pair, say) =>
  pair ? `${say(pair[0])} to ${missing(pair[1]) ? UNKNOWN : say(pair[1])}` : null;

const two = (value) => String(value).padStart(2, "0");
export function clock(moment) {
  const at = new Date(moment);
  return Number.isNaN(at.getTime()) ? UNKNOWN : `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}
export function day(moment) {
  const at = new Date(moment);
  return Number.isNaN(at.getTime()) ? UNKNOWN : at.toISOString().slice(0, 10);
}

// The server's clock, as far as it is known here: ages are counted by it.
let ahead = 0;
export const setServerTime = (moment) => {
  const at = Date.parse(moment);
  if (!Number.isNaN(at)) ahead = at - Date.now();
};
export const serverNow = () => Date.now() + ahead;

export function age(moment) {
  const at = Date.parse(moment);
  return Number.isNaN(at) ? UNKNOWN : seconds(Math.max(0, (serverNow() - at) / 1000));
}

export const words = (text) => String(text).replaceAll("_", " ");
export const short = (id) => String(id).slice(0, 8);

export function threshold(asked) {
  if (missing(asked)) return "";
  if (typeof asked !== "object") return String(asked);
  return Object.entries(asked).map(([operator, value]) => `${operator} ${value}`).join(", ");
}

export const figure = (value) => {
  if (missing(value)) return UNKNOWN;
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? whole.format(value) : String(Number(value.toPrecision(4)));
};

export function inUnit(value, unit) {
  if (missing(value)) return UNKNOWN;
  if (unit === "USD") return usd(value);
  if (unit === "min") return minutes(value);
  if (unit === "moment") return `${day(value)} ${clock(value)} UTC`;
  return unit ? `${figure(value)} ${unit}` : figure(value);
}
