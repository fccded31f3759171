"""Who writes a step, and why a step was written by the model that wrote it, in words."""

from __future__ import annotations

from glimp_local import units
from glimp_local.routing import Policy, Reason, Share, Threshold
from glimp_local.runs import Decided, Step

_OTHERS: dict[Reason, str] = {
    "confident": "sure, so the small model wrote it",
    "uncertain": "unsure, so the large model wrote it",
    "policy": "the policy has one model write everything",
    "random": "drawn by chance",
    "loop": "the step before went in circles, so the large model took over",
    "user": "you chose this model for it",
    "redo": "written again, as you asked",
    "answer": "this model writes the answers (answer_by)",
    "failure": "the large model failed, so the small model continues (on_failure)",
}


def deciding(policy: Policy) -> str:
    """Return who writes a step by a policy, in a few words."""
    match policy:
        case Threshold(threshold_nats=nats):
            return f"large above {nats} nats"
        case Share(share=share, threshold_nats=nats):
            return f"large for {units.share(share)}: above {nats:.2f} nats"
    return f"policy: {policy.name}"


def why(decided: Decided) -> str:
    """Return a sentence on who wrote a step and why, and what the small model saw at its start, as far as known."""
    sentences = [f"{_place(decided)} by the {decided.model} model: {_reason(decided)}."]
    first, margin = decided.top1_probability, decided.margin
    if first is not None and margin is not None:
        sentences.append(
            f"The small model's likeliest first token had {units.share(first)}, the next {units.share(first - margin)}."
        )
    if isinstance(decided, Step) and decided.end == "repetition":
        sentences.append("It repeated itself and was stopped.")
    return " ".join(sentences)


def _place(decided: Decided) -> str:
    return "The answer" if decided.part == "answer" else f"Step {decided.index + 1}"


def _reason(decided: Decided) -> str:
    entropy, threshold = decided.entropy_nats, decided.threshold_nats
    reason = _OTHERS[decided.reason]
    if entropy is None:
        return reason
    if threshold is None:
        return f"{reason} ({entropy:.2f} nats at its start)"
    side = "above" if entropy > threshold else "not above"
    return f"{entropy:.2f} nats, {side} {threshold:.2f}: {reason}"
