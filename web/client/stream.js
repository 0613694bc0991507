// The pieces of one streamed answer, in the order of their numbers whatever order they come in.

import { HostError } from "./errors.js";

/**
 * A `$/stream` notification. `reasoning` is what a model thinks before it answers; it is no part of the text.
 * @typedef {import("./protocol.d.ts").StreamNotification & {reasoning?: string, stream?: string}} Piece
 */

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
      this.#ready.push(due);
      this.next += 1;
    }
    this.#wake?.();
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

  /** @param {R} result */
  #complete(result) {
    if (this.#early.size) throw new HostError("broken_stream", `Piece ${this.next} of the answer never came.`);
    return result;
  }

  /** @param {unknown} [error] */
  #end(error) {
    this.#over = true;
    this.#error = error;
    this.#wake?.();
  }
}
