// What people who listen to the page are told, in polite turns: never letter by letter.

import { element, found } from "./dom.js";

const KEPT = 20;

/** @param {string} text */
export function announce(text) {
  const spoken = text.trim();
  if (!spoken) return;
  const region = found("announcements", HTMLElement);
  region.append(element("p", {}, spoken));
  while (region.childElementCount > KEPT) region.firstElementChild?.remove();
}
