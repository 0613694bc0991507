// Figures as people read them.

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** @param {number} bytes */
export function sizeText(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < UNITS.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** @param {number} milliseconds */
export function durationText(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/**
 * The line under an answer.
 * @param {import("./sessions.js").Answer} answer
 */
export function figuresOf({ model, usage, timings }) {
  const speed = timings?.decode_tokens_per_s;
  const first = timings?.first_token_ms;
  return [
    model,
    usage ? `${usage.completion_tokens} ${usage.completion_tokens === 1 ? "token" : "tokens"}` : null,
    speed ? `${speed < 10 ? speed.toFixed(1) : Math.round(speed)} tokens/s` : null,
    first ? `first after ${durationText(first)}` : null,
  ].filter((part) => part !== null && part !== undefined);
}
