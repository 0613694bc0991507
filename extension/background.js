// What runs behind the pages: the connection to the host, the button, the menu.

import { nativePort } from "./client.js";
import { Exchange } from "./exchange.js";
import { keepQuote } from "./quote.js";
import { openPanel } from "./panel.js";

const ASK = "ask-about-selection";
const TAB = "open-in-tab";

const { name, version } = chrome.runtime.getManifest();
const exchange = new Exchange(nativePort(), { name: `${name}-extension`, version });

chrome.runtime.onConnect.addListener((link) => void exchange.join(link));

chrome.runtime.onInstalled.addListener(() => {
  chrome.contextMenus.removeAll(() => {
    chrome.contextMenus.create({ id: ASK, title: "Ask native-host about “%s”", contexts: ["selection"] });
    chrome.contextMenus.create({ id: TAB, title: "Open in a tab", contexts: ["action"] });
  });
});

chrome.contextMenus.onClicked.addListener((clicked, tab) => {
  if (clicked.menuItemId === TAB) void chrome.tabs.create({ url: "index.html" });
  else if (clicked.selectionText && tab) {
    openPanel(tab.windowId); // first, and at once: browsers allow it only as the direct answer to a click
    void keepQuote({ text: clicked.selectionText, window: tab.windowId });
  }
});

if (chrome.sidePanel) void chrome.sidePanel.setPanelBehavior({ openPanelOnActionClick: true });
else chrome.action.onClicked.addListener(({ windowId }) => openPanel(windowId));
