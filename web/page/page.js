// Puts the page together: the client, the conversation, and the parts around it. Whoever starts it says how the host
// is reached, and what to show where it is not.

import { Client } from "../client.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { showServer } from "./connection_line.js";
import { ConversationView } from "./conversation_view.js";
import { found } from "./dom.js";
import { KeyDialog } from "./key_dialog.js";
import { ModelPicker } from "./model_picker.js";
import { SessionList } from "./session_list.js";
import { newSession, Sessions } from "./sessions.js";
import { loadSettings, saveSettings } from "./settings.js";
import { SettingsDialog } from "./settings_dialog.js";
import { Sidebar } from "./sidebar.js";
import { showSuggestions } from "./suggestions.js";

const VERSION = "0.1.0";

/**
 * @param {import("../client/port.js").PortOpener} open
 * @param {{showConnection?: (client: Client) => void}} [parts]  `showConnection` is called whenever the connection's
 *   state is another
 */
export function startPage(open, { showConnection = showServer } = {}) {
  const settings = loadSettings();
  const sessions = new Sessions(localStorage);
  const keys = new KeyDialog();
  const client = new Client(open, {
    client: { name: "native-host-page", version: VERSION },
    credentials: (failure) => keys.ask(failure),
  });
  const composer = new Composer({
    onSend: (question) => void chat.ask(question),
    onStop: () => chat.stop(),
  });
  const view = new ConversationView({ onAgain: () => void chat.askAgain() });
  const chat = new Chat(client, settings, sessions, view, composer);
  const picker = new ModelPicker(client, (model) => {
    settings.model = model;
    saveSettings(settings);
    chat.useModel(model);
  });
  const sidebar = new Sidebar();
  const list = new SessionList(sessions, {
    isOpen: (id) => id === chat.session.id,
    onOpen: (id) => goTo(id),
    onRemoved: (id) => id === chat.session.id && goTo(""),
    onRenamed: (id, title) => id === chat.session.id && chat.rename(title),
  });

  /** @param {string} id */
  function goTo(id) {
    if (location.hash.slice(1) === id) show();
    else location.hash = id;
  }

  /** Show the conversation that the address names; a new one where it names none. */
  function show() {
    const session = sessions.get(location.hash.slice(1)) ?? newSession(settings.model);
    chat.open(session);
    picker.choose(session.model);
    list.show();
    sidebar.close();
    composer.focus();
  }

  chat.addEventListener("saved", () => {
    if (location.hash.slice(1) !== chat.session.id) history.replaceState(null, "", `#${chat.session.id}`);
    list.show();
  });
  chat.addEventListener("done", () => void picker.refresh());
  picker.addEventListener("models", () => {
    showSuggestions(picker.current(), (question) => {
      void chat.ask(question);
      composer.focus(); // the suggestion that had the focus is gone
    });
  });
  client.addEventListener("state", () => {
    showConnection(client);
    if (client.state === "open") void picker.refresh();
  });
  new SettingsDialog(settings, keys, () => location.reload());
  found("new-session", HTMLButtonElement).addEventListener("click", () => goTo(""));
  addEventListener("hashchange", show);
  addEventListener("pagehide", () => chat.keep());
  addEventListener("online", () => client.reconnect());
  addEventListener("storage", () => list.show());
  document.addEventListener("keydown", (event) => pressed(event, { chat, composer, fresh: () => goTo("") }));
  showConnection(client);
  show();
  return { composer };
}

/**
 * Keys that work everywhere on the page, but where a dialog or another field is open.
 * @param {KeyboardEvent} event
 * @param {{chat: Chat, composer: Composer, fresh: () => void}} page
 */
function pressed(event, { chat, composer, fresh }) {
  if (document.querySelector("dialog[open]") || event.defaultPrevented) return;
  const writing = event.target instanceof HTMLElement && event.target.matches("input, textarea");
  if (event.key === "Escape" && chat.answering) chat.stop();
  else if (event.key === "/" && !writing) composer.focus();
  else if (event.altKey && event.code === "KeyN") fresh();
  else return;
  event.preventDefault();
}
