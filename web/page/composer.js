// Where questions are written: grows with them, sends by Enter, and becomes the stop button while an answer comes.

import { found } from "./dom.js";

export class Composer {
  #text = found("question", HTMLTextAreaElement);
  #send = found("send", HTMLButtonElement);
  #stop = found("stop", HTMLButtonElement);
  #onSend;
  #busy = false;

  /** @param {{onSend: (question: string) => void, onStop: () => void}} listeners */
  constructor({ onSend, onStop }) {
    this.#onSend = onSend;
    found("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#look());
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#stop.addEventListener("click", onStop);
  }

  focus() {
    this.#text.focus();
  }

  /**
   * Put a text above what is being written, as a quotation.
   * @param {string} text
   */
  quote(text) {
    const lines = text.trim().split(/\r?\n/);
    this.#text.value = `${lines.map((line) => `> ${line}`).join("\n")}\n\n${this.#text.value}`;
    this.focus();
    this.#text.setSelectionRange(this.#text.value.length, this.#text.value.length);
    this.#look();
    this.#text.scrollTop = this.#text.scrollHeight;
  }

  /** @param {boolean} busy  an answer is coming */
  setBusy(busy) {
    const focused = document.activeElement;
    this.#busy = busy;
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
    if (focused === this.#send || focused === this.#stop) this.focus(); // it has just gone
    this.#look();
  }

  #submit() {
    const question = this.#text.value.trim();
    if (!question || this.#busy) return;
    this.#text.value = "";
    this.#look();
    this.#onSend(question);
  }

  #look() {
    this.#send.disabled = !this.#text.value.trim();
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
