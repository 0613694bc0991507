// The panel at the side: Chromium's and Firefox's are opened by different words.

/** @typedef {{sidebarAction?: {open: () => Promise<void>}}} FirefoxOnly */

/** @param {number} windowId */
export function openPanel(windowId) {
  if (chrome.sidePanel) void chrome.sidePanel.open({ windowId });
  else void (/** @type {FirefoxOnly} */ (chrome).sidebarAction?.open());
}
