import assert from "node:assert/strict";
import { test } from "node:test";

import { delayMs } from "../../web/client/backoff.js";
import { Client, HostError } from "../../web/client.js";
import { ToyNetwork } from "./toy_port.mjs";

const NAME = { name: "test", version: "1" };
const MESSAGES = { messages: [{ role: /** @type {const} */ ("user"), content: "Hello" }] };

/** @param {string} kind */
const kind = (kind) => (/** @type {unknown} */ error) => error instanceof HostError && error.kind === kind;

/**
 * @param {ToyNetwork} network
 * @param {Partial<import("../../web/client/client.js").Options>} [options]
 */
const clientOf = (network, options = {}) => new Client(network.open, { client: NAME, delay: () => 0, ...options });

/**
 * Resolves as soon as the client is in the state.
 * @param {Client} client
 * @param {string} state
 * @returns {Promise<void>}
 */
const become = (client, state) =>
  new Promise((resolve) => {
    const look = () => {
      if (client.state !== state) return;
      client.removeEventListener("state", look);
      resolve();
    };
    client.addEventListener("state", look);
    look();
  });

/** @param {AsyncIterable<{text: string}>} stream */
async function textOf(stream) {
  let text = "";
  for await (const piece of stream) text += piece.text;
  return text;
}

test("a request made before there is a connection waits for it", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const answer = client.call("ping", {});
  const host = await network.opened();
  const asked = await host.shakeHands();
  assert.deepEqual(asked.params, { protocol_version: "1", client: NAME });
  host.answer((await host.next()).id, { pong: true, uptime_s: 1 });
  assert.deepEqual(await answer, { pong: true, uptime_s: 1 });
  assert.equal(client.state, "open");
  client.close();
  assert(host.closed);
  await assert.rejects(client.call("ping", {}), kind("connection_lost"));
});

test("attempts that fail are repeated, and the wait grows until one succeeds", async () => {
  const network = new ToyNetwork();
  network.down = 3;
  /** @type {number[]} */
  const failures = [];
  const client = clientOf(network, { delay: (count) => (failures.push(count), 0) });
  await (await network.opened()).shakeHands();
  await become(client, "open");
  assert.deepEqual(failures, [1, 2, 3]);
  client.close();
});

test("the wait doubles up to ten seconds, and no two clients wait alike", () => {
  assert.equal(delayMs(1, () => 1), 250);
  assert.equal(delayMs(2, () => 1), 500);
  assert.equal(delayMs(50, () => 1), 10_000);
  assert.equal(delayMs(50, () => 0), 5_000);
});

test("reconnect does not wait", async () => {
  const network = new ToyNetwork();
  network.down = 1;
  const client = clientOf(network, { delay: () => 1e9 });
  await become(client, "waiting");
  client.reconnect();
  await (await network.opened()).shakeHands();
  await become(client, "open");
  client.close();
});

test("an attempt under way ends when the client is closed", async () => {
  /** @type {AbortSignal | undefined} */
  let given;
  const client = new Client(
    (signal) => {
      given = signal;
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("given up"))));
    },
    { client: NAME },
  );
  client.close();
  assert(given?.aborted);
  assert.equal(client.state, "closed");
});

test("a stream gives its pieces in the order of their numbers, each once, then the result", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES);
  const host = await network.opened();
  await host.shakeHands();
  const { id, params } = await host.next();
  assert.deepEqual(params, { ...MESSAGES, stream: true });
  const text = textOf(stream);
  host.piece(id, 1, "b");
  host.piece(id, 0, "a");
  host.piece(id, 0, "a");
  host.piece(id, 2, "c");
  host.answer(id, { message: { content: "abc" } });
  assert.equal(await text, "abc");
  assert.equal((await stream.result).message.content, "abc");
  client.close();
});

test("a stream with a gap is broken", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES);
  const host = await network.opened();
  await host.shakeHands();
  const { id } = await host.next();
  host.piece(id, 0, "a");
  host.piece(id, 2, "c");
  host.answer(id, {});
  await assert.rejects(textOf(stream), kind("broken_stream"));
  client.close();
});

test("leaving a stream cancels it", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES);
  const host = await network.opened();
  await host.shakeHands();
  const { id } = await host.next();
  host.piece(id, 0, "a");
  for await (const piece of stream) {
    assert.equal(piece.text, "a");
    break;
  }
  assert.deepEqual((await host.next()).params, { id });
  host.fail(id, -32800, "cancelled");
  await assert.rejects(stream.result, kind("cancelled"));
  client.close();
});

test("a caller's signal cancels a stream, and one that waits for a connection", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const early = new AbortController();
  const never = client.stream("chat", MESSAGES, { signal: early.signal });
  early.abort();
  await assert.rejects(never.result, kind("cancelled"));

  const late = new AbortController();
  const stream = client.stream("chat", MESSAGES, { signal: late.signal });
  const host = await network.opened();
  await host.shakeHands();
  const { id } = await host.next();
  late.abort();
  assert.deepEqual((await host.next()).params, { id });
  host.fail(id, -32800, "cancelled", { text: "a" });
  await assert.rejects(textOf(stream), kind("cancelled"));
  client.close();
});

test("a stream that the host keeps goes on after the connection broke off", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES);
  const text = textOf(stream);
  const host = await network.opened();
  await host.shakeHands({ methods: ["streams.resume"] });
  const { id, params } = await host.next();
  assert.equal(params.resumable, true);
  host.piece(id, 0, "a", { stream: "the-stream" });
  host.piece(id, 1, "b");
  host.vanish();

  const again = await network.opened();
  await again.shakeHands({ methods: ["streams.resume"] });
  const resumed = await again.next();
  assert.equal(resumed.method, "streams.resume");
  assert.deepEqual(resumed.params, { stream: "the-stream", from_seq: 2 });
  again.piece(resumed.id, 1, "b");
  again.piece(resumed.id, 2, "c");
  again.answer(resumed.id, { message: { content: "abc" } });
  assert.equal(await text, "abc");
  client.close();
});

test("a stream that the host did not keep fails with the connection", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES);
  const host = await network.opened();
  await host.shakeHands();
  const { id, params } = await host.next();
  assert(!("resumable" in params));
  host.piece(id, 0, "a");
  host.vanish();
  await assert.rejects(textOf(stream), kind("connection_lost"));
  client.close();
});

/**
 * The request that a repeated stream sends to its next host.
 * @param {ToyNetwork} network
 * @param {string[]} [methods]
 */
async function askedAnew(network, methods = []) {
  const host = await network.opened();
  await host.shakeHands({ methods });
  return { host, asked: await host.next() };
}

/**
 * What an iteration shows in the end, and how often it began anew.
 * @param {AsyncIterable<import("../../web/client/stream.js").Piece>} stream
 */
async function shown(stream) {
  let [text, reasoning, begun] = ["", "", 0];
  for await (const piece of stream) {
    if (piece.anew) [text, reasoning, begun] = ["", "", begun + 1];
    text += piece.text;
    reasoning += piece.reasoning ?? "";
  }
  return { text, reasoning, begun };
}

test("a lost answer is asked for again with the same seed, and what was given is not given again", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES, { repeat: true });
  const seen = shown(stream);
  const first = await askedAnew(network);
  assert(Number.isSafeInteger(first.asked.params.seed));
  first.host.piece(first.asked.id, 0, "", { reasoning: "hm" });
  first.host.piece(first.asked.id, 1, "one ");
  first.host.piece(first.asked.id, 2, "two ");
  first.host.vanish();

  const second = await askedAnew(network);
  assert.deepEqual(second.asked.params, first.asked.params);
  second.host.piece(second.asked.id, 0, "", { reasoning: "h" });
  second.host.piece(second.asked.id, 1, "", { reasoning: "m" });
  second.host.piece(second.asked.id, 2, "one");
  second.host.vanish();

  const third = await askedAnew(network);
  third.host.piece(third.asked.id, 0, "", { reasoning: "hm" });
  third.host.piece(third.asked.id, 1, "one two three");
  third.host.piece(third.asked.id, 2, " four");
  third.host.answer(third.asked.id, {});
  assert.deepEqual(await seen, { text: "one two three four", reasoning: "hm", begun: 0 });
  client.close();
});

test("a repeated answer that is another one takes the place of the first", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const seen = shown(client.stream("chat", MESSAGES, { repeat: true }));
  const first = await askedAnew(network);
  first.host.piece(first.asked.id, 0, "one two");
  first.host.vanish();
  const second = await askedAnew(network);
  second.host.piece(second.asked.id, 0, "one ");
  second.host.piece(second.asked.id, 1, "three");
  second.host.piece(second.asked.id, 2, " four");
  second.host.answer(second.asked.id, {});
  assert.deepEqual(await seen, { text: "one three four", reasoning: "", begun: 1 });
  client.close();
});

test("a repeated answer that ends earlier takes the place of the first", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const seen = shown(client.stream("chat", MESSAGES, { repeat: true }));
  const first = await askedAnew(network);
  first.host.piece(first.asked.id, 0, "one two");
  first.host.vanish();
  const second = await askedAnew(network);
  second.host.piece(second.asked.id, 0, "one");
  second.host.answer(second.asked.id, {});
  assert.deepEqual(await seen, { text: "one", reasoning: "", begun: 1 });
  client.close();
});

test("a stream that the next host does not know is asked for again", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const seen = shown(client.stream("chat", MESSAGES, { repeat: true }));
  const first = await askedAnew(network, ["streams.resume"]);
  first.host.piece(first.asked.id, 0, "one ", { stream: "the-stream" });
  first.host.vanish();
  const second = await askedAnew(network, ["streams.resume"]);
  assert.deepEqual(second.asked.params, { stream: "the-stream", from_seq: 1 });
  second.host.fail(second.asked.id, -32019, "stream_not_found");
  const asked = await second.host.next();
  assert.deepEqual(asked.params, first.asked.params);
  second.host.piece(asked.id, 0, "one two", { stream: "another" });
  second.host.vanish();
  const third = await askedAnew(network, ["streams.resume"]);
  assert.deepEqual(third.asked.params, { stream: "another", from_seq: 1 });
  third.host.piece(third.asked.id, 1, " three");
  third.host.answer(third.asked.id, {});
  assert.deepEqual(await seen, { text: "one two three", reasoning: "", begun: 0 });
  client.close();
});

test("what a host refuses because it is being stopped is asked of the next one", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const seen = shown(client.stream("chat", MESSAGES, { repeat: true }));
  const first = await askedAnew(network);
  first.host.fail(first.asked.id, -32026, "shutting_down");
  first.host.vanish();
  const second = await askedAnew(network);
  second.host.piece(second.asked.id, 0, "one");
  second.host.answer(second.asked.id, {});
  assert.equal((await seen).text, "one");
  client.close();
});

test("a request that no host survives fails in the end", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const stream = client.stream("chat", MESSAGES, { repeat: true });
  const lost = assert.rejects(stream.result, kind("connection_lost"));
  for (let attempt = 0; attempt < 6; attempt++) (await askedAnew(network)).host.vanish();
  await lost;
  client.close();
});

test("a stream that waits for another host can be stopped", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network, { delay: () => 1e9 });
  const stop = new AbortController();
  const stream = client.stream("chat", MESSAGES, { repeat: true, signal: stop.signal });
  (await askedAnew(network)).host.vanish();
  await become(client, "waiting");
  stop.abort();
  await assert.rejects(stream.result, kind("cancelled"));
  client.close();
});

test("the reason why there is no connection is kept", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network, { delay: () => 1e9 });
  const host = await network.opened();
  host.vanish(new HostError("host_ended", "It ended."));
  await become(client, "waiting");
  assert.equal(client.problem?.kind, "host_ended");
  client.close();
});

const LOCKED = { required: true, schemes: ["api_key"], nonce: "00" };

test("credentials are asked for until they are right", async () => {
  const network = new ToyNetwork();
  const keys = ["wrong", "right"];
  /** @type {(string | undefined)[]} */
  const failures = [];
  const client = clientOf(network, {
    credentials: async (failure) => {
      failures.push(failure?.kind);
      return { api_key: /** @type {string} */ (keys.shift()) };
    },
  });
  const host = await network.opened();
  await host.shakeHands({ auth: LOCKED });
  const wrong = await host.next();
  assert.deepEqual(wrong.params, { api_key: "wrong" });
  host.fail(wrong.id, -32001, "unauthenticated");
  const right = await host.next();
  assert.deepEqual(right.params, { api_key: "right" });
  host.answer(right.id, {});
  await become(client, "open");
  assert.deepEqual(failures, [undefined, "unauthenticated"]);
  client.close();
});

test("the reason is kept when the host hangs up after too many wrong keys", async () => {
  const network = new ToyNetwork();
  /** @type {(string | undefined)[]} */
  const failures = [];
  const client = clientOf(network, {
    credentials: async (failure) => {
      failures.push(failure?.kind);
      return failures.length < 3 ? { api_key: "wrong" } : null;
    },
  });
  const host = await network.opened();
  await host.shakeHands({ auth: LOCKED });
  host.fail((await host.next()).id, -32001, "unauthenticated");
  await host.next();
  host.vanish();
  const again = await network.opened();
  await again.shakeHands({ auth: LOCKED });
  await become(client, "locked");
  assert.deepEqual(failures, [undefined, "unauthenticated", "unauthenticated"]);
  client.close();
});

test("credentials that are no function are refused at once", () => {
  const credentials = /** @type {any} */ ({ api_key: "key" });
  assert.throws(() => clientOf(new ToyNetwork(), { credentials }), TypeError);
});

test("without credentials the client is locked, says so, and tries again when told", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network, { credentials: async () => null });
  const answer = client.call("ping", {});
  await (await network.opened()).shakeHands({ auth: LOCKED });
  await assert.rejects(answer, kind("locked"));
  assert.equal(client.state, "locked");
  client.reconnect();
  await (await network.opened()).shakeHands();
  await become(client, "open");
  client.close();
});

test("a host of another protocol version is not asked again", async () => {
  const network = new ToyNetwork();
  const client = clientOf(network);
  const host = await network.opened();
  host.fail((await host.next()).id, -32004, "unsupported_protocol", { supported: ["2"] });
  await become(client, "refused");
  assert.equal(client.problem?.kind, "unsupported_protocol");
  assert.equal(network.attempts, 1);
});
