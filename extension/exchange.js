// One connection to the host for all pages of the extension: each page has numbers of its own for its requests, and
// keeps what it needs to go on after the background was put to sleep. Nothing here must outlive the background.

import { PROTOCOL_VERSION } from "./client/client.js";
import { Connection } from "./client/connection.js";
import { connectionLost, HostError } from "./client/errors.js";

/** @typedef {import("./client/port.js").PortOpener} PortOpener */
/** @typedef {import("./client/extension_port.js").Word} Word */
/** @typedef {import("./client/protocol.d.ts").InitializeResult} InitializeResult */
/** @typedef {{connection: Connection, greeting: InitializeResult}} Host */
/**
 * What a page is here. `running` has the requests that it waits for, by its own numbers.
 * @typedef {{link: chrome.runtime.Port, running: Map<number, AbortController>}} Page
 */

/** So long the host stays when the last page has gone: a page that is loaded anew finds it again. */
const LINGER_MS = 500;
/** A host that says nothing for so long after it was started will not any more. */
const SILENT_MS = 60_000;

const TOO_LONG = new HostError("message_too_large", "The answer is too long for the browser to carry it to this page.");

export class Exchange {
  #open;
  #name;
  /** @type {Set<Page>} */
  #pages = new Set();
  /** @type {Promise<Host> | null} */
  #host = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #leaving;

  /**
   * @param {PortOpener} open
   * @param {{name: string, version: string}} name  what the host is told of the extension
   */
  constructor(open, name) {
    this.#open = open;
    this.#name = name;
  }

  /**
   * A page has come. It is told when the host is there, or why it is not.
   * @param {chrome.runtime.Port} link
   */
  async join(link) {
    /** @type {Page} */
    const page = { link, running: new Map() };
    this.#pages.add(page);
    clearTimeout(this.#leaving);
    link.onDisconnect.addListener(() => this.#leave(page));
    try {
      const host = await (this.#host ??= this.#connect());
      link.onMessage.addListener((message) => void this.#take(host, page, message));
      say(page, { ready: true });
    } catch (error) {
      this.#dismiss(page, error);
    }
  }

  /** @returns {Promise<Host>} */
  async #connect() {
    let silent = false;
    const connection = new Connection(await this.#open(new AbortController().signal));
    const giveUp = setTimeout(() => {
      silent = true;
      connection.close();
    }, SILENT_MS);
    try {
      const params = { protocol_version: PROTOCOL_VERSION, client: this.#name };
      const greeting = await connection.request("initialize", params);
      void connection.closed.then(() => this.#lost());
      return { connection, greeting };
    } catch (error) {
      this.#host = null;
      connection.close(); // one that will not shake hands is of no use
      throw silent ? new HostError("host_silent", "native-host was started, and says nothing.") : error;
    } finally {
      clearTimeout(giveUp);
    }
  }

  /** The connection is no more. Pages come back when they want another. */
  #lost() {
    this.#host = null;
    for (const page of this.#pages) this.#dismiss(page, null);
  }

  /** @param {Page} page */
  #leave(page) {
    if (!this.#pages.delete(page)) return;
    for (const stop of page.running.values()) stop.abort();
    if (this.#pages.size === 0) this.#leaving = setTimeout(() => void this.#hangUp(), LINGER_MS);
  }

  async #hangUp() {
    const host = await this.#host?.catch(() => null);
    if (this.#pages.size === 0) host?.connection.close();
  }

  /**
   * @param {Page} page
   * @param {unknown} error  null where the page must find out for itself
   */
  #dismiss(page, error) {
    if (error) {
      const { kind, message, data } = error instanceof HostError ? error : connectionLost();
      say(page, { failed: { kind, message, data } });
    }
    this.#leave(page);
    page.link.disconnect();
  }

  /**
   * @param {Host} host
   * @param {Page} page
   * @param {any} message
   */
  async #take({ connection, greeting }, page, { id, method, params }) {
    if (method === "$/cancelRequest") page.running.get(params.id)?.abort();
    else if (id === undefined) connection.notify(method, params);
    else if (method === "initialize") say(page, { jsonrpc: "2.0", id, result: greeting });
    else {
      const answer = await this.#ask(connection, page, id, method, params);
      if (method === "authenticate" && answer.result) greeting.auth.required = false; // it holds for all pages
      if (answer.error?.data.kind === "connection_lost") return; // the page sees that for itself
      if (!say(page, { jsonrpc: "2.0", id, ...answer })) say(page, { jsonrpc: "2.0", id, error: wire(TOO_LONG) });
    }
  }

  /**
   * @param {Connection} connection
   * @param {Page} page
   * @param {number} id
   * @param {string} method
   * @param {object} params
   * @returns {Promise<{result?: unknown, error?: ReturnType<typeof wire>}>}
   */
  async #ask(connection, page, id, method, params) {
    const stop = new AbortController();
    page.running.set(id, stop);
    const tell = (/** @type {string} */ method) => (/** @type {object} */ told) =>
      say(page, { jsonrpc: "2.0", method, params: { ...told, id } });
    const listeners = { signal: stop.signal, onPiece: tell("$/stream"), onProgress: tell("$/progress") };
    try {
      return { result: await connection.request(method, params, listeners) };
    } catch (error) {
      return { error: wire(error) };
    } finally {
      page.running.delete(id);
    }
  }
}

/**
 * @param {Page} page
 * @param {Word | object} message
 */
function say(page, message) {
  try {
    page.link.postMessage(message);
    return true;
  } catch {
    return false; // too long for the browser; or the page has gone, and its requests are cancelled in a moment
  }
}

/** @param {unknown} thrown */
function wire(thrown) {
  const error = thrown instanceof HostError ? thrown : new HostError("internal_error", String(thrown));
  return { code: error.code, message: error.message, data: { ...error.data, kind: error.kind } };
}
