// The one JavaScript client of the host: what the chat page and the browser extension import.

export { Client } from "./client/client.js";
export { HostError } from "./client/errors.js";
export { webSocketPort } from "./client/websocket_port.js";
