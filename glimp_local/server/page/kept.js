// The conversation of this tab, kept so that a reload shows it again.

import { keep, recall } from "./dom.js";
import { isOver } from "./reply.js";

const CONVERSATION = "glimp.conversation";

/** Keep the turns; where there is no room for all, thoughts go first. Says whether anything had to be left out. */
export function save(turns) {
  if (turns.length === 0) return keep(CONVERSATION, null);
  if (keep(CONVERSATION, JSON.stringify(turns))) return true;
  const brief = turns.map((turn) => ({ ...turn, steps: turn.steps.filter((step) => step.part === "answer") }));
  keep(CONVERSATION, null); // what was kept is older, and takes the room
  for (let from = 0; from < brief.length; from += 1) {
    if (keep(CONVERSATION, JSON.stringify(brief.slice(from)))) break;
  }
  return false;
}

/** Return the turns that were kept. One that was not over has been stopped by leaving the page. */
export function load() {
  try {
    const turns = JSON.parse(recall(CONVERSATION) ?? "[]");
    return turns.map((turn) => (isOver(turn) ? turn : { ...turn, state: "stopped" }));
  } catch {
    return []; // not ours, or of another version of the page
  }
}
