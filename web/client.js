// The one JavaScript client of the host: what the chat page and the browser extension import.

export { Client } from "./client/client.js";
export { HostError } from "./client/errors.js";
export { extensionPort } from "./client/extension_port.js";
export { nativePort } from "./client/native_port.js";
export { signRequest } from "./client/secret.js";
export { webSocketPort } from "./client/websocket_port.js";
