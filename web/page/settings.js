// What a person has set, kept in this browser.

/**
 * `theme`: `system` follows the operating system. `temperature` null: the model's own.
 * @typedef {object} Settings
 * @property {"system" | "light" | "dark" | "contrast"} theme
 * @property {string} system
 * @property {number | null} temperature
 * @property {number} maxTokens
 * @property {string | null} model
 */

const KEY = "native-host.settings";

/** @type {Settings} */
const DEFAULTS = { theme: "system", system: "", temperature: null, maxTokens: 1024, model: null };

/** @returns {Settings} */
export function loadSettings() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return { ...DEFAULTS };
  }
}

/** @param {Settings} settings */
export function saveSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // A browser that keeps nothing still has a page that works.
  }
}
