// Results that came in pieces (`$/chunk`): put together and compared with the hash that the answer tells.

import { HostError } from "./errors.js";

/** @typedef {import("./protocol.d.ts").ChunkNotification} ChunkNotification */
/** @typedef {import("./protocol.d.ts").ChunkedResult} ChunkedResult */

export class Chunks {
  /** @type {string[]} */
  #data = [];

  /** @param {ChunkNotification} chunk */
  take(chunk) {
    this.#data[chunk.index] = chunk.data;
  }

  /**
   * The result. Rejects with `broken_result` where it is not what was sent.
   * @param {ChunkedResult} told
   * @returns {Promise<unknown>}
   */
  async join(told) {
    const parts = Array.from({ length: told.chunks }, (_, index) => this.#data[index]);
    if (parts.includes(undefined)) throw broken("A part of it is missing.");
    const bytes = bytesOf(/** @type {string[]} */ (parts));
    if ((await sha256(bytes)) !== told.sha256) throw broken("It does not have the hash that was told.");
    return JSON.parse(new TextDecoder().decode(bytes));
  }
}

/** @param {string} problem */
const broken = (problem) => new HostError("broken_result", `The answer came in pieces that do not fit: ${problem}`);

/** @param {string[]} parts base64 */
function bytesOf(parts) {
  const pieces = parts.map((part) => Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0)));
  const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) throw broken("A page needs https or localhost to check them.");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
