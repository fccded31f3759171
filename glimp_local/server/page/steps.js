// A step on the page: who writes it, why, and its text. Its model shows in a letter, in the line beside it, and in colour.

import { make } from "./dom.js";
import { Growing, openFence } from "./markdown.js";
import * as words from "./words.js";

const LETTERS = { small: "S", large: "L" };

/** Make the letter that stands for a model. */
export const letter = (model) => make("span", { className: `letter ${known(model)}`, "aria-hidden": "true" }, LETTERS[model] ?? "?");

const known = (model) => (model in LETTERS ? model : "unknown");

/** The line above a step. */
function head(step, name) {
  return make(
    "div",
    { className: "head" },
    letter(step.model),
    make("span", { className: "who" }, `${name} `, make("span", { className: "by" }, `by the ${step.model} model`)),
    step.entropy === null ? null : bar(step),
    make("span", { className: "numbers" }, words.comparison(step)),
    make("span", { className: "why" }, words.reason(step)),
  );
}

/** The entropy as a bar, with a line where the threshold is; how long a nat is stands on an element around it. */
function bar({ entropy, threshold }) {
  const drawn = make("span", { className: "bar", "aria-hidden": "true" }, make("span", { className: "fill" }));
  drawn.style.setProperty("--entropy", entropy);
  if (threshold !== null) {
    drawn.style.setProperty("--threshold", threshold);
    drawn.append(make("span", { className: "mark" }));
  }
  return drawn;
}

/** A step of a thought, as plain text. */
export class ThoughtStep {
  constructor(step, number) {
    this.step = step;
    this.text = document.createTextNode("");
    const text = make("div", { className: "text" }, this.text);
    this.element = make("li", { className: `step ${known(step.model)}` }, head(step, `Step ${number}`), text);
    this.element.dataset.model = step.model;
  }

  draw() {
    const text = this.step.text.trimEnd(); // blanks show as soon as something stands behind them
    if (text.length > this.text.length) this.text.appendData(text.slice(this.text.length)); // those before stay as they are
  }
}

/** A step of an answer, as Markdown. `before` is the answer up to it: code that was opened there continues here. */
export class AnswerStep {
  constructor(step, number, before) {
    this.step = step;
    const fence = openFence(before);
    this.prefix = fence === null ? "" : `${fence}\n`;
    this.text = make("div", { className: "text markdown" });
    this.growing = new Growing(this.text);
    const name = number === 1 ? "Answer" : `Answer, part ${number}`;
    this.element = make("section", { className: `step ${known(step.model)}` }, head(step, name), this.text);
    this.element.dataset.model = step.model;
  }

  draw() {
    this.growing.update(this.prefix + this.step.text);
  }
}

/** A strip with a piece for each step, as long as its text: small ones are low, large ones are high. */
export class Strip {
  constructor() {
    this.element = make("span", { className: "strip", "aria-hidden": "true" });
  }

  draw(steps) {
    const pieces = this.element.children;
    for (let i = Math.max(pieces.length - 1, 0); i < steps.length; i += 1) {
      if (i === pieces.length) this.element.append(make("span", { className: known(steps[i].model) }));
      pieces[i].style.flexGrow = Math.max(steps[i].text.length, 1);
    }
    if (pieces.length > 1) pieces[pieces.length - 2].style.flexGrow = Math.max(steps[pieces.length - 2].text.length, 1);
  }
}
