// Who is asked: the model, and the rule by which steps go to the large one.

import { byId, keep, make, recall } from "./dom.js";
import * as words from "./words.js";

const CHOSEN = "glimp.chosen";
const LIMITS = {
  threshold: { max: 1, step: 0.05, unit: "nats", label: "Entropy above which the large model writes a step" },
  share: { max: 1, step: 0.01, unit: "of steps", label: "Share of the steps for the large model" },
};

/** The choices above and below the box for questions. */
export class Asking {
  constructor() {
    this.models = [];
    this.values = { threshold: null, share: null };
    this.model = byId("model");
    this.rule = byId("rule");
    this.slider = byId("amount");
    this.number = byId("amount-number");
    this.model.addEventListener("change", () => this.changed());
    this.rule.addEventListener("change", () => this.changed());
    this.slider.addEventListener("input", () => this.moved(this.slider));
    this.number.addEventListener("input", () => this.moved(this.number));
    this.number.addEventListener("change", () => this.show());
  }

  /** Offer models, as /v1/models lists them. */
  offer(models) {
    const chosen = this.recalled();
    this.models = models;
    this.model.replaceChildren(...models.map(({ id }) => make("option", { value: id }, id)));
    if (models.some(({ id }) => id === chosen.model)) this.model.value = chosen.model;
    if (["own", "threshold", "share"].includes(chosen.rule)) this.rule.value = chosen.rule;
    for (const name of Object.keys(LIMITS)) {
      if (typeof chosen[name] === "number") this.values[name] = chosen[name];
    }
    this.model.disabled = false;
    this.show();
  }

  recalled() {
    try {
      return JSON.parse(recall(CHOSEN)) ?? {};
    } catch {
      return {};
    }
  }

  /** The model that is chosen, as /v1/models describes it; undefined before there is one. */
  get chosen() {
    return this.models.find(({ id }) => id === this.model.value);
  }

  /** Can its steps go to one model or the other? */
  get isRouted() {
    const { id = "", glimp = {} } = this.chosen ?? {};
    const alone = ["small", "large"].includes(glimp.policy) && id.endsWith(`:${glimp.policy}`);
    return Boolean(glimp.models?.small && glimp.models.large) && !alone;
  }

  /** The fields of a request that say all this. */
  fields() {
    const fields = { model: this.model.value };
    const rule = this.rule.value;
    if (this.isRouted && rule !== "own") fields.glimp = { [rule]: this.value(rule) };
    return fields;
  }

  value(rule) {
    return this.values[rule] ?? this.chosen?.glimp[rule] ?? 0;
  }

  moved(field) {
    const value = field.valueAsNumber;
    const rule = this.rule.value;
    if (!Number.isFinite(value) || value < 0 || (rule === "share" && value > 1)) return; // not there yet
    this.values[rule] = value;
    if (field !== this.number) this.number.value = value;
    if (field !== this.slider) this.slider.value = value;
    this.describe(rule);
    this.remember();
  }

  changed() {
    this.remember();
    this.show();
  }

  remember() {
    keep(CHOSEN, JSON.stringify({ model: this.model.value, rule: this.rule.value, ...this.values }));
  }

  show() {
    const routed = this.isRouted;
    byId("routing").hidden = !routed;
    const policy = this.chosen?.glimp?.policy;
    byId("alone").hidden = routed || !["small", "large"].includes(policy);
    byId("alone").textContent = `The ${policy} model writes everything.`;
    if (!routed) return;
    this.rule.options[0].textContent = `by the pair's own rule (${ownRule(this.chosen.glimp)})`;
    const rule = this.rule.value;
    const limits = LIMITS[rule];
    byId("amounts").hidden = limits === undefined;
    if (limits === undefined) return;
    const value = this.value(rule);
    // Thrice the pair's own threshold is within reach, and whatever is typed.
    const most = rule === "threshold" ? Math.max(limits.max, 3 * this.chosen.glimp.threshold) : limits.max;
    this.slider.max = Math.max(most, value);
    this.slider.step = limits.step;
    this.slider.value = value;
    this.number.step = limits.step;
    this.number.value = value;
    for (const field of [this.slider, this.number]) field.setAttribute("aria-label", limits.label);
    byId("amount-unit").textContent = limits.unit;
    this.describe(rule);
  }

  describe(rule) {
    const value = this.value(rule);
    const said = rule === "share" ? `${words.percent(value)} of steps` : `above ${words.nats(value)} nats`;
    this.slider.setAttribute("aria-valuetext", said);
  }
}

function ownRule({ policy, threshold, share }) {
  if (policy === "threshold") return `above ${words.nats(threshold)} nats`;
  if (policy === "share" || policy === "random") return `${policy}: ${words.percent(share)} of steps`;
  return policy;
}
