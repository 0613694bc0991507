// The chat page as a panel at the side of the browser, and as a page in a tab.

import { extensionPort } from "./client.js";
import { element, found, icon } from "./page/dom.js";
import { startPage } from "./page/page.js";
import { takeQuotes } from "./quote.js";
import { showTrouble } from "./trouble.js";

const { composer } = startPage(extensionPort(), { showConnection: showTrouble });

void chrome.tabs.getCurrent().then((tab) => {
  if (tab) return;
  offerTab();
  void takeQuotes((text) => composer.quote(text));
});

/** In the panel: the same page with more room. */
function offerTab() {
  const open = () => void chrome.tabs.create({ url: `index.html${location.hash}` });
  const label = { type: "button", class: "icon-button to-tab", "aria-label": "Open in a tab", title: "Open in a tab" };
  found("main", HTMLElement).querySelector(".bar")?.append(element("button", { ...label, onclick: open }, icon("tab")));
}
