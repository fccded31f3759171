// The page's beginning: waits for the pair, and puts the parts together.

import * as api from "./api.js";
import { Asking } from "./asking.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { byId, make } from "./dom.js";
import { askForKey } from "./key.js";
import { letter } from "./steps.js";
import { sentence } from "./words.js";

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
      status(sentence(error.message));
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
        status(sentence(error.message));
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

function welcome(first, { glimp: { example, notices } = {} }) {
  const models = first?.glimp?.models ?? {}; // of a pair that is not loaded nothing is known
  const here = ["small", "large"].filter((model) => models[model]);
  const named = (model) =>
    make("li", {}, letter(model), ` ${models[model].name}`, make("span", { className: "dim" }, ` ${models[model].where}`));
  byId("names").replaceChildren(...here.map(named));
  if (example) {
    byId("example").textContent = example;
    byId("try").hidden = false;
    byId("example").addEventListener("click", () => {
      composer.text = example;
      composer.box.focus();
    });
  }
  byId("notices").replaceChildren(...(notices ?? []).map((notice) => make("li", {}, sentence(notice))));
}
