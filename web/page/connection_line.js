// The line that says why there is no connection, and the way out. Nothing while there is one.

import { copyButton } from "./clipboard.js";
import { element, found } from "./dom.js";

const START = "native-host serve --http 127.0.0.1:8089";

/** @param {import("../client/client.js").Client} client */
export function showServer(client) {
  const line = found("connection", HTMLElement);
  line.dataset.state = client.state;
  const again = () => button("Try now", () => client.reconnect());
  if (client.state === "locked") line.replaceChildren("This host wants an API key. ", button("Enter one", () => client.reconnect()));
  else if (client.state === "refused") line.replaceChildren(client.problem?.message ?? "", " ", again());
  else if (client.state === "waiting" && !line.childElementCount) line.replaceChildren(...unreachable(), again());
  else if (client.state === "open" || client.state === "authenticating") line.replaceChildren();
}

/** It stays as it is while attempts go on, or it would be read aloud at each. */
const unreachable = () => [
  element("span", {}, "The host cannot be reached; trying again. Is it running?"),
  element("span", { class: "command" }, element("code", {}, START), copyButton(() => START, "Copy the command")),
];

/**
 * @param {string} text
 * @param {() => void} onPress
 */
const button = (text, onPress) =>
  element("button", { type: "button", class: "plain-button", onclick: onPress }, text);
