import assert from "node:assert/strict";
import { test } from "node:test";

import { Exchange } from "../../extension/exchange.js";
import { HostError } from "../../extension/client.js";
import { ToyNetwork } from "../web/toy_port.mjs";

const NAME = { name: "test-extension", version: "1" };
const CHAT = { messages: [{ role: "user", content: "Hello" }] };

/** One end of what `chrome.runtime.connect` makes: what a page says, and what it hears. */
class ToyPage {
  /** @type {any[]} */
  heard = [];
  gone = false;
  /** Longer messages are refused, as the browser refuses them. */
  longest = Infinity;
  /** @type {((message: any) => void)[]} */
  #listeners = [];
  /** @type {(() => void)[]} */
  #leaving = [];
  #wake = () => {};

  /** @returns {chrome.runtime.Port} */
  get link() {
    const link = {
      postMessage: (/** @type {object} */ message) => {
        if (this.gone || JSON.stringify(message).length > this.longest) throw new Error("not carried");
        this.heard.push(JSON.parse(JSON.stringify(message)));
        this.#wake();
      },
      disconnect: () => {
        this.gone = true;
        this.#wake();
      },
      onMessage: { addListener: (/** @type {any} */ listener) => this.#listeners.push(listener) },
      onDisconnect: { addListener: (/** @type {any} */ listener) => this.#leaving.push(listener) },
    };
    return /** @type {any} */ (link);
  }

  /** @param {object} message */
  say(message) {
    for (const listener of this.#listeners) listener({ jsonrpc: "2.0", ...message });
  }

  /** The next thing that it hears. @returns {Promise<any>} */
  async next() {
    while (!this.heard.length) await new Promise((resolve) => (this.#wake = () => resolve(null)));
    return this.heard.shift();
  }

  async dismissed() {
    while (!this.gone) await new Promise((resolve) => (this.#wake = () => resolve(null)));
  }

  leave() {
    this.gone = true;
    for (const listener of this.#leaving) listener();
  }
}

/** @param {Exchange} exchange */
function join(exchange) {
  const page = new ToyPage();
  void exchange.join(page.link);
  return page;
}

async function shared() {
  const network = new ToyNetwork();
  const exchange = new Exchange(network.open, NAME);
  const pages = [join(exchange), join(exchange)];
  const host = await network.opened();
  const asked = await host.shakeHands();
  for (const page of pages) assert.deepEqual(await page.next(), { ready: true });
  const [one, two] = /** @type {[ToyPage, ToyPage]} */ (pages);
  return { network, exchange, host, asked, one, two };
}

test("pages share one connection, and each is greeted as if it had its own", async () => {
  const { network, asked, host, one, two } = await shared();
  assert.deepEqual(asked.params.client, NAME);
  one.say({ id: 1, method: "initialize", params: { protocol_version: "1", client: { name: "page", version: "1" } } });
  two.say({ id: 1, method: "initialize", params: { protocol_version: "1", client: { name: "page", version: "1" } } });
  assert.equal((await one.next()).result.protocol_version, "1");
  assert.equal((await two.next()).result.protocol_version, "1");
  assert.equal(network.attempts, 1);
  assert.deepEqual(host.sent, []);
});

test("equal numbers of two pages are kept apart", async () => {
  const { host, one, two } = await shared();
  one.say({ id: 7, method: "chat", params: CHAT });
  two.say({ id: 7, method: "chat", params: CHAT });
  const [first, second] = [await host.next(), await host.next()];
  assert.notEqual(first.id, second.id);
  host.piece(second.id, 0, "for two", { stream: "s" });
  host.say({ method: "$/progress", params: { id: first.id, stage: "loading", fraction: 0.5, message: "half" } });
  host.answer(second.id, { text: "for two" });
  host.fail(first.id, -32020, "rate_limited", { retry_after_s: 1 });
  assert.deepEqual((await two.next()).params, { id: 7, seq: 0, text: "for two", stream: "s" });
  assert.deepEqual(await two.next(), { jsonrpc: "2.0", id: 7, result: { text: "for two" } });
  assert.equal((await one.next()).params.stage, "loading");
  const { id, error } = await one.next();
  assert.equal(id, 7);
  assert.deepEqual(error, { code: -32020, message: "it is rate_limited", data: { kind: "rate_limited", retry_after_s: 1 } });
});

test("what a page cancels, or leaves behind, is cancelled", async () => {
  const { host, one, two } = await shared();
  one.say({ id: 1, method: "chat", params: CHAT });
  two.say({ id: 1, method: "chat", params: CHAT });
  const [first, second] = [await host.next(), await host.next()];
  one.say({ method: "$/cancelRequest", params: { id: 1 } });
  assert.deepEqual((await host.next()).params, { id: first.id });
  host.fail(first.id, -32800, "cancelled", { text: "so far" });
  assert.equal((await one.next()).error.data.text, "so far");
  two.leave();
  assert.deepEqual((await host.next()).params, { id: second.id });
});

test("when the last page has gone, so goes the host; when one comes, there is another", async () => {
  const { network, exchange, host, one, two } = await shared();
  one.leave();
  const back = join(exchange);
  two.leave();
  assert.deepEqual(await back.next(), { ready: true });
  back.leave();
  while (!host.closed) await new Promise((resolve) => setTimeout(resolve, 5));
  const another = join(exchange);
  await (await network.opened()).shakeHands();
  assert.deepEqual(await another.next(), { ready: true });
});

test("when the connection breaks off, pages are sent away without an answer, and find another", async () => {
  const { network, exchange, host, one, two } = await shared();
  one.say({ id: 1, method: "chat", params: CHAT });
  await host.next();
  host.vanish();
  await one.dismissed();
  await two.dismissed();
  assert.deepEqual([one.heard, two.heard], [[], []]);
  const back = join(exchange);
  await (await network.opened()).shakeHands();
  assert.deepEqual(await back.next(), { ready: true });
});

test("every page is told why there is no host", async () => {
  const network = new ToyNetwork();
  const exchange = new Exchange(network.open, NAME);
  const pages = [join(exchange), join(exchange)];
  (await network.opened()).vanish(new HostError("host_forbidden", "No.", { said: "forbidden" }));
  for (const page of pages) {
    assert.deepEqual(await page.next(), { failed: { kind: "host_forbidden", message: "No.", data: { said: "forbidden" } } });
    await page.dismissed();
  }
  const next = join(exchange);
  const host = await network.opened();
  host.fail((await host.next()).id, -32004, "unsupported_protocol");
  assert.equal((await next.next()).failed.kind, "unsupported_protocol");
  assert(host.closed);
});

test("one page's key opens the host for all", async () => {
  const network = new ToyNetwork();
  const exchange = new Exchange(network.open, NAME);
  const page = join(exchange);
  const host = await network.opened();
  await host.shakeHands({ auth: { required: true, schemes: ["api_key"] } });
  await page.next();
  page.say({ id: 1, method: "authenticate", params: { api_key: "wrong" } });
  host.fail((await host.next()).id, -32001, "unauthenticated");
  assert.equal((await page.next()).error.data.kind, "unauthenticated");
  page.say({ id: 2, method: "initialize", params: {} });
  assert.equal((await page.next()).result.auth.required, true);
  page.say({ id: 3, method: "authenticate", params: { api_key: "right" } });
  host.answer((await host.next()).id, {});
  await page.next();
  const other = join(exchange);
  await other.next();
  other.say({ id: 1, method: "initialize", params: {} });
  assert.equal((await other.next()).result.auth.required, false);
});

test("an answer that the browser does not carry is an error", async () => {
  const { host, one } = await shared();
  one.longest = 1000;
  one.say({ id: 1, method: "detokenize", params: {} });
  host.answer((await host.next()).id, { text: "x".repeat(1001) });
  const { id, error } = await one.next();
  assert.equal(id, 1);
  assert.equal(error.data.kind, "message_too_large");
});
