// What carries messages: a WebSocket, or the ports that a browser gives its extensions.

/** @typedef {import("./errors.js").HostError} HostError */

/**
 * An open way to the host. One message is one JSON document, given and taken as a value.
 *
 * @typedef {object} Port
 * @property {(message: object) => void} send
 * @property {() => void} close  `onclose` is not called for it
 * @property {((message: any) => void) | null} onmessage
 * @property {((failure: HostError | null) => void) | null} onclose  the failure says why, where that is known
 */

/**
 * Opens a port, or rejects. An aborted signal ends the attempt.
 *
 * @typedef {(signal: AbortSignal) => Promise<Port>} PortOpener
 */

export {};
