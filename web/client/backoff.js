// How long to wait before the next attempt to connect.

const FIRST_MS = 250;
const LONGEST_MS = 10_000;

/**
 * Twice as long each time, and at random between half of it and all of it: the pages of a host that was started anew
 * must not all come at once.
 *
 * @param {number} failures  attempts that failed since the last success, from 1
 * @param {() => number} [random]  0 … 1
 */
export function delayMs(failures, random = Math.random) {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1));
  return most * (0.5 + random() / 2);
}

/**
 * Waits, unless the signal is aborted first.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
