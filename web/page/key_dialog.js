// Asks for the API key where the host wants one, and keeps it as long as its owner says.

import { found } from "./dom.js";

/** @typedef {import("../client/errors.js").HostError} HostError */

const NAME = "native-host.api-key";

export class KeyDialog {
  #dialog = found("key-dialog", HTMLDialogElement);
  #input = found("key-input", HTMLInputElement);
  #keep = found("key-keep", HTMLInputElement);

  constructor() {
    found("key-cancel", HTMLButtonElement).addEventListener("click", () => this.#dialog.close("cancel"));
  }

  get known() {
    return localStorage.getItem(NAME) ?? sessionStorage.getItem(NAME);
  }

  forget() {
    localStorage.removeItem(NAME);
    sessionStorage.removeItem(NAME);
  }

  /**
   * The key that is known, unless it has just been refused; else the one that is typed in. Null where nobody wants to.
   * @param {HostError | null} failure
   * @returns {Promise<{api_key: string} | null>}
   */
  async ask(failure) {
    if (!failure && this.known) return { api_key: this.known };
    this.forget();
    found("key-problem", HTMLElement).textContent = failure ? "That key was not accepted." : "";
    this.#input.value = "";
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    this.#input.focus();
    await new Promise((resolve) => this.#dialog.addEventListener("close", resolve, { once: true }));
    const key = this.#input.value.trim();
    if (this.#dialog.returnValue === "cancel" || !key) return null;
    (this.#keep.checked ? localStorage : sessionStorage).setItem(NAME, key);
    return { api_key: key };
  }
}
