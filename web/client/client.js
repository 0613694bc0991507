// A client that stays connected: it opens a port, shakes hands, and does so again when the connection breaks off.

import { delayMs, pause } from "./backoff.js";
import { Connection } from "./connection.js";
import { cancelled, connectionLost, HostError } from "./errors.js";
import { authenticateBySecret } from "./secret.js";
import { Stream } from "./stream.js";

/** @typedef {import("./port.js").PortOpener} PortOpener */
/** @typedef {import("./protocol.d.ts").Methods} Methods */
/** @typedef {import("./protocol.d.ts").InitializeResult} InitializeResult */
/** @typedef {import("./connection.js").Progress} Progress */

/**
 * `connecting`; `authenticating` while `credentials` is asked; `open`; `waiting` before the next attempt; `locked`
 * where no credentials were given; `refused` by a host of another protocol version, or of one that did not prove that
 * it knows the secret; `closed`. The last three last until `reconnect`.
 *
 * @typedef {"connecting" | "authenticating" | "open" | "waiting" | "locked" | "refused" | "closed"} State
 */

/**
 * An API key, which is sent, or the secret that is shared with the host, which is not.
 *
 * @typedef {{api_key: string} | {secret: import("./secret.js").Secret}} Credentials
 */

/**
 * @typedef {object} Options
 * @property {{name: string, version: string}} client  who calls, for the host's log
 * @property {(failure: HostError | null) => Promise<Credentials | null>} [credentials]  asked where the host
 *   wants some; `failure` says why the last ones were no good; null gives up
 * @property {(failures: number) => number} [delay]  milliseconds before the next attempt
 */

/**
 * `repeat`: where the host lost the answer (it was started anew, or kept nothing), ask the same once more, with the
 * same seed, so that the same answer comes; what was given is not given again. For chats without a session, whose
 * repetition has no other effect.
 *
 * @typedef {CallOptions & {repeat?: boolean}} StreamOptions
 */

/**
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal]  cancels the request
 * @property {(progress: Progress) => void} [onProgress]  loads, pulls, conversions
 */

export const PROTOCOL_VERSION = "1";
/** A host that falls over the same request again and again is not asked for ever. */
const MOST_REPEATS = 5;
const SEED_BITS = 53;
const OVER = new Set(["locked", "refused", "closed"]);
const USELESS = ["unsupported_protocol", "host_unproven", "unsupported"];

/** Tells each change of `state` by an event of that name. */
export class Client extends EventTarget {
  /** @type {State} */
  state = "connecting";
  /** Why it is not open. @type {HostError | null} */
  problem = null;
  /** What the host said of itself. @type {InitializeResult | null} */
  host = null;
  #open;
  #options;
  /** @type {Connection | null} */
  #connection = null;
  #hurry = new AbortController();

  /**
   * @param {PortOpener} open
   * @param {Options} options
   */
  constructor(open, options) {
    super();
    if (options.credentials && typeof options.credentials !== "function") {
      throw new TypeError("credentials is a function that gives {api_key} or {secret}");
    }
    this.#open = open;
    this.#options = options;
    void this.#run();
  }

  /**
   * One request and its result. Before there is a connection it waits for one.
   *
   * @template {keyof Methods} M
   * @param {M} method
   * @param {Methods[M]["params"]} params
   * @param {CallOptions} [options]
   * @returns {Promise<Methods[M]["result"]>}
   */
  async call(method, params, options = {}) {
    const connection = await this.#connected(options.signal);
    return connection.request(method, params, options);
  }

  /**
   * One request whose answer comes piece by piece. If the connection breaks off and the host kept the stream, it goes
   * on after the reconnection, with nothing lost and nothing twice.
   *
   * @template {"chat" | "generate"} M
   * @param {M} method
   * @param {Methods[M]["params"]} params
   * @param {StreamOptions} [options]
   * @returns {Stream<Methods[M]["result"]>}
   */
  stream(method, params, options = {}) {
    const stop = new AbortController();
    const signal = options.signal ? anyOf(options.signal, stop) : stop.signal;
    const seed = options.repeat ? { seed: randomSeed() } : {};
    return new Stream(
      (stream) => this.#streamed(method, { ...seed, ...params, stream: true }, stream, { ...options, signal }),
      () => stop.abort(),
    );
  }

  /** Try now, whatever is waited for. */
  reconnect() {
    if (OVER.has(this.state)) void this.#run();
    else this.#hurry.abort();
  }

  /** End the connection for good; what is under way fails. */
  close() {
    this.#become("closed");
    this.#hurry.abort();
    this.#connection?.close();
  }

  /**
   * @param {string} method
   * @param {object} params
   * @param {Stream<any>} stream
   * @param {StreamOptions} options
   */
  async #streamed(method, params, stream, { repeat = false, ...options }) {
    const listening = { ...options, onPiece: stream.take.bind(stream) };
    const ask = (/** @type {Connection} */ connection) => {
      const resumable = this.#can("streams.resume") ? { resumable: true } : {};
      return connection.request(method, { ...params, ...resumable }, listening);
    };
    let connection = await this.#connected(options.signal);
    let answer = ask(connection);
    for (let repeats = 0; ; ) {
      try {
        return await answer;
      } catch (error) {
        const kept = error instanceof HostError && error.kind === "connection_lost" ? stream.resumeId : null;
        if (!isLoss(error) || (!kept && (!repeat || repeats === MOST_REPEATS))) throw error;
        if (error.kind === "shutting_down") await orAborted(connection.closed, options.signal);
        connection = await this.#connected(options.signal);
        if (kept && this.#can("streams.resume")) {
          answer = connection.request("streams.resume", { stream: kept, from_seq: stream.next }, listening);
        } else if (repeat) {
          repeats += 1;
          stream.repeat();
          answer = ask(connection);
        } else throw error;
      }
    }
  }

  /** @param {string} method */
  #can(method) {
    return this.host?.capabilities.methods.includes(method) ?? false;
  }

  /**
   * @param {AbortSignal | undefined} signal
   * @returns {Promise<Connection>}
   */
  #connected(signal) {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.removeEventListener("state", look);
        signal?.removeEventListener("abort", look);
      };
      const look = () => {
        if (signal?.aborted) reject(cancelled());
        else if (this.state === "open" && this.#connection) resolve(this.#connection);
        else if (OVER.has(this.state)) reject(this.problem ?? connectionLost());
        else return;
        done();
      };
      this.addEventListener("state", look);
      signal?.addEventListener("abort", look);
      look();
    });
  }

  async #run() {
    this.#become("connecting");
    for (let failures = 0; !OVER.has(this.state); ) {
      this.#hurry = new AbortController();
      try {
        await this.#connect(() => (failures = 0));
        failures += 1;
      } catch (error) {
        failures += 1;
        if (this.#gaveUp(error)) return;
      }
      if (this.state === "closed") return;
      this.#become("waiting");
      await pause((this.#options.delay ?? delayMs)(failures), this.#hurry.signal);
      if (!OVER.has(this.state)) this.#become("connecting");
    }
  }

  /**
   * Opens a connection and stays until it breaks off.
   * @param {() => void} onOpen
   */
  async #connect(onOpen) {
    const connection = new Connection(await this.#open(this.#hurry.signal));
    this.#connection = connection;
    try {
      if (this.state === "closed") return;
      await this.#shakeHands(connection);
      onOpen();
      this.problem = null;
      this.#become("open");
      this.problem = (await connection.closed) ?? connectionLost();
    } finally {
      this.#connection = null;
      connection.close();
    }
  }

  /** @param {Connection} connection */
  async #shakeHands(connection) {
    this.host = await connection.request("initialize", {
      protocol_version: PROTOCOL_VERSION,
      client: this.#options.client,
    });
    if (!this.host?.auth.required) return;
    this.#become("authenticating");
    let nonce = this.host.auth.nonce ?? "";
    for (let failure = this.problem?.kind === "unauthenticated" ? this.problem : null; ; ) {
      const given = (await this.#options.credentials?.(failure)) ?? null;
      if (!given) throw new HostError("locked", "The host wants an API key.");
      try {
        if ("secret" in given) return await authenticateBySecret(connection, given.secret, nonce);
        return await connection.request("authenticate", given);
      } catch (error) {
        if (!(error instanceof HostError) || error.kind !== "unauthenticated") throw error;
        this.problem = failure = error;
        nonce = String(error.data.nonce ?? "");
      }
    }
  }

  /**
   * Whether another attempt is of no use.
   * @param {unknown} error
   */
  #gaveUp(error) {
    const problem = error instanceof HostError ? error : connectionLost();
    const repeated = problem.kind === "connection_lost" && this.problem?.kind === "unauthenticated";
    if (!repeated) this.problem = problem;
    if (problem.kind === "locked") this.#become("locked");
    else if (USELESS.includes(problem.kind)) this.#become("refused");
    return OVER.has(this.state);
  }

  /** @param {State} state */
  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

/**
 * @param {AbortSignal} outer
 * @param {AbortController} own
 */
function anyOf(outer, own) {
  if (outer.aborted) own.abort();
  else outer.addEventListener("abort", () => own.abort(), { once: true, signal: own.signal });
  return own.signal;
}

/**
 * Whether the answer may be had by taking it up again, or by asking anew.
 * @param {unknown} error
 * @returns {error is HostError}
 */
const isLoss = (error) =>
  error instanceof HostError && ["connection_lost", "stream_not_found", "shutting_down"].includes(error.kind);

/** @param {Promise<unknown>} event @param {AbortSignal | undefined} signal */
const orAborted = (event, signal) =>
  Promise.race([event, new Promise((resolve) => signal?.addEventListener("abort", resolve, { once: true }))]);

/** A number that JSON carries exactly. */
function randomSeed() {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** (SEED_BITS - 32)) * 2 ** 32 + low;
}
