// The host's WebSocket: one text message is one JSON document.

import { HostError } from "./errors.js";

/** @typedef {import("./port.js").Port} Port */
/** @typedef {import("./port.js").PortOpener} PortOpener */

/**
 * @param {string | URL} url
 * @returns {PortOpener}
 */
export function webSocketPort(url) {
  return (signal) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const giveUp = () => {
        socket.close();
        reject(new HostError("connection_lost", "The attempt to connect was given up."));
      };
      if (signal.aborted) return giveUp();
      signal.addEventListener("abort", giveUp, { once: true });
      socket.onopen = () => {
        signal.removeEventListener("abort", giveUp);
        resolve(portOf(socket));
      };
      // The event that says why is kept from scripts; only that it failed can be told.
      socket.onclose = () => reject(new HostError("connection_lost", "The host cannot be reached."));
    });
}

/**
 * @param {WebSocket} socket
 * @returns {Port}
 */
function portOf(socket) {
  /** @type {Port} */
  const port = {
    send: (message) => socket.send(JSON.stringify(message)),
    close: () => {
      socket.onclose = null;
      socket.close();
    },
    onmessage: null,
    onclose: null,
  };
  socket.onmessage = (event) => port.onmessage?.(JSON.parse(event.data));
  socket.onclose = () => port.onclose?.(null);
  return port;
}
