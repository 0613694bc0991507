// What the shared secret proves: who calls, for a connection or for one HTTP request. The secret itself is not sent.

import { HostError } from "./errors.js";

/** @typedef {string | Uint8Array<ArrayBuffer>} Secret */
/** @typedef {import("./connection.js").Connection} Connection */

const CLIENT_LABEL = "native-host/1 client";
const HOST_LABEL = "native-host/1 host";
const REQUEST_LABEL = "native-host/1 request";
const SCHEME = "NH-HMAC-SHA256";
const NONCE_BYTES = 32;

/**
 * Prove that this side knows the secret, and see that the host does. `nonce` is the host's, in hex.
 *
 * Throws `host_unproven`, and what the host answers.
 *
 * @param {Connection} connection
 * @param {Secret} secret
 * @param {string} nonce
 */
export async function authenticateBySecret(connection, secret, nonce) {
  const key = await keyOf(secret);
  const [theirs, ours] = [ofHex(nonce), crypto.getRandomValues(new Uint8Array(NONCE_BYTES))];
  const mac = hex(await crypto.subtle.sign("HMAC", key, joined(bytesOf(CLIENT_LABEL), theirs, ours)));
  const answer = await connection.request("authenticate", { client_nonce: hex(ours), mac });
  const proof = ofHex(typeof answer?.mac === "string" ? answer.mac : "");
  if (!(await crypto.subtle.verify("HMAC", key, proof, joined(bytesOf(HOST_LABEL), ours, theirs)))) {
    throw new HostError("host_unproven", "The host did not prove that it knows the secret.");
  }
}

/**
 * The value of `Authorization` for one HTTP request.
 *
 * @param {Secret} secret
 * @param {string} method  such as `POST`
 * @param {string} target  the path with its query, as it is sent
 * @param {Secret} [body]
 * @param {{timestamp?: number, nonce?: string}} [fixed]  for tests: seconds since 1970, and hex
 */
export async function signRequest(secret, method, target, body = "", fixed = {}) {
  const timestamp = fixed.timestamp ?? Math.floor(Date.now() / 1000);
  const nonce = fixed.nonce ?? hex(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  const key = await keyOf(secret);
  const digest = hex(await crypto.subtle.digest("SHA-256", bytesOf(body)));
  const lines = [REQUEST_LABEL, timestamp, nonce, method, target, digest].join("\n");
  const signature = hex(await crypto.subtle.sign("HMAC", key, bytesOf(lines)));
  return `${SCHEME} timestamp=${timestamp}, nonce=${nonce}, signature=${signature}`;
}

/** @param {Secret} secret */
function keyOf(secret) {
  if (!globalThis.crypto?.subtle) {
    throw new HostError("unsupported", "A browser computes signatures only on pages of https or of this machine.");
  }
  if (bytesOf(secret).length === 0) throw new HostError("unsupported", "The secret is empty.");
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return crypto.subtle.importKey("raw", bytesOf(secret), algorithm, false, ["sign", "verify"]);
}

/** @param {Secret} value */
const bytesOf = (value) => (typeof value === "string" ? new TextEncoder().encode(value) : value);

/** @param {Uint8Array<ArrayBuffer>[]} parts */
const joined = (...parts) => new Uint8Array(parts.flatMap((part) => [...part]));

/** @param {ArrayBuffer | Uint8Array} bytes */
const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {string} text */
const ofHex = (text) => new Uint8Array((text.match(/../g) ?? []).map((digits) => parseInt(digits, 16)));
