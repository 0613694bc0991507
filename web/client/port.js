// What carries messages. A WebSocket is one; a browser's native-messaging port has almost this shape.

/**
 * An open way to the host. One message is one JSON document, given and taken as a value.
 *
 * @typedef {object} Port
 * @property {(message: object) => void} send
 * @property {() => void} close  `onclose` is not called for it
 * @property {((message: any) => void) | null} onmessage
 * @property {((reason: string) => void) | null} onclose
 */

/**
 * Opens a port, or rejects. An aborted signal ends the attempt.
 *
 * @typedef {(signal: AbortSignal) => Promise<Port>} PortOpener
 */

export {};
