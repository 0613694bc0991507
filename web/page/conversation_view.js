// The conversation as it is seen: questions, answers as they grow, and what went wrong.

import { announce } from "./announcer.js";
import { copyButton } from "./clipboard.js";
import { element, found, icon } from "./dom.js";
import { explain } from "./error_texts.js";
import { figuresOf } from "./figures.js";
import { MarkdownView } from "./markdown.js";

/** @typedef {import("./sessions.js").Message} Message */
/** @typedef {import("./sessions.js").Answer} Answer */

/** So near to the end, the view follows what is added. */
const NEAR_PX = 80;

export class ConversationView {
  #scroller = found("scroller", HTMLElement);
  #messages = found("messages", HTMLElement);
  #welcome = found("welcome", HTMLElement);
  #toEnd = found("to-end", HTMLButtonElement);
  #onAgain;

  /** @param {{onAgain: () => void}} listeners */
  constructor({ onAgain }) {
    this.#onAgain = onAgain;
    this.#scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    this.#toEnd.addEventListener("click", () => this.#scrollToEnd());
    new ResizeObserver(() => this.#look()).observe(this.#messages);
  }

  /**
   * @param {string} title
   * @param {Message[]} messages
   */
  show(title, messages) {
    this.setTitle(title);
    this.#messages.replaceChildren();
    for (const message of messages) {
      if (message.role === "user") this.addQuestion(message.content);
      else this.beginAnswer().end(message);
    }
    this.#welcome.hidden = messages.length > 0;
    if (messages.length) this.#scrollToEnd();
  }

  /** @param {string} title */
  setTitle(title) {
    document.title = title ? `${title} · native-host` : "native-host";
    found("heading", HTMLElement).textContent = title || "New conversation";
  }

  /** @param {string} question */
  addQuestion(question) {
    this.#welcome.hidden = true;
    this.#messages.append(
      element(
        "article",
        { class: "question" },
        element("h2", { class: "visually-hidden" }, "You"),
        element("div", { class: "question-text" }, question),
      ),
    );
    this.#scrollToEnd();
  }

  /** A place for an answer that will come. */
  beginAnswer() {
    for (const again of this.#messages.querySelectorAll(".again")) again.remove(); // only the last can be asked anew
    const root = element("article", { class: "answer", "aria-busy": "true" });
    this.#messages.append(root);
    const view = new AnswerView(root, this.#onAgain, (change) => this.#follow(change));
    this.#scrollToEnd();
    return view;
  }

  dropLastAnswer() {
    this.#messages.lastElementChild?.remove();
  }

  get #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  #look() {
    this.#toEnd.hidden = this.#atEnd || !this.#messages.childElementCount;
  }

  /** @param {() => void} change */
  #follow(change) {
    const follow = this.#atEnd;
    change();
    if (follow) this.#scrollToEnd();
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

/** One answer. Its text is drawn at most once a frame, whatever comes in between. */
export class AnswerView {
  #root;
  #onAgain;
  #change;
  #status = element("p", { class: "status" }, element("span", { class: "pulse" }), element("span", {}, "Thinking…"));
  #text = element("div", { class: "text" });
  #markdown = new MarkdownView(this.#text);
  /** @type {HTMLDetailsElement | null} */
  #thoughts = null;
  #told = 0;
  #frame = 0;

  /**
   * @param {HTMLElement} root
   * @param {() => void} onAgain
   * @param {(change: () => void) => void} change  draws, and follows the end if it was in sight
   */
  constructor(root, onAgain, change) {
    this.#root = root;
    this.#onAgain = onAgain;
    this.#change = change;
    root.append(element("h2", { class: "visually-hidden" }, "Answer"), this.#status, this.#text);
  }

  /**
   * Why there is nothing to read yet.
   * @param {string} text
   * @param {number | null} fraction
   */
  wait(text, fraction) {
    const bar = element("progress", { max: "1", "aria-label": text });
    if (fraction !== null) bar.value = fraction;
    this.#status.replaceChildren(element("span", {}, text), bar);
  }

  /**
   * All of the answer so far.
   * @param {string} text
   * @param {string} reasoning
   */
  grow(text, reasoning) {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#change(() => this.#draw(text, reasoning, false)));
  }

  /** @param {Answer} answer */
  end(answer) {
    cancelAnimationFrame(this.#frame);
    this.#change(() => {
      const live = this.#told > 0 || this.#root.getAttribute("aria-busy") === "true";
      this.#draw(answer.content, answer.reasoning ?? "", live);
      this.#status.remove();
      this.#root.removeAttribute("aria-busy");
      if (answer.error) this.#root.append(failure(answer.error));
      this.#root.append(this.#foot(answer));
    });
  }

  /**
   * @param {string} text
   * @param {string} reasoning
   * @param {boolean} whole
   */
  #draw(text, reasoning, whole) {
    if (reasoning) this.#think(reasoning, text !== "");
    this.#markdown.show(text);
    if (text) this.#status.remove();
    this.#tell(whole);
  }

  /**
   * @param {string} reasoning
   * @param {boolean} over
   */
  #think(reasoning, over) {
    if (!this.#thoughts) {
      this.#thoughts = element("details", { class: "thoughts" }, element("summary"), element("div", { class: "thoughts-text" }));
      this.#text.before(this.#thoughts);
    }
    const [summary, body] = /** @type {[HTMLElement, HTMLElement]} */ (/** @type {unknown} */ (Array.from(this.#thoughts.children)));
    summary.textContent = over ? "Thoughts" : "Thinking…";
    body.textContent = reasoning.trim();
    this.#status.remove();
  }

  /**
   * Read aloud what is complete: a block that still grows would be read again and again.
   * @param {boolean} whole
   */
  #tell(whole) {
    if (this.#root.getAttribute("aria-busy") !== "true") return;
    const ready = this.#markdown.spoken(this.#told);
    if (!whole) ready.pop();
    ready.forEach(announce);
    this.#told += ready.length;
  }

  /** @param {Answer} answer */
  #foot(answer) {
    const note = { length: "Cut at the longest answer’s length.", stopped: "Stopped.", cut: "Cut: the page was closed." };
    const said = [
      answer.anew ? "Written anew, because the host had stopped." : "",
      note[/** @type {keyof typeof note} */ (answer.outcome)],
    ];
    const foot = element("footer", { class: "answer-foot" });
    if (answer.content) foot.append(copyButton(() => answer.content, "Copy the answer"));
    foot.append(
      element("button", { type: "button", class: "quiet-button again", onclick: this.#onAgain }, icon("again"), "Try again"),
      element("span", { class: "figures" }, [...said.filter(Boolean), figuresOf(answer).join(" · ")].join(" ")),
    );
    return foot;
  }
}

/** @param {NonNullable<Answer["error"]>} error */
function failure(error) {
  const { title, text, command } = explain(error);
  const box = element("div", { class: "failure", role: "alert" }, element("strong", {}, title), element("p", {}, text));
  if (command) {
    box.append(element("span", { class: "command" }, element("code", {}, command), copyButton(() => command, "Copy the command")));
  }
  return box;
}
