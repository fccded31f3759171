// One turn on the page: the question, the thought step by step, the answer, and its figures.

import { make } from "./dom.js";
import { answerOf, isOver, stepsOf } from "./reply.js";
import { AnswerStep, letter, Strip, ThoughtStep } from "./steps.js";
import * as words from "./words.js";

const STATES = {
  waiting: "Waiting for its turn",
  reading: "Reading the conversation",
  thinking: "Thinking",
  answering: "Answering",
};
const COPIED_MS = 1500;

export class TurnView {
  constructor(turn, number) {
    this.turn = turn;
    this.thought = [];
    this.answer = [];
    this.before = ""; // the answer up to its last step
    this.strip = new Strip();
    this.title = make("span", { className: "title" });
    this.steps = make("ol", { className: "steps" });
    const summary = make("summary", {}, this.title, this.strip.element);
    this.details = make("details", { className: "thought", open: !isOver(turn), hidden: true }, summary, this.steps);
    summary.addEventListener("click", () => {
      this.wasTouched = true; // opened or closed by hand, it stays so
    });
    this.answered = make("div", { className: "answer", "aria-live": "polite", "aria-busy": String(!isOver(turn)) });
    this.state = make("p", { className: "state" });
    this.footer = make("div", { className: "footer" });
    const question = make("p", { className: "question", dir: "auto" }, turn.question);
    this.element = make(
      "article",
      { className: "turn", "aria-label": `Question ${number} and its reply` },
      question,
      make("div", { className: "reply" }, this.details, this.answered, this.state, this.footer),
    );
    this.draw();
    if (isOver(turn)) this.end();
  }

  /** Show what has come since it was drawn last. */
  draw() {
    this.drawThought();
    this.drawAnswer();
    this.scale();
    const { state } = this.turn;
    this.state.textContent = STATES[state] ?? "";
    this.state.hidden = isOver(this.turn) || state === "answering";
    this.title.textContent = this.thoughtInWords();
    this.details.classList.toggle("growing", state === "thinking");
  }

  drawThought() {
    const steps = stepsOf(this.turn, "thought");
    this.thought.at(-1)?.draw();
    while (this.thought.length < steps.length) {
      const view = new ThoughtStep(steps[this.thought.length], this.thought.length + 1);
      this.thought.push(view);
      this.steps.append(view.element);
      view.draw();
    }
    this.strip.draw(steps);
    this.details.hidden = steps.length === 0;
  }

  drawAnswer() {
    const steps = stepsOf(this.turn, "answer");
    this.answer.at(-1)?.draw();
    while (this.answer.length < steps.length) {
      if (this.answer.length > 0) this.before += steps[this.answer.length - 1].text;
      const view = new AnswerStep(steps[this.answer.length], this.answer.length + 1, this.before);
      this.answer.push(view);
      this.answered.append(view.element);
      view.draw();
    }
  }

  /** Have all bars of the reply show the same entropy as the same length. */
  scale() {
    const { steps } = this.turn;
    if (steps.length === this.scaled) return;
    this.scaled = steps.length;
    const most = Math.max(0.1, ...steps.map((step) => Math.max(step.entropy ?? 0, 1.6 * (step.threshold ?? 0))));
    this.element.style.setProperty("--most", most);
  }

  thoughtInWords() {
    const steps = stepsOf(this.turn, "thought");
    const large = steps.filter((step) => step.model === "large").length;
    const split = large === 0 ? "all by the small model" : large === steps.length ? "all by the large model" : `${large} by the large model`;
    const end = words.thoughtEnded(this.turn.thoughtEnd);
    return `${this.turn.state === "thinking" ? "Thinking" : "Thought"}: ${words.count(steps.length, "step")}, ${split}${end ? `; ${end}` : ""}`;
  }

  /** Show how it ended. `folds` says whether the thought may close: it would pull away what is being read. */
  end({ folds = true } = {}) {
    this.draw();
    this.answered.setAttribute("aria-busy", "false");
    if (folds && !this.wasTouched && this.answer.length > 0) this.details.open = false;
    this.footer.replaceChildren(...this.messages(), ...this.figures());
  }

  messages() {
    const { state, error, notices, finish } = this.turn;
    const found = notices.map((notice) => make("p", { className: "notice" }, words.sentence(notice)));
    const cut = words.finished(finish);
    if (cut) found.push(make("p", { className: "notice" }, cut));
    if (state === "failed") found.push(make("p", { className: "error", role: "alert" }, words.sentence(error)));
    if (state === "stopped") {
      const forgotten = answerOf(this.turn) === "" ? " There is no answer yet, so later questions do not know of this one." : "";
      found.push(make("p", { className: "notice" }, `Stopped.${forgotten}`));
    }
    return found;
  }

  figures() {
    const { stats } = this.turn;
    const row = make("div", { className: "figures" });
    if (answerOf(this.turn) !== "") row.append(this.copying());
    if (stats !== null) row.append(...this.numbers(stats));
    return row.childNodes.length > 0 ? [row] : [];
  }

  numbers(stats) {
    const figure = (what, ...value) => make("span", { className: "figure", title: what }, ...value);
    const speed = this.turn.perSecond === null ? "" : `, ${words.rate(this.turn.perSecond)}/s`;
    const figures = [figure("written, thought and answer", `${words.count(stats.tokens, "token")}${speed}`)];
    if (stats.small !== null && stats.large !== null) {
      const steps = `${stats.steps_large} of ${words.count(stats.steps, "step")}, ${words.percent(stats.share_tokens)} of tokens`;
      figures.push(figure("what the large model wrote", letter("large"), ` ${steps}`));
      figures.push(figure("how often the writer changed", words.count(stats.switches, "switch").replace("switchs", "switches")));
    }
    return [...figures, figure("from the question to the end", words.duration(stats.seconds))];
  }

  copying() {
    const button = make("button", { type: "button", className: "quiet copy" }, "Copy");
    button.addEventListener("click", async () => {
      button.textContent = (await copy(answerOf(this.turn))) ? "Copied" : "Cannot copy here";
      setTimeout(() => {
        button.textContent = "Copy";
      }, COPIED_MS);
    });
    return button;
  }
}

/** Put a text into the clipboard, and say whether that worked. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // over plain HTTP from another machine there is no clipboard
  }
}

function copyBySelection(text) {
  const field = make("textarea", { value: text, readOnly: true, className: "away" });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
