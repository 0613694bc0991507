// The port by which the pages of a browser's extension share the one connection that its background has
// (`extension/exchange.js` is the other end).

import { connectionLost, HostError, notSent } from "./errors.js";

/** @typedef {import("./port.js").Port} Port */
/** @typedef {import("./port.js").PortOpener} PortOpener */
/** @typedef {{kind: string, message: string, data: Record<string, unknown>}} Failure */
/**
 * What the background says beside the host's messages: that the host is there, or why it is not.
 * @typedef {{ready: true} | {failed: Failure}} Word
 */

/** @returns {PortOpener} */
export function extensionPort() {
  return (signal) =>
    new Promise((resolve, reject) => {
      const link = chrome.runtime.connect();
      const giveUp = () => {
        link.disconnect();
        reject(connectionLost());
      };
      if (signal.aborted) return giveUp();
      signal.addEventListener("abort", giveUp, { once: true });
      /** @type {Port | null} */
      let port = null;
      link.onMessage.addListener((/** @type {any} */ message) => {
        if (port) port.onmessage?.(message);
        else if (message.ready) {
          signal.removeEventListener("abort", giveUp);
          resolve((port = portOf(link)));
        } else if (message.failed) reject(failureOf(message.failed));
      });
      link.onDisconnect.addListener(() => {
        void chrome.runtime.lastError; // the browser would report one that nobody looks at
        signal.removeEventListener("abort", giveUp);
        reject(connectionLost());
        port?.onclose?.(null);
      });
    });
}

/**
 * @param {chrome.runtime.Port} link
 * @returns {Port}
 */
const portOf = (link) => ({
  send: (message) => {
    try {
      link.postMessage(message);
    } catch (error) {
      throw notSent(error);
    }
  },
  close: () => link.disconnect(),
  onmessage: null,
  onclose: null,
});

/** @param {Failure} failed */
const failureOf = ({ kind, message, data }) => new HostError(kind, message, data);
