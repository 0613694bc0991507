// Copying, and a button that does it and says so.

import { announce } from "./announcer.js";
import { element, icon } from "./dom.js";

const SAID_MS = 2000;

/**
 * @param {() => string} text
 * @param {string} label  what is copied, for people who do not see the button
 */
export function copyButton(text, label) {
  const word = element("span", {}, "Copy");
  const button = element("button", { type: "button", class: "quiet-button", "aria-label": label }, icon("copy"), word);
  button.addEventListener("click", async () => {
    const done = await copy(text());
    word.textContent = done ? "Copied" : "Not copied";
    announce(done ? "Copied." : "The browser did not allow copying.");
    setTimeout(() => (word.textContent = "Copy"), SAID_MS);
  });
  return button;
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // pages over plain HTTP from another machine have no clipboard
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const before = document.activeElement;
  const area = element("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
}
