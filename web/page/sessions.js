// Conversations, kept in this browser. One entry of the storage a conversation, so that saving one costs one.

/** @typedef {import("../client/protocol.d.ts").Usage} Usage */
/** @typedef {import("../client/protocol.d.ts").Timings} Timings */

/**
 * `outcome` of an answer: `error` goes with `failed`; `cut` is an answer that a closed page left behind. `anew` marks
 * one that was another when it was asked for again, after the host had stopped in the middle of it.
 *
 * @typedef {object} Answer
 * @property {"assistant"} role
 * @property {string} content
 * @property {string} [reasoning]
 * @property {string} [model]
 * @property {"stop" | "length" | "tool_calls" | "stopped" | "failed" | "cut"} outcome
 * @property {{kind: string, message: string, data: Record<string, unknown>}} [error]
 * @property {Usage | null} [usage]
 * @property {Timings} [timings]
 * @property {boolean} [anew]
 */
/** @typedef {{role: "user", content: string}} Question */
/** @typedef {Question | Answer} Message */
/**
 * @typedef {object} Session
 * @property {string} id
 * @property {string} title
 * @property {number} updated  milliseconds since 1970
 * @property {string | null} model  null for the host's default
 * @property {Message[]} messages
 */
/** @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">} Shelf */

const PREFIX = "native-host.session.";
const TITLE_LETTERS = 60;

export class Sessions {
  #shelf;

  /** @param {Shelf} shelf */
  constructor(shelf) {
    this.#shelf = shelf;
  }

  /** All of them, the one that was used last first. Entries that are no sessions are left alone. */
  list() {
    const keys = Array.from({ length: this.#shelf.length }, (_, index) => this.#shelf.key(index));
    const sessions = keys.flatMap((key) => {
      const session = key?.startsWith(PREFIX) ? this.get(key.slice(PREFIX.length)) : null;
      return session ? [session] : [];
    });
    return sessions.sort((a, b) => b.updated - a.updated);
  }

  /**
   * @param {string} id
   * @returns {Session | null}
   */
  get(id) {
    try {
      const session = JSON.parse(this.#shelf.getItem(PREFIX + id) ?? "null");
      return session?.id === id && Array.isArray(session.messages) ? session : null;
    } catch {
      return null;
    }
  }

  /**
   * Whether there was room for it.
   * @param {Session} session
   */
  save(session) {
    try {
      this.#shelf.setItem(PREFIX + session.id, JSON.stringify(session));
      return true;
    } catch {
      return false;
    }
  }

  /** @param {string} id */
  remove(id) {
    this.#shelf.removeItem(PREFIX + id);
  }
}

/**
 * @param {string | null} model
 * @returns {Session}
 */
export const newSession = (model) => ({
  id: Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
  title: "",
  updated: Date.now(),
  model,
  messages: [],
});

/**
 * A question, shortened at a word's end.
 * @param {string} question
 */
export function titleOf(question) {
  const line = question.trim().split(/\s+/).join(" ");
  if (line.length <= TITLE_LETTERS) return line;
  const short = line.slice(0, TITLE_LETTERS);
  const end = short.lastIndexOf(" ");
  return `${end > TITLE_LETTERS / 2 ? short.slice(0, end) : short}…`;
}

/**
 * What the model is to see: questions without an answer are left out, since many chat templates want turns.
 * @param {Message[]} messages
 * @param {string} system
 */
export function promptOf(messages, system) {
  const turns = messages.filter((message, index) => {
    const answered = messages[index + 1];
    if (message.role === "assistant") return message.content !== "";
    return answered === undefined || answered.role !== "assistant" || answered.content !== "";
  });
  const asked = turns.map(({ role, content }) => ({ role, content }));
  return system ? [{ role: /** @type {const} */ ("system"), content: system }, ...asked] : asked;
}
