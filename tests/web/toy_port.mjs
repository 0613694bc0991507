// A port whose other end is the test: what the client sends can be awaited, and answered by hand.

/** @typedef {import("../../web/client/port.js").Port} Port */

/** What the other end of one port sees and says. */
export class ToyHost {
  /** @type {any[]} */
  sent = [];
  /** @type {((message: any) => void)[]} */
  #waiting = [];
  /** @type {Port} */
  port = {
    send: (message) => {
      const copy = JSON.parse(JSON.stringify(message));
      const waiter = this.#waiting.shift();
      if (waiter) waiter(copy);
      else this.sent.push(copy);
    },
    close: () => {
      this.closed = true;
    },
    onmessage: null,
    onclose: null,
  };
  closed = false;

  /** The next message of the client. @returns {Promise<any>} */
  next() {
    const ready = this.sent.shift();
    return ready ? Promise.resolve(ready) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** @param {object} message */
  say(message) {
    this.port.onmessage?.({ jsonrpc: "2.0", ...message });
  }

  /**
   * @param {number} id
   * @param {unknown} result
   */
  answer(id, result) {
    this.say({ id, result });
  }

  /**
   * @param {number | null} id
   * @param {number} code
   * @param {string} kind
   * @param {object} [data]
   */
  fail(id, code, kind, data = {}) {
    this.say({ id, error: { code, message: `it is ${kind}`, data: { kind, ...data } } });
  }

  /**
   * @param {number} id
   * @param {number} seq
   * @param {string} text
   * @param {object} [more]
   */
  piece(id, seq, text, more = {}) {
    this.say({ method: "$/stream", params: { id, seq, text, ...more } });
  }

  /**
   * The connection breaks off.
   * @param {import("../../web/client/errors.js").HostError | null} [failure]
   */
  vanish(failure = null) {
    this.port.onclose?.(failure);
  }

  /**
   * Answer `initialize`.
   * @param {{methods?: string[], auth?: object}} [told]
   */
  async shakeHands({ methods = [], auth = { required: false, schemes: [] } } = {}) {
    const asked = await this.next();
    this.answer(asked.id, {
      protocol_version: "1",
      server: { name: "native-host", version: "0", pid: 1 },
      capabilities: { methods, notifications: [] },
      limits: { max_frame_in: 1, max_frame_out: 1, max_batch: 1 },
      auth,
    });
    return asked;
  }
}

/** Opens a new ToyHost each time; `opened()` is the next one. */
export class ToyNetwork {
  /** Attempts that fail before one succeeds. */
  down = 0;
  attempts = 0;
  /** @type {ToyHost[]} */
  #hosts = [];
  /** @type {((host: ToyHost) => void)[]} */
  #waiting = [];

  /** @type {import("../../web/client/port.js").PortOpener} */
  open = async () => {
    this.attempts += 1;
    if (this.down-- > 0) throw new Error("down");
    const host = new ToyHost();
    const waiter = this.#waiting.shift();
    if (waiter) waiter(host);
    else this.#hosts.push(host);
    return host.port;
  };

  /** @returns {Promise<ToyHost>} */
  opened() {
    const ready = this.#hosts.shift();
    return ready ? Promise.resolve(ready) : new Promise((resolve) => this.#waiting.push(resolve));
  }
}
