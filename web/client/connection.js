// One open port: requests and their answers, notifications, cancelling. What comes after it breaks off is the
// business of client.js.

import { Chunks } from "./chunks.js";
import { connectionLost, HostError } from "./errors.js";

/** @typedef {import("./port.js").Port} Port */
/** @typedef {import("./protocol.d.ts").ProgressNotification} Progress */
/** @typedef {import("./stream.js").Piece} Piece */

/**
 * @typedef {object} Listeners
 * @property {((piece: Piece) => void)} [onPiece]
 * @property {((progress: Progress) => void)} [onProgress]
 */

/**
 * @typedef {object} Pending
 * @property {number} frame
 * @property {Listeners} listeners
 * @property {Chunks | null} chunks
 * @property {(result: any) => void} resolve
 * @property {(error: HostError) => void} reject
 */

export class Connection {
  /** Resolves when nothing more can come, with the reason where one is known. @type {Promise<HostError | null>} */
  closed;
  #port;
  #ended = false;
  #nextId = 1;
  #frames = 0;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** @type {(failure: HostError | null) => void} */
  #onClosed = () => {};

  /** @param {Port} port */
  constructor(port) {
    this.#port = port;
    this.closed = new Promise((resolve) => (this.#onClosed = resolve));
    port.onmessage = (message) => this.#take(message);
    port.onclose = (failure) => this.#end(failure);
  }

  /**
   * @param {string} method
   * @param {object} params
   * @param {Listeners & {signal?: AbortSignal | undefined}} [options]  an aborted `signal` cancels: the request then
   *   fails with `cancelled`, whose data has the text so far
   * @returns {Promise<any>}
   */
  request(method, params, { signal, ...listeners } = {}) {
    if (this.#ended) return Promise.reject(connectionLost());
    const id = this.#nextId++;
    const cancel = () => this.notify("$/cancelRequest", { id });
    /** @type {Promise<any>} */
    const answer = new Promise((resolve, reject) => {
      this.#send({ jsonrpc: "2.0", id, method, params });
      this.#pending.set(id, { frame: this.#frames, listeners, chunks: null, resolve, reject });
    });
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel);
    return answer.finally(() => signal?.removeEventListener("abort", cancel));
  }

  /**
   * @param {string} method
   * @param {object} params
   */
  notify(method, params) {
    if (!this.#ended) this.#send({ jsonrpc: "2.0", method, params });
  }

  close() {
    this.#port.close();
    this.#end(null);
  }

  /** @param {object} message */
  #send(message) {
    this.#port.send(message);
    this.#frames += 1;
  }

  /** @param {any} message */
  #take(message) {
    if (Array.isArray(message)) message.forEach((member) => this.#take(member));
    else if (message?.method) this.#notified(message.method, message.params ?? {});
    else if (message?.id === null || message?.id === undefined) this.#refused(message?.error);
    else void this.#answered(message);
  }

  /**
   * @param {string} method
   * @param {any} params
   */
  #notified(method, params) {
    const pending = this.#pending.get(params.id);
    if (!pending) return;
    if (method === "$/stream") pending.listeners.onPiece?.(params);
    else if (method === "$/progress") pending.listeners.onProgress?.(params);
    else if (method === "$/chunk") (pending.chunks ??= new Chunks()).take(params);
  }

  /** @param {any} message */
  async #answered({ id, result, error }) {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    if (error) return pending.reject(HostError.fromWire(error));
    if (!pending.chunks || result?.chunked !== true) return pending.resolve(result);
    await pending.chunks.join(result).then(pending.resolve, pending.reject);
  }

  /**
   * A message that the host could not even read has no id; its number says which request it was.
   * @param {any} error
   */
  #refused(error) {
    for (const [id, pending] of this.#pending) {
      if (pending.frame === error?.data?.frame) {
        this.#pending.delete(id);
        pending.reject(HostError.fromWire(error));
      }
    }
  }

  /** @param {HostError | null} failure */
  #end(failure) {
    if (this.#ended) return;
    this.#ended = true;
    for (const pending of this.#pending.values()) pending.reject(failure ?? connectionLost());
    this.#pending.clear();
    this.#onClosed(failure);
  }
}
