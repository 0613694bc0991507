// Which model answers: the list, the choice, and how far the loading of a chosen one has come.

import { HostError } from "../client.js";
import { announce } from "./announcer.js";
import { copyButton } from "./clipboard.js";
import { element, found, icon } from "./dom.js";
import { explain } from "./error_texts.js";
import { sizeText } from "./figures.js";
import { canChat, STATE_WORDS } from "./models.js";

/** @typedef {import("./models.js").ModelListing} ModelListing */

/** Tells by the event `models` that the list, or the choice, is another. */
export class ModelPicker extends EventTarget {
  #button = found("picker-button", HTMLButtonElement);
  #list = found("picker-list", HTMLElement);
  #client;
  #onChosen;
  /** @type {ModelListing[]} */
  #models = [];
  /** The names in the list as it is drawn. @type {string[]} */
  #shown = [];
  /** @type {string | null} */
  #chosen = null;
  /** @type {AbortController | null} */
  #load = null;

  /**
   * @param {import("../client/client.js").Client} client
   * @param {(model: string) => void} onChosen  a person has chosen
   */
  constructor(client, onChosen) {
    super();
    this.#client = client;
    this.#onChosen = onChosen;
    this.#button.addEventListener("click", () => this.#toggle());
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.#button.addEventListener("keydown", (event) => event.key === "ArrowDown" && this.#toggle(true, event));
    document.addEventListener("click", (event) => {
      if (event.target instanceof Node && !this.#button.parentElement?.contains(event.target)) this.#close();
    });
    this.#list.parentElement?.addEventListener("focusout", (event) => {
      if (event.relatedTarget instanceof Node && !this.#list.parentElement?.contains(event.relatedTarget)) this.#close();
    });
  }

  /** The name of the model that would answer now; empty while nothing is known. */
  current() {
    return this.#chosen ?? this.#models.find((model) => model.default)?.name ?? "";
  }

  /** @param {string | null} model  null for the host's default */
  choose(model) {
    this.#chosen = model;
    this.#show();
  }

  /** Ask the host what there is. */
  async refresh() {
    try {
      this.#models = (await this.#client.call("models.list", {})).filter(canChat);
    } catch {
      return; // the connection's line says why
    }
    if (this.#chosen !== null && !this.#models.some(({ name }) => name === this.#chosen)) this.#chosen = null;
    this.#show();
  }

  #show() {
    found("picker-name", HTMLElement).textContent = this.current() || "…";
    const names = this.#models.map((model) => model.name);
    if (names.join("\n") !== this.#shown.join("\n")) this.#listAnew(names);
    this.#options.forEach((option, index) => this.#describe(option, /** @type {ModelListing} */ (this.#models[index])));
    this.dispatchEvent(new Event("models"));
  }

  /** @param {string[]} names */
  #listAnew(names) {
    const focused = this.#shown[this.#options.findIndex((option) => option === document.activeElement)];
    this.#shown = names;
    this.#list.replaceChildren(...names.map((name) => this.#option(name)));
    if (focused !== undefined) (this.#options[names.indexOf(focused)] ?? this.#options[0])?.focus();
  }

  /** @param {string} name */
  #option(name) {
    const words = [
      element("span", { class: "option-name" }, name),
      element("span", { class: "option-about" }),
    ];
    const pick = () => {
      const model = this.#models.find((model) => model.name === name);
      if (model) void this.#pick(model);
    };
    return element(
      "button",
      { type: "button", class: "option", onclick: pick },
      element("span", { class: "option-words" }, ...words),
      icon("check"),
    );
  }

  /**
   * What there is to say of a model now. In place: a button that is exchanged while it is pressed is not clicked.
   * @param {HTMLElement} option
   * @param {ModelListing} model
   */
  #describe(option, model) {
    const about = [model.format, model.size_bytes ? sizeText(model.size_bytes) : "", STATE_WORDS[model.state]];
    const line = option.querySelector(".option-about");
    if (line) line.textContent = about.filter(Boolean).join(" · ");
    option.ariaPressed = String(model.name === this.current());
  }

  /** @param {ModelListing} model */
  async #pick(model) {
    this.#close();
    this.#button.focus();
    this.#chosen = model.name;
    this.#onChosen(model.name);
    this.#show();
    this.#load?.abort();
    const load = (this.#load = new AbortController());
    try {
      if (model.state !== "loaded") this.#progress(model.name, null);
      await this.#client.call(
        "models.load",
        { model: model.name },
        { signal: load.signal, onProgress: ({ fraction }) => load === this.#load && this.#progress(model.name, fraction) },
      );
      announce(`${model.name} is ready.`);
      if (load === this.#load) this.#loaded();
    } catch (error) {
      if (load === this.#load) this.#failed(error);
    }
    void this.refresh();
  }

  /**
   * @param {string} name
   * @param {number | null} fraction
   */
  #progress(name, fraction) {
    const bar = found("loading-bar", HTMLProgressElement);
    if (fraction === null) bar.removeAttribute("value");
    else bar.value = fraction;
    bar.hidden = false;
    const percent = fraction === null ? "" : ` ${Math.round(fraction * 100)} %`;
    found("loading-text", HTMLElement).replaceChildren(`Loading ${name}…${percent}`);
    found("loading", HTMLElement).hidden = false;
  }

  #loaded() {
    found("loading", HTMLElement).hidden = true;
  }

  /** @param {unknown} error */
  #failed(error) {
    if (!(error instanceof HostError) || error.kind === "cancelled" || error.kind === "permission_denied") {
      return this.#loaded(); // who may not load models ahead of time may still use them
    }
    const { title, text, command } = explain(error);
    found("loading-bar", HTMLProgressElement).hidden = true;
    found("loading-text", HTMLElement).replaceChildren(
      element("strong", {}, title),
      ` ${text} `,
      ...(command
        ? [element("span", { class: "command" }, element("code", {}, command), copyButton(() => command, "Copy the command"))]
        : []),
    );
    found("loading", HTMLElement).hidden = false;
    announce(`${title}. ${text}`);
  }

  /**
   * @param {boolean} [open]
   * @param {Event} [event]
   */
  #toggle(open = this.#list.hidden === true, event) {
    event?.preventDefault();
    if (!open) return this.#close();
    this.#list.hidden = false;
    this.#button.setAttribute("aria-expanded", "true");
    this.#focusOnCurrent();
    void this.refresh();
  }

  #close() {
    this.#list.hidden = true;
    this.#button.setAttribute("aria-expanded", "false");
  }

  get #options() {
    return /** @type {HTMLElement[]} */ (Array.from(this.#list.querySelectorAll(".option")));
  }

  #focusOnCurrent() {
    (this.#options.find((option) => option.ariaPressed === "true") ?? this.#options[0])?.focus();
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const options = this.#options;
    const at = options.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: options.length - 1 };
    if (event.key === "Escape") {
      this.#close();
      this.#button.focus();
    } else if (event.key in targets) {
      const to = targets[/** @type {keyof typeof targets} */ (event.key)];
      options[Math.max(0, Math.min(options.length - 1, to))]?.focus();
    } else return;
    event.preventDefault();
  }
}
