// The conversations at the side: open, rename, delete.

import { announce } from "./announcer.js";
import { element, found, iconButton } from "./dom.js";

/** @typedef {import("./sessions.js").Session} Session */
/** @typedef {import("./sessions.js").Sessions} Sessions */

/**
 * @typedef {object} Listeners
 * @property {(id: string) => boolean} isOpen
 * @property {(id: string) => void} onOpen
 * @property {(id: string) => void} onRemoved
 * @property {(id: string, title: string) => void} onRenamed
 */

const DAY_MS = 24 * 60 * 60 * 1000;

export class SessionList {
  #root = found("sessions", HTMLElement);
  #sessions;
  #listeners;

  /**
   * @param {Sessions} sessions
   * @param {Listeners} listeners
   */
  constructor(sessions, listeners) {
    this.#sessions = sessions;
    this.#listeners = listeners;
  }

  show() {
    if (this.#root.querySelector("input")) return; // a name is being written
    const groups = grouped(this.#sessions.list());
    this.#root.replaceChildren(...groups.map(([title, sessions]) => this.#group(title, sessions)));
  }

  /**
   * @param {string} title
   * @param {Session[]} sessions
   */
  #group(title, sessions) {
    return element(
      "section",
      {},
      element("h2", {}, title),
      element("ul", {}, ...sessions.map((session) => this.#item(session))),
    );
  }

  /** @param {Session} session */
  #item(session) {
    const open = element(
      "button",
      {
        type: "button",
        class: "session",
        title: session.title,
        "aria-current": this.#listeners.isOpen(session.id) ? "page" : false,
        onclick: () => this.#listeners.onOpen(session.id),
      },
      session.title,
    );
    const item = element("li", {}, open);
    item.append(
      element(
        "span",
        { class: "session-buttons" },
        iconButton("rename", `Rename “${session.title}”`, () => this.#rename(session, item)),
        iconButton("delete", `Delete “${session.title}”`, () => void this.#remove(session)),
      ),
    );
    return item;
  }

  /**
   * Enter and leaving the field take the name, Escape keeps the old one.
   * @param {Session} session
   * @param {HTMLLIElement} item
   */
  #rename(session, item) {
    const input = element("input", { class: "session-name", "aria-label": "Name of the conversation" });
    input.value = session.title;
    let over = false;
    const end = (/** @type {boolean} */ take) => {
      if (over) return;
      over = true;
      const title = input.value.trim();
      input.remove();
      if (take && title && title !== session.title) this.#take(session.id, title);
      this.show();
      this.#focusOn(session.id);
    };
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      end(event.key === "Enter");
    });
    input.addEventListener("blur", () => end(true));
    item.replaceChildren(input);
    input.select();
  }

  /**
   * @param {string} id
   * @param {string} title
   */
  #take(id, title) {
    const session = this.#sessions.get(id);
    if (!session) return;
    this.#sessions.save({ ...session, title });
    this.#listeners.onRenamed(id, title);
    announce(`Renamed to ${title}.`);
  }

  /** @param {Session} session */
  async #remove(session) {
    const dialog = found("delete-dialog", HTMLDialogElement);
    found("delete-name", HTMLElement).textContent = session.title;
    dialog.returnValue = "keep";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "delete") return;
    this.#sessions.remove(session.id);
    this.show();
    announce("Conversation deleted.");
    this.#listeners.onRemoved(session.id);
  }

  /** @param {string} id */
  #focusOn(id) {
    const index = grouped(this.#sessions.list()).flatMap(([, sessions]) => sessions).findIndex((each) => each.id === id);
    /** @type {NodeListOf<HTMLElement>} */ (this.#root.querySelectorAll(".session"))[index]?.focus();
  }
}

/**
 * @param {Session[]} sessions  the newest first
 * @returns {[string, Session[]][]}
 */
function grouped(sessions) {
  const today = new Date().setHours(0, 0, 0, 0);
  /** @type {[string, (time: number) => boolean][]} */
  const spans = [
    ["Today", (time) => time >= today],
    ["Yesterday", (time) => time < today && time >= today - DAY_MS],
    ["Earlier", (time) => time < today - DAY_MS],
  ];
  const all = spans.map(([title, within]) => [title, sessions.filter(({ updated }) => within(updated))]);
  return /** @type {[string, Session[]][]} */ (all.filter(([, some]) => some?.length));
}
