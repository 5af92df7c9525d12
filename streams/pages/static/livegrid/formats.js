// Numbers, times and ages as they stand in a column: the same decimals in each row, so that they can be compared.

export const ABSENT = "–";

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const HERTZ = ["Hz", "kHz", "MHz", "GHz", "THz"];
const DECIMALS = { "%": 1, "°C": 1, W: 1, ms: 1, "g/kWh": 0, rpm: 0 };
const formats = new Map();

/** A number with thousands apart. */
export function fixed(value, decimals) {
  if (!formats.has(decimals)) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(decimals, new Intl.NumberFormat("en-US", digits));
  }
  return formats.get(decimals).format(value);
}

/** [text, unit] of a value; `form` is "flag" (0 or 1), "time" (seconds since the epoch) or absent. */
export function parts(value, unit, form) {
  if (typeof value !== "number" || !Number.isFinite(value)) return [ABSENT, ""];
  if (form === "flag" && (value === 0 || value === 1)) return [value ? "yes" : "no", ""];
  if (form === "time") return [timeText(value * 1000).slice(0, 16), ""];
  if (unit === "B" || unit === "B/s") return scaled(value, BYTES, 1024, unit.slice(1));
  if (unit === "Hz") return scaled(value, HERTZ, 1000, "");
  if (unit === "1" || !unit) return [fixed(value, Number.isInteger(value) ? 0 : 2), ""];
  const decimals = Math.abs(value) >= 10_000 ? 0 : (DECIMALS[unit] ?? 2);
  return [fixed(value, decimals), unit];
}

function scaled(value, units, step, rest) {
  let place = 0;
  while (Math.abs(value) >= step && place < units.length - 1) {
    value /= step;
    place += 1;
  }
  return [fixed(value, place === 0 && Number.isInteger(value) ? 0 : 1), units[place] + rest];
}

/** A value with all its digits. */
export function exactly(value, unit) {
  const text = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 15 }).format(value);
  return unit === "1" || !unit ? text : `${text} ${unit}`;
}

/** A duration in whole units: 0 s, 42 s, 3 min, 5 h, 12 d. */
export function ageText(ms) {
  if (ms === null || !Number.isFinite(ms)) return ABSENT;
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${fixed(Math.floor(seconds / 86_400), 0)} d`;
}

/** 2026-11-24 03:12:00 UTC. */
export function timeText(ms) {
  const date = new Date(ms);
  if (typeof ms !== "number" || Number.isNaN(date.getTime())) return ABSENT;
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** How old a value is against the interval of its source [ms]: fresh, late, stale; "" when nothing is expected. */
export function freshness(ageMs, intervalMs) {
  if (!(intervalMs > 0) || ageMs === null) return "";
  if (ageMs <= 2 * intervalMs) return "fresh";
  return ageMs <= 5 * intervalMs ? "late" : "stale";
}
