// One question and its reply as plain data, put together from the chunks of a stream. Knows nothing of the page.

/** Begin a turn. */
export function begin(question, model) {
  return {
    question,
    model,
    id: null,
    state: "waiting", // "reading", "thinking", "answering", then "done", "stopped" or "failed"
    steps: [],
    notices: [],
    stats: null,
    perSecond: null,
    finish: null,
    thoughtEnd: null,
    error: null,
  };
}

export const isOver = ({ state }) => state === "done" || state === "stopped" || state === "failed";

/** Add a chunk of the stream to a turn; null is a sign of life without content. */
export function add(turn, chunk) {
  if (turn.state === "waiting") turn.state = "reading";
  if (chunk === null) return;
  turn.id ??= chunk.id;
  const { delta = {}, finish_reason: finish = null } = chunk.choices?.[0] ?? {};
  const glimp = chunk.glimp ?? {};
  if (glimp.step !== undefined) beginStep(turn, glimp);
  if (delta.reasoning_content) write(turn, "thought", delta.reasoning_content);
  if (delta.content) write(turn, "answer", delta.content);
  if (finish === null) return;
  turn.state = "done";
  turn.stats = glimp.stats ?? null;
  turn.notices = glimp.notices ?? [];
  turn.finish = glimp.finish_reason ?? null;
  turn.thoughtEnd = glimp.thought_end ?? null;
  turn.perSecond = chunk.timings?.predicted_per_second ?? null;
}

/** A pair that does not think has its whole reply routed: that is the answer here, step by step. */
function beginStep(turn, { part: of, model, reason, entropy_nats: entropy, threshold_nats: threshold }) {
  const part = of === "thought" ? "thought" : "answer";
  turn.steps.push({ part, model, reason, entropy: entropy ?? null, threshold: threshold ?? null, text: "" });
  turn.state = part === "answer" ? "answering" : "thinking";
}

function write(turn, part, text) {
  if (turn.steps.at(-1)?.part !== part) beginStep(turn, { part, model: "unknown", reason: "" });
  turn.steps.at(-1).text += text;
}

/** The steps of one part, "thought" or "answer". */
export const stepsOf = (turn, part) => turn.steps.filter((step) => step.part === part);

/** The text of the answer, as far as it was written. */
export const answerOf = (turn) => stepsOf(turn, "answer").map((step) => step.text).join("").trim();

/** What the model is told of earlier turns: questions and answers, no thoughts, and nothing of turns without an answer. */
export function history(turns) {
  return turns
    .filter((turn) => answerOf(turn) !== "")
    .flatMap((turn) => [
      { role: "user", content: turn.question },
      { role: "assistant", content: answerOf(turn) },
    ]);
}
