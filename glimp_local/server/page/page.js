// The page's beginning: waits for the pair, and puts the parts together.

import * as api from "./api.js";
import { Asking } from "./asking.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { byId } from "./dom.js";
import { askForKey } from "./key.js";
import { letter } from "./steps.js";

const AGAIN_MS = 1000;

const asking = new Asking();
const composer = new Composer({
  ask: (question) => chat.ask(question),
  stop: () => chat.stop(),
  steer: (action, button) => chat.steer(action, button),
});
const chat = new Chat(asking, composer);

composer.box.focus({ preventScroll: true });
begin();

async function begin() {
  await loaded();
  const [models, props] = await known();
  asking.offer(models);
  welcome(models[0], props);
  status("");
  composer.ready(true);
}

/** Wait until the pair is there, and say so meanwhile. */
async function loaded() {
  for (;;) {
    try {
      await api.health();
      return;
    } catch (error) {
      status(error.status === 503 ? sentence(error.message) : error.message);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** Ask what is served, and for the key if there is one. */
async function known() {
  for (;;) {
    try {
      return await Promise.all([api.models(), api.props()]);
    } catch (error) {
      if (error.status === 401) await askForKey();
      else {
        status(error.message);
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        await loaded();
      }
    }
  }
}

function status(text) {
  byId("status").textContent = text;
  byId("status").hidden = text === "";
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.…!?]$/.test(text) ? "" : "…"}`;

function welcome({ glimp }, { glimp: { example, notices } = {} }) {
  const names = Object.entries(glimp.models).map(([model, { name, where }]) => {
    const item = document.createElement("li");
    item.append(letter(model), ` ${name}`, ` (${where})`);
    return item;
  });
  byId("names").replaceChildren(...names);
  if (example) {
    byId("example").textContent = example;
    byId("try").hidden = false;
    byId("example").addEventListener("click", () => {
      composer.text = example;
      composer.box.focus();
    });
  }
  byId("notices").replaceChildren(
    ...(notices ?? []).map((notice) => {
      const item = document.createElement("li");
      item.textContent = notice;
      return item;
    }),
  );
}
