// Questions to begin with. The built-in model gets those that it can answer.

import { BUILTIN } from "./models.js";
import { element, found } from "./dom.js";

const OF_THIS_SOFTWARE = [
  "What is this program?",
  "Which formats can it run?",
  "How do I get a real model?",
  "Does my data stay on this machine?",
];
const OF_ANYTHING = [
  "Explain recursion to a beginner, with an example",
  "Write a polite reminder about an unpaid invoice",
  "What should I check before buying a used bicycle?",
  "Plan a simple dinner for four without meat",
];

/**
 * @param {string} model
 * @param {(question: string) => void} onAsk
 */
export function showSuggestions(model, onAsk) {
  const builtin = BUILTIN.test(model);
  const list = found("suggestions", HTMLElement);
  if (list.dataset.builtin === String(builtin)) return; // as they stand: one of them may be pressed just now
  list.dataset.builtin = String(builtin);
  const items = (builtin ? OF_THIS_SOFTWARE : OF_ANYTHING).map((question) =>
    element(
      "li",
      {},
      element("button", { type: "button", class: "suggestion", onclick: () => onAsk(question) }, question),
    ),
  );
  list.replaceChildren(...items);
  found("hint", HTMLElement).textContent = builtin
    ? "This is the small built-in model: it knows this software and nothing else."
    : "Models make mistakes. Check what matters.";
}
