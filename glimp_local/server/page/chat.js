// The conversation: asks, shows what comes, and keeps it.

import * as api from "./api.js";
import { byId, framed } from "./dom.js";
import { askForKey } from "./key.js";
import * as kept from "./kept.js";
import { add, begin, history } from "./reply.js";
import { TurnView } from "./turn.js";

const NEAR_END = 60; // pixels

export class Chat {
  constructor(asking, composer) {
    this.asking = asking;
    this.composer = composer;
    this.log = byId("log");
    this.turns = [];
    this.view = null; // of the reply that is being written
    this.stopping = null;
    this.follows = true; // does the reader stand at the end?
    this.top = 0; // of what is in sight
    this.drawing = framed(() => this.draw());
    addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(framed(() => this.follow())).observe(document.body);
    addEventListener("beforeunload", () => this.stop()); // or the connection seems to break
    addEventListener("pagehide", () => {
      this.stop();
      this.save();
    });
    byId("latest").addEventListener("click", () => this.toEnd());
    byId("new").addEventListener("click", () => this.clear());
    this.show(kept.load());
  }

  get isRunning() {
    return this.stopping !== null;
  }

  show(turns) {
    this.turns = turns;
    this.log.replaceChildren(...turns.map((turn, i) => new TurnView(turn, i + 1).element));
    byId("welcome").hidden = turns.length > 0;
    this.toEnd();
  }

  clear() {
    this.stop();
    this.stopping = this.view = null; // what comes of it is nobody's
    this.composer.running(false);
    this.show([]);
    this.save();
    this.composer.calm();
    this.composer.box.focus();
  }

  save() {
    if (!kept.save(this.turns)) byId("unkept").hidden = false;
  }

  /** Ask, and show the reply as it comes; `anyway` asks what the pair would decline. */
  async ask(question, { anyway = false } = {}) {
    if (this.isRunning) return;
    this.composer.calm();
    const fields = this.asking.fields();
    if (anyway) fields.glimp = { ...fields.glimp, anyway: true };
    const messages = [...history(this.turns), { role: "user", content: question }];
    const turn = begin(question, fields.model);
    const before = this.turns;
    this.start(turn);
    if (this.composer.text.trim() === question) this.composer.text = "";
    const { signal } = this.stopping;
    try {
      for await (const chunk of api.stream({ ...fields, messages }, signal)) {
        add(turn, chunk);
        this.drawing();
      }
      if (turn.state !== "done") throw new api.ApiError("The reply ended without saying why.");
    } catch (error) {
      this.failed(turn, error, signal);
    }
    if (this.stopping?.signal !== signal) return; // a new chat was begun meanwhile
    const { follows } = this; // what disappears now scrolls, too
    this.stopping = null;
    this.composer.running(false);
    if (turn.state === "waiting") this.takeBack(before, turn);
    else this.finish(turn);
    this.follows = follows;
    this.follow();
  }

  start(turn) {
    this.stopping = new AbortController();
    this.turns = [...this.turns, turn];
    this.view = new TurnView(turn, this.turns.length);
    byId("welcome").hidden = true;
    this.log.append(this.view.element);
    this.composer.running(true);
    say("");
    this.toEnd();
    this.save();
  }

  failed(turn, error, signal) {
    if (signal.aborted) {
      if (turn.state !== "waiting") turn.state = "stopped";
      return;
    }
    if (turn.state === "waiting") {
      if (this.stopping?.signal === signal) this.refused(turn.question, error);
      return;
    }
    turn.state = "failed";
    turn.error = error instanceof api.ApiError ? error.message : `The page could not show the reply: ${error}`;
  }

  /** Say why a question was not taken, and what can be done. */
  refused(question, error) {
    const again = async (options) => {
      this.composer.calm();
      await this.ask(question, options);
    };
    if (error.status === 401) {
      askForKey().then(() => again());
    } else if (error.code === "declined") {
      const message = error.message.replace(/ \(to ask it all the same: .*\)$/, ""); // the button is that
      this.composer.complain(message, ["Ask anyway", () => again({ anyway: true })]);
    } else {
      this.composer.complain(error.message, ["Try again", () => again()]);
    }
  }

  /** Have a question that was not taken in the box again, as if it had not been sent. */
  takeBack(before, turn) {
    this.view.element.remove();
    this.view = null;
    this.turns = before;
    byId("welcome").hidden = before.length > 0;
    if (this.composer.text.trim() === "") this.composer.text = turn.question;
    this.save();
  }

  finish(turn) {
    this.view.end({ folds: this.follows });
    this.view = null;
    this.save();
    const said = { done: "The reply is complete.", stopped: "Stopped.", failed: "" }; // errors are alerts of their own
    say(said[turn.state]);
  }

  stop() {
    this.stopping?.abort();
  }

  async steer(action, button) {
    const id = this.view?.turn.id;
    if (!id) return;
    try {
      await api.control(id, action);
      say(button.dataset.said);
    } catch (error) {
      if (this.view?.turn.id === id) this.composer.complain(error.message); // else it was over before
    }
  }

  draw() {
    if (this.view === null) return;
    this.view.draw();
    const { turn } = this.view;
    const thinks = turn.state === "thinking";
    this.composer.steerable(thinks, this.asking.isRouted);
    this.follow();
  }

  // Where the reader is.

  scrolled() {
    const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
    // Going up is the reader's doing; to be far from the end may come of what has just been written.
    if (scrollHeight - clientHeight - scrollTop < NEAR_END) this.follows = true;
    else if (scrollTop < this.top) this.follows = false;
    this.top = scrollTop;
    byId("latest").hidden = this.follows;
  }

  follow() {
    if (this.follows) scrollTo(0, document.documentElement.scrollHeight);
  }

  toEnd() {
    this.follows = true;
    byId("latest").hidden = true;
    this.follow();
  }
}

/** Tell those who do not see the page. */
export function say(text) {
  byId("said").textContent = text;
}
