// What a request can fail with.

/**
 * An error of the host's catalogue, or one that only this side can see: `connection_lost`, `broken_stream`,
 * `broken_result`, `message_too_large`, and those of `native_port.js`.
 *
 * `kind` is the name to decide by. `data` has what goes with it, such as `command` of a model that is absent.
 */
export class HostError extends Error {
  /**
   * @param {string} kind
   * @param {string} message
   * @param {Record<string, unknown>} [data]
   * @param {number | null} [code]  JSON-RPC's code; null for an error of this side
   */
  constructor(kind, message, data = {}, code = null) {
    super(message);
    this.name = "HostError";
    this.kind = kind;
    this.data = data;
    this.code = code;
  }

  /**
   * The error member of an answer.
   * @param {unknown} error
   */
  static fromWire(error) {
    const { code, message, data } = /** @type {{code?: number, message?: string, data?: any}} */ (error ?? {});
    const details = data !== null && typeof data === "object" ? data : {};
    return new HostError(details.kind ?? "internal_error", message ?? "The host gave no reason.", details, code ?? null);
  }
}

export const connectionLost = () =>
  new HostError("connection_lost", "The connection to the host broke off before the answer was complete.");

/**
 * What a browser's port said when it would not take a message: it was too long, or the port has been closed.
 * @param {unknown} cause
 */
export function notSent(cause) {
  const said = cause instanceof Error ? cause.message : String(cause);
  return /exceed/i.test(said) ? new HostError("message_too_large", `The browser would not carry the request: ${said}`) : connectionLost();
}

/** @param {string} [message] */
export const cancelled = (message = "The request was cancelled.") => new HostError("cancelled", message);
