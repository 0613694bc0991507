// Markdown to elements. HTML in a text is shown as text; what marked makes of the rest goes through DOMPurify all the
// same, with a short list of what may pass.

import { Marked } from "../vendor/marked.js";
import DOMPurify from "../vendor/purify.js";
import { copyButton } from "./clipboard.js";
import { element } from "./dom.js";

/** The page itself has h1 and h2. */
const HEADINGS_BELOW = 2;
const DEEPEST_HEADING = 6;

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text, block }) => (block ? `<p>${escaped(text)}</p>` : escaped(text)),
    // Pictures would be fetched from wherever a model says: a way to tell others what is written here.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    heading({ tokens, depth }) {
      const level = Math.min(depth + HEADINGS_BELOW, DEEPEST_HEADING);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

const ALLOWED = {
  ALLOWED_TAGS: [
    ...["p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote"],
    ...["ul", "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td"],
  ],
  ALLOWED_ATTR: ["href", "title", "class", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: /** @type {const} */ (true),
};

/** A text's elements, kept while the text grows: only the blocks that changed are made anew. */
export class MarkdownView {
  /** @type {string[]} */
  #html = [];

  /** @param {HTMLElement} root  holds one element for each block */
  constructor(root) {
    this.root = root;
  }

  /** @param {string} text */
  show(text) {
    const html = blocks(text);
    html.forEach((block, index) => {
      if (block === this.#html[index]) return;
      const made = element("div", { class: "block" }, sanitised(block));
      const there = this.root.children[index];
      if (there) there.replaceWith(made);
      else this.root.append(made);
    });
    while (this.root.children.length > html.length) this.root.lastElementChild?.remove();
    this.#html = html;
  }

  /**
   * What can be read aloud of the blocks from `from` on; the last one may still grow.
   * @param {number} from
   */
  spoken(from) {
    return Array.from(this.root.children, spokenText).slice(from);
  }
}

/**
 * The HTML of each block. Not safe yet.
 * @param {string} text
 */
function blocks(text) {
  try {
    const tokens = marked.lexer(text);
    return tokens.filter(({ type }) => type !== "space" && type !== "def").map((token) => marked.parser([token]));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return [`<pre><code>${escaped(text)}</code></pre>`]; // lists in lists, or quotes in quotes, by the thousand
  }
}

/** @param {string} html */
function sanitised(html) {
  const fragment = DOMPurify.sanitize(html, ALLOWED);
  for (const link of fragment.querySelectorAll("a")) openOutside(link);
  for (const code of fragment.querySelectorAll("pre > code")) frameCode(code);
  for (const table of fragment.querySelectorAll("table")) letScroll(table, "Table", "table-frame");
  return fragment;
}

/** @param {HTMLAnchorElement} link */
function openOutside(link) {
  link.removeAttribute("class");
  if (!link.hasAttribute("href")) return;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
}

/** @param {Element} code */
function frameCode(code) {
  const pre = /** @type {HTMLElement} */ (code.parentElement);
  const language = /^language-([\w#+.-]+)$/.exec(code.className)?.[1] ?? "";
  code.removeAttribute("class");
  const frame = element("div", { class: "code-frame" });
  pre.replaceWith(frame);
  pre.tabIndex = 0;
  pre.setAttribute("role", "region");
  pre.setAttribute("aria-label", language ? `Code, ${language}` : "Code");
  const bar = element(
    "div",
    { class: "code-bar" },
    element("span", {}, language),
    copyButton(() => code.textContent ?? "", "Copy this code"),
  );
  frame.append(bar, pre);
}

/**
 * @param {HTMLElement} wide
 * @param {string} label
 * @param {string} className
 */
function letScroll(wide, label, className) {
  const frame = element("div", { class: className, role: "region", "aria-label": label, tabindex: "0" });
  wide.replaceWith(frame);
  frame.append(wide);
}

/** @param {Element} block */
function spokenText(block) {
  const copy = /** @type {Element} */ (block.cloneNode(true));
  for (const bar of copy.querySelectorAll(".code-bar")) bar.remove();
  return copy.textContent ?? "";
}

/** @param {string} text */
const escaped = (text) =>
  text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
