// The list at the side. On narrow screens it lies over the conversation, which cannot be reached meanwhile.

import { found } from "./dom.js";

export class Sidebar {
  #side = found("sidebar", HTMLElement);
  #main = found("main", HTMLElement);
  #backdrop = found("backdrop", HTMLElement);
  #opener = found("open-sidebar", HTMLButtonElement);

  constructor() {
    this.#opener.addEventListener("click", () => this.#set(true));
    this.#backdrop.addEventListener("click", () => this.close());
    found("close-sidebar", HTMLButtonElement).addEventListener("click", () => this.close());
    this.#side.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#isOpen || event.defaultPrevented) return;
      event.preventDefault();
      this.close();
    });
    matchMedia("(min-width: 48rem)").addEventListener("change", () => this.close());
  }

  close() {
    if (this.#isOpen) this.#set(false);
  }

  get #isOpen() {
    return this.#side.classList.contains("open");
  }

  /** @param {boolean} open */
  #set(open) {
    this.#side.classList.toggle("open", open);
    this.#main.inert = open;
    this.#backdrop.hidden = !open;
    this.#opener.setAttribute("aria-expanded", String(open));
    (open ? found("close-sidebar", HTMLButtonElement) : this.#opener).focus();
  }
}
