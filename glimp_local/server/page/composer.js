// The box for questions and the buttons beside it.

import { byId, make } from "./dom.js";
import { sentence } from "./words.js";

export class Composer {
  /** `on` has what happens: ask(question), stop(), steer(action). */
  constructor(on) {
    this.on = on;
    this.isReady = false;
    this.isRunning = false;
    this.box = byId("question");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    byId("stop").addEventListener("click", () => on.stop());
    for (const button of byId("steering").querySelectorAll("button")) {
      button.addEventListener("click", () => on.steer(button.dataset.action, button));
    }
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    this.box.addEventListener("input", () => this.changed());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isRunning && !event.defaultPrevented) on.stop();
    });
    this.changed();
  }

  get text() {
    return this.box.value;
  }

  set text(value) {
    this.box.value = value;
    this.changed();
  }

  pressed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // Enter also ends a word of some keyboards
    event.preventDefault();
    this.send();
  }

  send() {
    const question = this.text.trim();
    if (question !== "" && this.isReady && !this.isRunning) this.on.ask(question);
  }

  changed() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
    byId("send").disabled = !this.isReady || this.text.trim() === "";
  }

  ready(isReady) {
    this.isReady = isReady;
    this.changed();
  }

  /** Show the buttons for a reply that is being written, or those for the next question. */
  running(isRunning) {
    const held = document.activeElement;
    this.isRunning = isRunning;
    byId("send").hidden = isRunning;
    byId("stop").hidden = !isRunning;
    if (!isRunning) this.steerable(false);
    if (held !== null && held !== document.body && held.offsetParent === null) this.box.focus(); // its button went away
  }

  /** Show the buttons that steer a thought: there is one, and two models if `both`. */
  steerable(isSteerable, both = false) {
    byId("steering").hidden = !isSteerable;
    byId("next-step").hidden = !both;
  }

  /** Say what went wrong, with buttons for what can be done: pairs of a label and a function. */
  complain(message, ...actions) {
    const buttons = actions.map(([label, act]) => {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", act);
      return button;
    });
    byId("problem").replaceChildren(make("p", {}, sentence(message)), ...buttons);
    byId("problem").hidden = false;
  }

  calm() {
    byId("problem").replaceChildren();
    byId("problem").hidden = true;
  }
}
