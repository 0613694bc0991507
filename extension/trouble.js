// Where the host cannot be had: what is the matter, and how to put it right.

import { announce } from "./page/announcer.js";
import { copyButton } from "./page/clipboard.js";
import { element, found } from "./page/dom.js";

/** @typedef {import("./client/client.js").Client} Client */
/** @typedef {import("./client/errors.js").HostError} HostError */
/** @typedef {{title: string, text: string, steps: Step[]}} Trouble */
/** @typedef {{text: string, command?: string}} Step */

const AGAIN = { text: "This page finds it by itself a few seconds later." };

/** @type {Record<string, (problem: HostError) => Trouble>} */
const TROUBLES = {
  host_not_installed: () => ({
    title: "One step is missing",
    text: "This extension talks to native-host, a program on this machine that runs the models. The browser does not know it yet, or does not find it where it was, or native-host was not told of this extension.",
    steps: [
      { text: "If it is not on this machine, install it:", command: "pip install native-host" },
      { text: "Make it known to this browser:", command: installCommand() },
      AGAIN,
    ],
  }),
  host_forbidden: () => ({
    title: "native-host does not know this extension",
    text: "It is installed, and lets only those extensions start it that it was told of.",
    steps: [
      { text: "Name this one. If you use others, add an --extension-id for each:", command: installCommand() },
      AGAIN,
    ],
  }),
  host_not_started: () => ({
    title: "The browser could not start native-host",
    text: "It is not where it was when it was made known to this browser, or may not be executed.",
    steps: [{ text: "Make it known anew:", command: installCommand() }, AGAIN],
  }),
  host_ended: () => ({
    title: "native-host ended as soon as it was started",
    text: "Something keeps it from working.",
    steps: [{ text: "This says what, and the way out:", command: "native-host doctor" }, AGAIN],
  }),
  host_not_understood: () => ({
    title: "The browser does not understand what it started",
    text: "Something else answers in the place of native-host, or another program writes into its output.",
    steps: [
      { text: "This looks at what browsers start:", command: "native-host doctor" },
      { text: "This puts it right:", command: installCommand() },
      AGAIN,
    ],
  }),
  host_silent: () => ({
    title: "native-host says nothing",
    text: "It was started a minute ago and has not answered.",
    steps: [{ text: "This says what keeps it:", command: "native-host doctor" }, AGAIN],
  }),
  unsupported_protocol: ({ message }) => ({
    title: "Extension and native-host do not fit together",
    text: message,
    steps: [
      { text: "To update native-host:", command: "pip install --upgrade native-host" },
      { text: "The browser updates extensions by itself; its page of extensions does it at once." },
    ],
  }),
};

/**
 * Shows what keeps the page from the host, in place of the conversation's beginning; takes it away when there is a
 * connection. Attempts that fail alike change nothing, or it would be read aloud at each.
 *
 * @param {Client} client
 */
export function showTrouble(client) {
  const box = document.getElementById("trouble");
  const line = found("connection", HTMLElement);
  if (client.state === "open") {
    box?.remove();
    line.replaceChildren();
  } else if (client.state === "locked") line.replaceChildren("native-host wants an API key. ", again(client, "Enter one"));
  else if (client.state === "waiting" || client.state === "refused") {
    const kind = client.problem?.kind ?? "connection_lost";
    const trouble = client.problem && TROUBLES[kind]?.(client.problem);
    if (!trouble) line.replaceChildren("The connection to native-host broke off; trying again. ", again(client, "Try now"));
    else if (box?.dataset.kind !== kind) {
      line.replaceChildren();
      box?.remove();
      found("scroller", HTMLElement).prepend(section(kind, trouble, client));
      announce(`${trouble.title}. ${trouble.text}`);
    }
  }
}

/**
 * @param {string} kind
 * @param {Trouble} trouble
 * @param {Client} client
 */
function section(kind, { title, text, steps }, client) {
  const parts = steps.map(({ text, command }) => element("li", {}, element("p", {}, text), ...(command ? [commandLine(command)] : [])));
  return element(
    "section",
    { id: "trouble", class: "trouble", "aria-labelledby": "trouble-title", "data-kind": kind },
    element("h2", { id: "trouble-title" }, title),
    element("p", {}, text),
    element("ol", {}, ...parts),
    again(client, "Try again"),
  );
}

/** @param {string} command */
const commandLine = (command) =>
  element("span", { class: "command" }, element("code", {}, command), copyButton(() => command, "Copy the command"));

/**
 * @param {Client} client
 * @param {string} text
 */
const again = (client, text) =>
  element("button", { type: "button", class: "solid-button", onclick: () => client.reconnect() }, text);

const installCommand = () => `native-host install --browser ${browserName()} --extension-id ${extensionId()}`;

/** Chromium's ids are where the page lies; Firefox makes one up there, and knows add-ons by that of their manifest. */
const extensionId = () => chrome.runtime.getManifest().browser_specific_settings?.gecko?.id ?? chrome.runtime.id;

/** The browser's name as `native-host install` takes it. */
function browserName() {
  if (location.protocol === "moz-extension:") return "firefox";
  const { userAgentData, brave } = /** @type {{userAgentData?: {brands: {brand: string}[]}, brave?: object}} */ (navigator);
  const brands = userAgentData?.brands.map(({ brand }) => brand) ?? [];
  if (brave) return "brave";
  if (brands.includes("Microsoft Edge")) return "edge";
  return brands.includes("Google Chrome") ? "chrome" : "chromium";
}
