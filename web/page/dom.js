// Elements and icons, made without ever parsing HTML.

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | boolean | ((event: any) => void)>} [attributes]  `onclick` and its like are listeners;
 *   `true` sets an attribute without a value, `false` none
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * One of the symbols that the page has under `icon-…`.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A button that shows only an icon; `label` is what it is called.
 * @param {string} name
 * @param {string} label
 * @param {() => void} onPress
 */
export const iconButton = (name, label, onPress) =>
  element(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: onPress },
    icon(name),
  );

/**
 * What the page's own HTML has under this id.
 * @template {HTMLElement} E
 * @param {string} id
 * @param {new () => E} type
 * @returns {E}
 */
export function found(id, type) {
  const there = document.getElementById(id);
  if (!(there instanceof type)) throw new Error(`the page has no #${id}`);
  return there;
}
