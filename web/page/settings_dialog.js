// The settings, which hold from the moment they are changed.

import { found } from "./dom.js";
import { saveSettings } from "./settings.js";

/** @typedef {import("./settings.js").Settings} Settings */

export class SettingsDialog {
  /**
   * @param {Settings} settings  changed in place
   * @param {import("./key_dialog.js").KeyDialog} keys
   * @param {() => void} onForgotten
   */
  constructor(settings, keys, onForgotten) {
    const dialog = found("settings", HTMLDialogElement);
    const form = found("settings-form", HTMLFormElement);
    const forget = found("forget-key", HTMLButtonElement);
    found("open-settings", HTMLButtonElement).addEventListener("click", () => {
      fill(form, settings);
      forget.hidden = !keys.known;
      dialog.showModal();
    });
    form.addEventListener("input", () => {
      read(form, settings);
      saveSettings(settings);
      applyTheme(settings.theme);
    });
    forget.addEventListener("click", () => {
      keys.forget();
      dialog.close();
      onForgotten();
    });
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {Settings} settings
 */
function fill(form, settings) {
  const fields = form.elements;
  /** @type {RadioNodeList} */ (fields.namedItem("theme")).value = settings.theme;
  field(form, "system").value = settings.system;
  field(form, "temperature").value = settings.temperature === null ? "" : String(settings.temperature);
  field(form, "maxTokens").value = String(settings.maxTokens);
}

/**
 * Values that cannot be are left as they were.
 * @param {HTMLFormElement} form
 * @param {Settings} settings
 */
function read(form, settings) {
  const [temperature, maxTokens] = [field(form, "temperature"), field(form, "maxTokens")];
  settings.theme = /** @type {Settings["theme"]} */ (new FormData(form).get("theme"));
  settings.system = field(form, "system").value.trim();
  if (temperature.validity.valid) settings.temperature = temperature.value === "" ? null : Number(temperature.value);
  if (maxTokens.validity.valid) settings.maxTokens = Number(maxTokens.value);
}

/**
 * @param {HTMLFormElement} form
 * @param {string} name
 */
const field = (form, name) => /** @type {HTMLInputElement | HTMLTextAreaElement} */ (form.elements.namedItem(name));

/** @param {Settings["theme"]} theme */
function applyTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
