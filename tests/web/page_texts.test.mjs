import assert from "node:assert/strict";
import { test } from "node:test";

import { explain } from "../../web/page/error_texts.js";
import { durationText, figuresOf, sizeText } from "../../web/page/figures.js";
import { newSession, promptOf, Sessions, titleOf } from "../../web/page/sessions.js";

/** @typedef {import("../../web/page/sessions.js").Message} Message */

/** A browser's storage, as far as it is used. */
class Shelf {
  #kept = new Map();
  full = false;
  get length() {
    return this.#kept.size;
  }
  /** @param {number} index */
  key(index) {
    return [...this.#kept.keys()][index] ?? null;
  }
  /** @param {string} key */
  getItem(key) {
    return this.#kept.get(key) ?? null;
  }
  /**
   * @param {string} key
   * @param {string} value
   */
  setItem(key, value) {
    if (this.full) throw new DOMException("no room", "QuotaExceededError");
    this.#kept.set(key, value);
  }
  /** @param {string} key */
  removeItem(key) {
    this.#kept.delete(key);
  }
}

test("conversations are kept, listed by their last use, and removed", () => {
  const shelf = new Shelf();
  const sessions = new Sessions(shelf);
  const [old, fresh] = [newSession("a"), newSession(null)];
  assert.notEqual(old.id, fresh.id);
  sessions.save({ ...old, updated: 1 });
  sessions.save({ ...fresh, updated: 2 });
  assert.deepEqual(sessions.list().map(({ id }) => id), [fresh.id, old.id]);
  assert.equal(sessions.get(old.id)?.model, "a");
  sessions.remove(old.id);
  assert.equal(sessions.get(old.id), null);
});

test("what else lies in the storage is left alone", () => {
  const shelf = new Shelf();
  shelf.setItem("native-host.session.x", "{");
  shelf.setItem("native-host.session.y", '{"id":"z","messages":[]}');
  shelf.setItem("native-host.session.w", '{"id":"w"}');
  shelf.setItem("somebody's", "else");
  assert.deepEqual(new Sessions(shelf).list(), []);
  assert.equal(shelf.length, 4);
});

test("a full storage is told", () => {
  const shelf = new Shelf();
  shelf.full = true;
  assert.equal(new Sessions(shelf).save(newSession(null)), false);
});

test("titles are short and end with a word", () => {
  assert.equal(titleOf("  What is\n this? "), "What is this?");
  assert.equal(titleOf("word ".repeat(30)), `${"word ".repeat(11)}word…`);
  assert.equal(titleOf("x".repeat(100)), `${"x".repeat(60)}…`);
});

test("the model sees questions and answers in turns, and no failures", () => {
  /** @type {Message[]} */
  const messages = [
    { role: "user", content: "one" },
    { role: "assistant", content: "1", outcome: "stop" },
    { role: "user", content: "two" },
    { role: "assistant", content: "", outcome: "failed" },
    { role: "user", content: "three" },
    { role: "assistant", content: "so far", outcome: "stopped", reasoning: "hm" },
    { role: "user", content: "four" },
  ];
  const seen = promptOf(messages, "Be brief.");
  assert.deepEqual(
    seen.map(({ role, content }) => `${role}: ${content}`),
    ["system: Be brief.", "user: one", "assistant: 1", "user: three", "assistant: so far", "user: four"],
  );
  assert.deepEqual(promptOf(messages, "")[1], { role: "assistant", content: "1" });
});

test("figures are as people read them", () => {
  assert.deepEqual([0, 999, 1500, 7.2e6, 4.4e10].map(sizeText), ["0 bytes", "999 bytes", "1.5 kB", "7.2 MB", "44 GB"]);
  assert.deepEqual([8.4, 1500, 90_000].map(durationText), ["8 ms", "1.5 s", "1 min 30 s"]);
  const usage = { prompt_tokens: 1, completion_tokens: 1, cached_tokens: 0 };
  const timings = { decode_tokens_per_s: 9.87, first_token_ms: 12 };
  assert.deepEqual(
    figuresOf({ role: "assistant", content: "", outcome: "stop", model: "m", usage, timings }),
    ["m", "1 token", "9.9 tokens/s", "first after 12 ms"],
  );
  assert.deepEqual(figuresOf({ role: "assistant", content: "", outcome: "failed" }), []);
});

test("errors have a title and the way out", () => {
  /**
   * @param {string} kind
   * @param {Record<string, unknown>} data
   */
  const told = (kind, data) => explain({ kind, message: "As the host says.", data });
  assert.equal(told("model_absent", { model: "x", command: "native-host models pull x" }).command, "native-host models pull x");
  assert.match(told("model_absent", { model: "x", command: "put the file at /x" }).text, /^Put the file at \/x\./);
  assert.match(told("insufficient_memory", { needed_bytes: 8e9, available_bytes: 2e9 }).text, /8\.0 GB.*2\.0 GB/);
  assert.match(told("rate_limited", { retry_after_s: 30 }).text, /30\.0 s/);
  assert.equal(told("unsupported", { install: "native-host[onnx]" }).command, "pip install 'native-host[onnx]'");
  assert.match(told("model_not_found", { model: "a", nearest: ["b"] }).text, /“b”/);
  assert.equal(told("something_new", {}).text, "As the host says.");
  assert.match(told("permission_denied", { scope: "infer" }).text, /“infer”/);
  const message = "x may not: infer; `native-host grants grant x --scope infer` allows it";
  const refused = explain({ kind: "permission_denied", message, data: { scope: "infer" } });
  assert.equal(refused.command, "native-host grants grant x --scope infer");
});
