// A text that was selected on some page, on its way from the menu to the panel of the same window. It lies in the
// browser's memory meanwhile: the panel may not be open yet, and the background may sleep before it is.

/** @typedef {{text: string, window: number}} Quote */

const KEY = "quote";

/** @param {Quote} quote */
export const keepQuote = (quote) => chrome.storage.session.set({ [KEY]: quote });

/**
 * Hands over each quote for this page's window, also one that came before.
 * @param {(text: string) => void} onQuote
 */
export async function takeQuotes(onQuote) {
  const { id } = await chrome.windows.getCurrent();
  const take = (/** @type {unknown} */ value) => {
    const quote = /** @type {Quote | undefined} */ (value);
    if (!quote || quote.window !== id) return;
    void chrome.storage.session.remove(KEY);
    onQuote(quote.text);
  };
  chrome.storage.session.onChanged.addListener((changes) => take(changes[KEY]?.newValue));
  take((await chrome.storage.session.get(KEY))[KEY]);
}
