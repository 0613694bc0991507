// The port by which a browser's extension speaks with the host that the browser starts for it.

import { HostError, notSent } from "./errors.js";

/** @typedef {import("./port.js").Port} Port */
/** @typedef {import("./port.js").PortOpener} PortOpener */

export const HOST_NAME = "com.tabagent.host";

/**
 * What browsers say when there is no connection, and what it means here. Chromium's words, then Firefox's.
 * @type {[RegExp, string, string][]}
 */
const REASONS = [
  // Firefox says the same of one that does not let this extension start it.
  [/messaging host not found|No such native application/, "host_not_installed", "The browser knows no native-host."],
  [/is forbidden|does not have permission/, "host_forbidden", "native-host does not let this extension start it."],
  [/Failed to start|An unexpected error occurred/, "host_not_started", "The browser could not start native-host."],
  [/Error when communicating|exceeds the limit of/, "host_not_understood", "What the browser started does not speak as native-host does."],
];

/**
 * Opens a port of its own, and with it a process. It is open at once; where the host cannot be had, it closes with one
 * of `host_not_installed`, `host_forbidden`, `host_not_started`, `host_not_understood`, `host_ended` (at once, without
 * a word). Once the host has spoken, it closes without a reason.
 *
 * @param {string} [name]  of the host's manifest
 * @returns {PortOpener}
 */
export function nativePort(name = HOST_NAME) {
  return async () => {
    const native = chrome.runtime.connectNative(name);
    let spoken = false;
    /** @type {Port} */
    const port = {
      send: (message) => {
        try {
          native.postMessage(message);
        } catch (error) {
          throw notSent(error);
        }
      },
      close: () => native.disconnect(),
      onmessage: null,
      onclose: null,
    };
    native.onMessage.addListener((message) => {
      spoken = true;
      port.onmessage?.(message);
    });
    native.onDisconnect.addListener(() => {
      const said = reasonOf(native);
      port.onclose?.(spoken ? null : failureOf(said));
    });
    return port;
  };
}

/** @param {chrome.runtime.Port & {error?: {message: string}}} native  Firefox says it at the port */
const reasonOf = (native) => chrome.runtime.lastError?.message ?? native.error?.message ?? "";

/** @param {string} said */
function failureOf(said) {
  for (const [pattern, kind, message] of REASONS) {
    if (pattern.test(said)) return new HostError(kind, message, { said });
  }
  return new HostError("host_ended", "native-host ended as soon as it was started.", { said });
}
