// What went wrong, in words, and the way out.

import { durationText, sizeText } from "./figures.js";

/** @typedef {{kind: string, message: string, data: Record<string, any>}} Failure */
/** @typedef {{title: string, text: string, command?: string}} Explanation */

const COMMAND = /^(native-host|ollama|pip) /;
const GRANT = /`(native-host grants grant [^`]+)`/;
const START = "native-host serve --http 127.0.0.1:8089";

/** @type {Record<string, (failure: Failure) => Explanation>} */
const EXPLANATIONS = {
  connection_lost: () => ({
    title: "The connection broke off",
    text: "The answer is not complete. If the host is not running any more, this starts it:",
    command: START,
  }),
  locked: () => ({ title: "An API key is needed", text: "This host only answers to people who have one." }),
  unauthenticated: ({ message }) => ({ title: "The API key was not accepted", text: message }),
  permission_denied: ({ data, message }) => {
    const [, command] = GRANT.exec(message) ?? [];
    const missing = `This key may not do that. It needs the scope “${data.scope}”, which whoever runs the host can grant.`;
    if (command === undefined) return { title: "Not allowed", text: missing };
    return { title: "Not allowed", text: "This extension may not do that on this machine. This allows it:", command };
  },
  unsupported_protocol: ({ message }) => ({ title: "Page and host do not fit together", text: message }),
  model_not_found: ({ data, message }) => ({
    title: "There is no such model",
    text: data.nearest?.length ? `The host does not know “${data.model}”. Did you mean “${data.nearest[0]}”?` : message,
  }),
  model_absent: ({ data, message }) => ({
    title: `${data.model ?? "The model"} is not on this machine yet`,
    ...wayToGet(data.command, message),
  }),
  model_load_failed: ({ data, message }) => ({
    title: `${data.model ?? "The model"} could not be loaded`,
    text: data.reason ?? message,
  }),
  insufficient_memory: ({ data, message }) => ({
    title: "Not enough memory",
    text: data.needed_bytes
      ? `It needs ${sizeText(data.needed_bytes)}, and ${sizeText(data.available_bytes ?? 0)} can be had. ` +
        "Choose a smaller model, or end other programs."
      : message,
  }),
  unsupported: ({ data, message }) => ({
    title: "The host cannot do that",
    text: data.install ? "A part of it is not installed. This brings it:" : message,
    ...(data.install ? { command: `pip install '${data.install}'` } : {}),
  }),
  input_too_long: ({ message }) => ({
    title: "The conversation is too long",
    text: `${message} Begin a new conversation, or choose a model with a longer context.`,
  }),
  rate_limited: (failure) => later("Too many requests", failure),
  quota_exceeded: (failure) => later("The quota is used up", failure),
  overloaded: (failure) => later("The host is busy", failure),
  timeout: () => ({ title: "It took too long", text: "The time limit came before the end of the answer." }),
  content_rejected: ({ message }) => ({ title: "Refused by the host's rules", text: message }),
  shutting_down: () => ({ title: "The host is being shut down", text: "Try again when it is back." }),
  worker_crashed: () => ({
    title: "The model's process died",
    text: "The host has ended it; other models are not affected. Trying again starts a new one.",
  }),
  internal_error: ({ data, message }) => ({
    title: "Something went wrong in the host",
    text: data.incident ? `Its log has more under the number ${data.incident}.` : message,
  }),
};

/**
 * @param {Failure} failure
 * @returns {Explanation}
 */
export function explain(failure) {
  return EXPLANATIONS[failure.kind]?.(failure) ?? { title: "That did not work", text: failure.message };
}

/**
 * It is a command, or a sentence where there is none.
 * @param {unknown} way
 * @param {string} message
 */
function wayToGet(way, message) {
  if (typeof way !== "string" || !way) return { text: message };
  if (!COMMAND.test(way)) return { text: `${way.charAt(0).toUpperCase()}${way.slice(1)}. Then try again.` };
  return { text: "Nothing is downloaded unasked. This command gets it; then try again:", command: way };
}

/**
 * @param {string} title
 * @param {Failure} failure
 */
function later(title, { data, message }) {
  const seconds = Number(data.retry_after_s);
  return { title, text: seconds > 0 ? `Try again in ${durationText(seconds * 1000)}.` : message };
}
