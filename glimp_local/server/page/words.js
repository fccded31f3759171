// Numbers and reasons in words.

const REASONS = {
  confident: "the small model is sure",
  uncertain: "the small model is unsure",
  policy: "one model writes everything",
  random: "drawn by chance",
  loop: "the step before went in circles",
  user: "you chose this model",
  redo: "written again",
  answer: "this model writes the answers",
};

const FINISHED = {
  answer_budget: "The answer was cut off: its tokens are spent.",
  context_full: "The answer was cut off: the context is full. A new chat has room again.",
  loop: "The answer went in circles and was stopped.",
};

const THOUGHT_ENDED = {
  end_of_generation: "the model stopped in the middle of it",
  budget: "cut off: its tokens are spent",
  context_full: "cut off: the context is nearly full",
  loop: "ended: it went in circles",
  user: "ended by you",
};

/** Say why a model writes a step. */
export const reason = (step) => REASONS[step.reason] ?? step.reason;

/** Say why a reply ended before its time; empty if it did not. */
export const finished = (finish) => FINISHED[finish] ?? "";

/** Say what ended a thought before its time; empty if nothing did. */
export const thoughtEnded = (end) => THOUGHT_ENDED[end] ?? "";

export const nats = (value) => value.toFixed(2);

/** "0.02 ≤ 1.00 nats", or as much of it as is known; empty if nothing is. */
export function comparison({ entropy, threshold }) {
  if (entropy === null) return "";
  if (threshold === null) return `${nats(entropy)} nats`;
  return `${nats(entropy)} ${entropy > threshold ? ">" : "≤"} ${nats(threshold)} nats`;
}

/** Begin a text with a capital letter, and end it with a full stop if it has no end of its own. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.…!?)]$/.test(text) ? "" : "."}`;

/** "1 step", "1,200 steps". */
export const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;

export function rate(perSecond) {
  return perSecond.toLocaleString("en", { maximumFractionDigits: perSecond < 10 ? 1 : 0 });
}

/** "0.31 s", "12 s", "3 min 20 s". */
export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 1 ? 2 : seconds < 10 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
