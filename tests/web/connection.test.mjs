import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { Connection } from "../../web/client/connection.js";
import { HostError } from "../../web/client/errors.js";
import { ToyHost } from "./toy_port.mjs";

/** @param {string} kind */
const kind = (kind) => (/** @type {unknown} */ error) => error instanceof HostError && error.kind === kind;

test("answers find their requests in any order", async () => {
  const host = new ToyHost();
  const connection = new Connection(host.port);
  const [first, second] = [connection.request("ping", {}), connection.request("health", {})];
  const [asked, other] = [await host.next(), await host.next()];
  assert.deepEqual(asked, { jsonrpc: "2.0", id: asked.id, method: "ping", params: {} });
  assert.notEqual(asked.id, other.id);
  host.answer(other.id, "second");
  host.answer(asked.id, "first");
  assert.deepEqual(await Promise.all([first, second]), ["first", "second"]);
});

test("members of a batch find their requests too", async () => {
  const host = new ToyHost();
  const connection = new Connection(host.port);
  const both = Promise.all([connection.request("ping", {}), connection.request("ping", {})]);
  const [first, second] = [await host.next(), await host.next()];
  host.port.onmessage?.([
    { jsonrpc: "2.0", id: second.id, result: 2 },
    { jsonrpc: "2.0", id: first.id, result: 1 },
  ]);
  assert.deepEqual(await both, [1, 2]);
});

test("an error has its kind, its data and its text", async () => {
  const host = new ToyHost();
  const answer = new Connection(host.port).request("chat", {});
  host.fail((await host.next()).id, -32015, "model_absent", { command: "native-host models pull x" });
  await assert.rejects(answer, (error) => {
    assert(error instanceof HostError);
    assert.equal(error.kind, "model_absent");
    assert.equal(error.code, -32015);
    assert.equal(error.message, "it is model_absent");
    assert.equal(error.data.command, "native-host models pull x");
    return true;
  });
});

test("an error without an id belongs to the request whose frame it names", async () => {
  const host = new ToyHost();
  const connection = new Connection(host.port);
  connection.notify("$/cancelRequest", { id: 99 });
  const first = connection.request("ping", {});
  const second = connection.request("chat", {});
  host.fail(null, -32600, "frame_too_large", { frame: 3 });
  await assert.rejects(second, kind("frame_too_large"));
  await host.next();
  host.answer((await host.next()).id, "pong");
  assert.equal(await first, "pong");
});

test("pieces and progress go to the request that they name", async () => {
  const host = new ToyHost();
  const connection = new Connection(host.port);
  /** @type {string[]} */
  const heard = [];
  const answer = connection.request(
    "chat",
    {},
    {
      onPiece: (piece) => heard.push(piece.text),
      onProgress: (progress) => heard.push(progress.stage),
    },
  );
  const { id } = await host.next();
  host.say({ method: "$/progress", params: { id, stage: "loading", fraction: 0.5, message: "half" } });
  host.piece(id, 0, "one");
  host.piece(id + 1, 0, "somebody else's");
  host.answer(id, null);
  host.piece(id, 1, "too late");
  assert.equal(await answer, null);
  assert.deepEqual(heard, ["loading", "one"]);
});

test("aborting asks the host to cancel, and the answer has the text so far", async () => {
  const host = new ToyHost();
  const stop = new AbortController();
  const answer = new Connection(host.port).request("chat", {}, { signal: stop.signal });
  const { id } = await host.next();
  stop.abort();
  assert.deepEqual(await host.next(), { jsonrpc: "2.0", method: "$/cancelRequest", params: { id } });
  host.fail(id, -32800, "cancelled", { text: "so far" });
  await assert.rejects(answer, (error) => error instanceof HostError && error.data.text === "so far");
});

test("aborting after the answer says nothing to the host", async () => {
  const host = new ToyHost();
  const stop = new AbortController();
  const answer = new Connection(host.port).request("ping", {}, { signal: stop.signal });
  host.answer((await host.next()).id, "pong");
  await answer;
  stop.abort();
  assert.deepEqual(host.sent, []);
});

test("what is under way fails when the connection breaks off, and so does what comes after", async () => {
  const host = new ToyHost();
  const connection = new Connection(host.port);
  const answer = connection.request("ping", {});
  host.vanish();
  await assert.rejects(answer, kind("connection_lost"));
  await connection.closed;
  await assert.rejects(connection.request("ping", {}), kind("connection_lost"));
});

const RESULT = { text: "grüße ".repeat(1000) };

/** @param {number} size */
function chunked(size) {
  const bytes = Buffer.from(JSON.stringify(RESULT));
  const data = [];
  for (let at = 0; at < bytes.length; at += size) data.push(bytes.subarray(at, at + size).toString("base64"));
  return { data, sha256: createHash("sha256").update(bytes).digest("hex") };
}

test("a result in chunks is put together, whatever order they come in", async () => {
  const host = new ToyHost();
  const answer = new Connection(host.port).request("embed", {});
  const { id } = await host.next();
  const { data, sha256 } = chunked(1001);
  assert(data.length > 2);
  for (let index = data.length - 1; index >= 0; index--) {
    host.say({ method: "$/chunk", params: { id, index, of: data.length, data: data[index] } });
  }
  host.answer(id, { chunked: true, chunks: data.length, sha256 });
  assert.deepEqual(await answer, RESULT);
});

for (const fault of ["a missing chunk", "a changed byte"]) {
  test(`${fault} is an error, never another result`, async () => {
    const host = new ToyHost();
    const answer = new Connection(host.port).request("embed", {});
    const { id } = await host.next();
    const { data, sha256 } = chunked(3000);
    if (fault === "a changed byte") data[1] = Buffer.from("x".repeat(3000)).toString("base64");
    data.forEach((part, index) => {
      if (fault === "a missing chunk" && index === 1) return;
      host.say({ method: "$/chunk", params: { id, index, of: data.length, data: part } });
    });
    host.answer(id, { chunked: true, chunks: data.length, sha256 });
    await assert.rejects(answer, kind("broken_result"));
  });
}
