// The pieces of one streamed answer, in the order of their numbers whatever order they come in.

import { HostError } from "./errors.js";

/**
 * A `$/stream` notification. `reasoning` is what a model thinks before it answers; it is no part of the text.
 * `anew`, in answers that may be repeated: what came before this piece no longer counts.
 *
 * @typedef {import("./protocol.d.ts").StreamNotification & {reasoning?: string, stream?: string, anew?: true}} Piece
 */
/** @typedef {{text: string, reasoning: string}} Said */

/**
 * Iterate over it for the pieces; `result` is the answer that comes after them. Leaving the iteration early cancels
 * the request. Pieces wait here until they are taken.
 *
 * @template R
 */
export class Stream {
  /** The id by which the host takes the stream up again after a broken connection, once it has told one. */
  /** @type {string | null} */
  resumeId = null;
  /** The number that the next piece must have. */
  next = 0;
  /** @type {Piece[]} */
  #ready = [];
  /** @type {Map<number, Piece>} */
  #early = new Map();
  /** All that was given so far. @type {Said} */
  #given = { text: "", reasoning: "" };
  /** What a repeated answer has said, as long as that is less than was given. @type {Said | null} */
  #repeated = null;
  #over = false;
  /** @type {unknown} */
  #error = undefined;
  /** @type {(() => void) | null} */
  #wake = null;
  #cancel;

  /**
   * @param {(stream: Stream<R>) => Promise<R>} ask  sends the request; it gives the pieces to `take`
   * @param {() => void} cancel
   */
  constructor(ask, cancel) {
    this.#cancel = cancel;
    /** @type {Promise<R>} */
    this.result = ask(this).then((result) => this.#complete(result));
    this.result.then(
      () => this.#end(),
      (error) => this.#end(error),
    );
  }

  /** @param {Piece} piece */
  take(piece) {
    if (piece.stream) this.resumeId = piece.stream;
    if (piece.seq < this.next) return; // a resumed stream may say again what had come
    this.#early.set(piece.seq, piece);
    for (let due = this.#early.get(this.next); due; due = this.#early.get(this.next)) {
      this.#early.delete(this.next);
      this.next += 1;
      this.#give(due);
    }
    this.#wake?.();
  }

  /**
   * The same answer begins once more. What was given already is not given again; should the answer be another one,
   * a piece with `anew` says so.
   */
  repeat() {
    this.resumeId = null;
    this.next = 0;
    this.#early.clear();
    this.#repeated = { text: "", reasoning: "" };
  }

  async *[Symbol.asyncIterator]() {
    try {
      while (true) {
        while (this.#ready.length) yield /** @type {Piece} */ (this.#ready.shift());
        if (this.#over) break;
        await new Promise((/** @type {(value: void) => void} */ resolve) => (this.#wake = resolve));
      }
      if (this.#error !== undefined) throw this.#error;
    } finally {
      if (!this.#over) this.#cancel();
    }
  }

  /** @param {Piece} piece */
  #give(piece) {
    const due = this.#repeated ? this.#unseen(piece, this.#repeated) : piece;
    if (!due) return;
    this.#given = joined(due.anew ? { text: "", reasoning: "" } : this.#given, due);
    this.#ready.push(due);
  }

  /**
   * What a piece of a repeated answer adds to what was given; null for nothing.
   *
   * @param {Piece} piece
   * @param {Said} repeated
   * @returns {Piece | null}
   */
  #unseen(piece, repeated) {
    const given = this.#given;
    const said = (this.#repeated = joined(repeated, piece));
    if (!alike(said.text, given.text) || !alike(said.reasoning, given.reasoning)) {
      this.#repeated = null;
      return { ...piece, ...said, anew: true };
    }
    const text = said.text.slice(given.text.length);
    const reasoning = said.reasoning.slice(given.reasoning.length);
    if (given.text.length <= said.text.length && given.reasoning.length <= said.reasoning.length) this.#repeated = null;
    return text || reasoning ? { ...piece, text, reasoning } : null;
  }

  /** @param {R} result */
  #complete(result) {
    if (this.#early.size) throw new HostError("broken_stream", `Piece ${this.next} of the answer never came.`);
    if (this.#repeated) this.#ready.push({ id: 0, seq: this.next, ...this.#repeated, anew: true }); // it ended earlier
    return result;
  }

  /** @param {unknown} [error] */
  #end(error) {
    this.#over = true;
    this.#error = error;
    this.#wake?.();
  }
}

/**
 * @param {Said} said
 * @param {Piece} piece
 * @returns {Said}
 */
const joined = (said, { text, reasoning = "" }) => ({ text: said.text + text, reasoning: said.reasoning + reasoning });

/**
 * Whether one goes on where the other ends.
 * @param {string} a
 * @param {string} b
 */
const alike = (a, b) => a.startsWith(b) || b.startsWith(a);
