"""What a model was fed and wrote in one turn, and the time that took."""

from __future__ import annotations

from glimp_local.engines.llama.drafting import Drafts
from glimp_local.engines.llama.engine import Engine
from glimp_local.engines.protocol import Fed
from glimp_local.runs import ModelStats


class Account:
    """The account of one turn. `prompt_tokens` is the length of its prompt, with which the transcript begins."""

    def __init__(self, engine: Engine, prompt_tokens: int) -> None:
        self.tokens = 0
        """Tokens it wrote."""
        self.decode_seconds = self.sample_seconds = self.glimpse_seconds = 0.0
        self.missed = Fed()
        """What it was fed that was neither the prompt nor its own."""
        self._engine = engine
        self._prompt_tokens = prompt_tokens
        self._prompt = Fed()
        self._along_before = self._along()

    def _along(self) -> Fed:
        return Fed(self._engine.ahead.tokens, self._engine.ahead.seconds)

    def add(self, fed: int, seconds: float, *, own: int) -> None:
        """Count the prompt, the model's own last token (`own` is 1 if it was among them) and what it missed apart."""
        prompt = min(fed, max(0, self._prompt_tokens - (len(self._engine.ids) - fed)))
        missed = max(0, fed - prompt - own)
        if own and missed == prompt == 0:
            self.decode_seconds += seconds
        elif missed == prompt == 0:  # at most it had to wait for what was read ahead
            self.missed += Fed(0, seconds)
        else:
            per_token = seconds / (prompt + missed)
            self._prompt += Fed(prompt, per_token * prompt)
            self.missed += Fed(missed, per_token * missed)

    def stats(self, name: str, drafts: Drafts | None) -> ModelStats:
        """Return it as a record; the steps are the session's to count."""
        along = self._along() - self._along_before
        draft_seconds = 0.0 if drafts is None else drafts.seconds
        busy = self.decode_seconds + self.sample_seconds + draft_seconds
        return ModelStats(
            name=name,
            steps=0,
            tokens=self.tokens,
            prefill_tokens=self._prompt.tokens,
            prefill_seconds=self._prompt.seconds,
            catch_up_tokens=self.missed.tokens,
            catch_up_seconds=self.missed.seconds,
            along_tokens=along.tokens,
            along_seconds=along.seconds,
            decode_seconds=self.decode_seconds,
            sample_seconds=self.sample_seconds,
            drafted=0 if drafts is None else drafts.drafted,
            draft_accepted=0 if drafts is None else drafts.accepted,
            draft_seconds=draft_seconds,
            draft_speedup=None if drafts is None else drafts.speedup,
            tokens_per_second=self.tokens / busy if busy else 0.0,
        )
