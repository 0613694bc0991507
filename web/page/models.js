// What a model of the host's list means for a conversation.

/** @typedef {import("../client/protocol.d.ts").ModelListing} ModelListing */

/** The model that ships with the host, in each of its formats. */
export const BUILTIN = /^tabagent-demo(-|$)/;

/**
 * Whether it may be able to chat: of what has not been loaded yet, nothing may be known.
 * @param {ModelListing} model
 */
export const canChat = ({ capabilities }) => capabilities.length === 0 || capabilities.includes("chat");

/** @type {Record<ModelListing["state"], string>} */
export const STATE_WORDS = {
  loaded: "loaded",
  loading: "loading",
  draining: "being unloaded",
  available: "",
  absent: "not on this machine",
};
