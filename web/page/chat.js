// The conversation that is open: asks the host, keeps what is said.

import { HostError } from "../client.js";
import { announce } from "./announcer.js";
import { newSession, promptOf, titleOf } from "./sessions.js";

/** @typedef {import("./sessions.js").Session} Session */
/** @typedef {import("./sessions.js").Answer} Answer */
/** @typedef {import("./conversation_view.js").AnswerView} AnswerView */

/** Tells by the event `saved` that the conversation was kept, by `done` that an answer is over. */
export class Chat extends EventTarget {
  #client;
  #settings;
  #sessions;
  #view;
  #composer;
  /** The answer under way. @type {{session: Session, answer: Answer, stop: AbortController} | null} */
  #running = null;

  /**
   * @param {import("../client/client.js").Client} client
   * @param {import("./settings.js").Settings} settings
   * @param {import("./sessions.js").Sessions} sessions
   * @param {import("./conversation_view.js").ConversationView} view
   * @param {import("./composer.js").Composer} composer
   */
  constructor(client, settings, sessions, view, composer) {
    super();
    this.#client = client;
    this.#settings = settings;
    this.#sessions = sessions;
    this.#view = view;
    this.#composer = composer;
    this.session = newSession(settings.model);
  }

  get answering() {
    return this.#running !== null;
  }

  /**
   * Show another conversation; an answer under way is stopped.
   * @param {Session} session
   */
  open(session) {
    if (session.id === this.session.id && this.answering) return;
    this.stop();
    this.session = session;
    this.#view.show(session.title, session.messages);
  }

  /** @param {string} model */
  useModel(model) {
    this.session.model = model;
    if (this.session.messages.length) this.#save(this.session);
  }

  /** @param {string} title */
  rename(title) {
    this.session.title = title;
    this.#view.setTitle(title);
  }

  /** @param {string} question */
  async ask(question) {
    if (this.answering) return;
    const session = this.session;
    session.messages.push({ role: "user", content: question });
    if (!session.title) this.rename(titleOf(question));
    this.#save(session);
    this.#view.addQuestion(question);
    await this.#answer(session);
  }

  /** Ask the last question anew. */
  async askAgain() {
    if (this.answering || this.session.messages.at(-1)?.role !== "assistant") return;
    this.session.messages.pop();
    this.#view.dropLastAnswer();
    await this.#answer(this.session);
  }

  stop() {
    this.#running?.stop.abort();
  }

  /** The page is being closed: keep what there is of the answer. */
  keep() {
    if (!this.#running) return;
    const { session, answer } = this.#running;
    this.#sessions.save({ ...session, messages: [...session.messages, { ...answer, outcome: "cut" }] });
  }

  /** @param {Session} session */
  async #answer(session) {
    const view = this.#view.beginAnswer();
    /** @type {Answer} */
    const answer = { role: "assistant", content: "", outcome: "failed" };
    this.#running = { session, answer, stop: new AbortController() };
    this.#composer.setBusy(true);
    try {
      await this.#stream(session, answer, view, this.#running.stop.signal);
    } catch (error) {
      fail(answer, error);
    }
    this.#running = null;
    session.messages.push(answer);
    if (this.#sessions.get(session.id)) this.#save(session); // else it was deleted meanwhile
    this.#composer.setBusy(false);
    view.end(answer);
    announce(answer.outcome === "stopped" ? "Stopped." : answer.outcome === "failed" ? "" : "End of the answer.");
    this.dispatchEvent(new Event("done"));
  }

  /**
   * @param {Session} session
   * @param {Answer} answer  filled as it comes
   * @param {AnswerView} view
   * @param {AbortSignal} signal
   */
  async #stream(session, answer, view, signal) {
    const stream = this.#client.stream("chat", this.#paramsOf(session), {
      signal,
      repeat: true,
      onProgress: ({ message, fraction }) => view.wait(message, fraction),
    });
    for await (const piece of stream) {
      if (piece.anew) Object.assign(answer, { content: "", reasoning: "", anew: true });
      answer.content += piece.text;
      if (piece.reasoning) answer.reasoning = (answer.reasoning ?? "") + piece.reasoning;
      view.grow(answer.content, answer.reasoning ?? "");
    }
    const { model, usage, timings, finish_reason } = await stream.result;
    Object.assign(answer, { model, usage, timings, outcome: finish_reason });
  }

  /** @param {Session} session */
  #paramsOf(session) {
    const { temperature, maxTokens, system } = this.#settings;
    return {
      messages: promptOf(session.messages, system),
      max_tokens: maxTokens,
      ...(session.model ? { model: session.model } : {}),
      ...(temperature === null ? {} : { temperature }),
    };
  }

  /** @param {Session} session */
  #save(session) {
    session.updated = Date.now();
    if (!this.#sessions.save(session)) announce("This browser has no room left to keep the conversation.");
    if (session === this.session) this.dispatchEvent(new Event("saved"));
  }
}

/**
 * @param {Answer} answer
 * @param {unknown} thrown
 */
function fail(answer, thrown) {
  const { kind, message, data } =
    thrown instanceof HostError ? thrown : new HostError("page_error", String(thrown));
  if (kind === "cancelled") {
    answer.outcome = "stopped";
    answer.usage = /** @type {Answer["usage"]} */ (data.usage ?? null);
  } else {
    answer.error = { kind, message, data };
  }
}
