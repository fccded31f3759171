// The server's key: asked for when the server wants one, and kept in this tab alone.

import { hasKey, useKey } from "./api.js";
import { byId } from "./dom.js";

let asking = null;

/** Ask for the key, and resolve when one was given; asks once, however many wait for it. */
export function askForKey() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

function ask() {
  const dialog = byId("key");
  const field = byId("key-value");
  byId("key-wrong").hidden = !hasKey(); // there was one, and it was not taken
  field.value = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    const given = (event) => {
      event.preventDefault();
      const key = field.value.trim();
      if (key === "" || !fitsHeader(key)) return;
      useKey(key);
      byId("key-form").removeEventListener("submit", given);
      dialog.removeEventListener("close", stay);
      dialog.close();
      resolve();
    };
    const stay = () => dialog.showModal(); // nothing works without a key
    byId("key-form").addEventListener("submit", given);
    dialog.addEventListener("close", stay);
  });
}

/** Can this stand in a header? */
const fitsHeader = (key) => /^[\x21-\x7e\xa0-\xff]([\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?$/.test(key);
