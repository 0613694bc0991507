import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { Client, HostError, signRequest } from "../../web/client.js";
import { ToyNetwork } from "./toy_port.mjs";

const SECRET = "the parent's secret";
const NONCE = "0a".repeat(32);
const AUTH = { required: true, schemes: ["hmac-sha256"], nonce: NONCE };

/** @param {string} label @param {string[]} nonces */
const mac = (label, ...nonces) =>
  createHmac("sha256", SECRET)
    .update(Buffer.concat([Buffer.from(label), ...nonces.map((nonce) => Buffer.from(nonce, "hex"))]))
    .digest("hex");

/** @param {() => {secret: string | Uint8Array<ArrayBuffer>}} credentials */
async function begun(credentials) {
  const network = new ToyNetwork();
  const client = new Client(network.open, {
    client: { name: "test", version: "1" },
    delay: () => 0,
    credentials: async () => credentials(),
  });
  const host = await network.opened();
  await host.shakeHands({ auth: AUTH });
  return { client, host, asked: await host.next() };
}

/** @param {Client} client @param {string} state @returns {Promise<void>} */
const become = (client, state) =>
  new Promise((resolve) => {
    const look = () => client.state === state && resolve();
    client.addEventListener("state", look);
    look();
  });

test("both sides prove that they know the secret, and it is not sent", async () => {
  for (const secret of [SECRET, new TextEncoder().encode(SECRET)]) {
    const { client, host, asked } = await begun(() => ({ secret }));
    const { client_nonce, ...rest } = asked.params;
    assert.match(client_nonce, /^[0-9a-f]{64}$/);
    assert.deepEqual(rest, { mac: mac("native-host/1 client", NONCE, client_nonce) });
    host.answer(asked.id, { mac: mac("native-host/1 host", client_nonce, NONCE) });
    await become(client, "open");
    client.close();
  }
});

test("a host that does not know the secret is not spoken to", async () => {
  for (const answer of [{}, { mac: null }, { mac: "00".repeat(32) }, { mac: "no hex" }]) {
    const { client, host, asked } = await begun(() => ({ secret: SECRET }));
    host.answer(asked.id, answer);
    await become(client, "refused");
    assert(client.problem instanceof HostError);
    assert.equal(client.problem.kind, "host_unproven");
    assert(host.closed);
    client.close();
  }
});

test("a refusal brings another nonce, and the next attempt is about that one", async () => {
  const { client, host, asked } = await begun(() => ({ secret: SECRET }));
  const next = "0b".repeat(32);
  host.fail(asked.id, -32001, "unauthenticated", { scheme: "hmac-sha256", nonce: next });
  const again = await host.next();
  const { client_nonce } = again.params;
  assert.equal(again.params.mac, mac("native-host/1 client", next, client_nonce));
  assert.notEqual(client_nonce, asked.params.client_nonce);
  host.answer(again.id, { mac: mac("native-host/1 host", client_nonce, next) });
  await become(client, "open");
  client.close();
});

test("a signature is the one of the worked example", async () => {
  const fixed = { timestamp: 1800000000, nonce: "00112233445566778899aabbccddeeff" };
  const value = await signRequest("an example secret", "POST", "/api/v1/generate", '{"prompt": "hello"}', fixed);
  assert.equal(
    value,
    "NH-HMAC-SHA256 timestamp=1800000000, nonce=00112233445566778899aabbccddeeff, " +
      "signature=4b7287dcd6e81fb5063fc538a529392861a27bfa784e566919dfb442d3de2e92",
  );
});

test("no two signatures are alike", async () => {
  const [one, two] = await Promise.all([1, 2].map(() => signRequest(SECRET, "GET", "/v1/models")));
  assert.notEqual(one, two);
});
