"""The thread that owns the models, and the way between it and the interface.

The interface calls `load`, `ask`, `redo` and so on, which return at once; the thread does them one after another. What
it has to tell is collected and fetched with `drain`; `wake` is called (in the thread) when there is something new to
fetch. So a slow screen never holds up a token, and a fast model never floods the screen.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from glimp_local import crash_notes
from glimp_local.errors import DeclinedError, GlimpError, UsageError
from glimp_local.events import AnyEvent, Finished, Fold, Text
from glimp_local.load import LoadRequest, load
from glimp_local.messages import Message
from glimp_local.pair import Pair
from glimp_local.records import conversations, saved
from glimp_local.records.session_log import SessionLog
from glimp_local.routing import Model
from glimp_local.session.session import Session
from glimp_local.settings import RunSettings
from glimp_local.tui.kept_caches import KeptCaches
from glimp_local.tui.settings_form import decides_otherwise, in_force
from glimp_local.tui.told import Failed, Loaded, Loading, Opened, Saving, Task, Told

_CLOSING_SECONDS = 0.1
"""So often what is told while the chat is left is looked at."""


class Driver:
    """Runs a session in a thread of its own.

    `system` is the system message of new conversations, in place of the pair's own; one that `log` restores, or that
    is opened, has its own.
    """

    def __init__(self, wake: Callable[[], object], log: SessionLog, system: str | None = None) -> None:
        self._wake = wake
        self._log = log
        self._told: list[Told] = []
        self._lock = threading.Lock()
        self._pair_lock = threading.Lock()  # held while a pair is closed, or asked by the interface's thread
        self._tasks: queue.SimpleQueue[tuple[Callable[[], None], Task] | None] = queue.SimpleQueue()
        self._cancel = threading.Event()
        self._pair: Pair | None = None
        self._system = system
        self._wanted: RunSettings | None = None  # what the conversation is to be continued with
        self._kept: RunSettings | None = None  # what new conversations begin with; None for the pair's as it was loaded
        self._fold = Fold(log.going_on.tree.copy() if log.going_on else None)
        """The conversation: what a pair takes over when it is loaded."""
        self._caches = KeptCaches(self._tell)
        self._declined: set[str] = set()
        self._is_saved = True
        """As it was reported last: was everything written to the disk?"""
        self._files: Mapping[Model, Path] = {}
        self._urls: Mapping[Model, str] = {}
        """Of the pair, if it was given by these."""
        self.session: Session | None = None
        """None until a pair is loaded."""
        self._thread = threading.Thread(target=self._work, name="glimp engines", daemon=True)

    # Called by the interface.

    def start(self) -> None:
        """Begin to work."""
        self._note_kept()
        self._thread.start()

    def load(self, request: LoadRequest, *, seed: int | None = None) -> None:
        """Load a pair in place of the one there is; the conversation continues with it."""
        self._do(lambda: self._load(request, seed), "load")

    def ask(self, question: str, *, instead: str | None = None, anyway: bool = False) -> None:
        """Ask a question, or ask it instead of that of a turn, by the id of its version.

        What the pair is clearly not for is declined, unless it comes a second time, or `anyway`.
        """

        def start() -> None:
            if not anyway:
                self._decline(question)
            self._run(lambda session: session.ask(question, instead=instead or False))

        self._do(start, "run")

    def begin_new(self) -> None:
        """Leave the conversation as it is saved, and begin another."""
        self._do(self._begin_new)

    def open(self, path: Path) -> None:
        """Leave the conversation as it is saved, and continue another saved one."""
        self._do(lambda: self._open(path))

    def delete(self, path: Path) -> None:
        """Remove a conversation from the disk; if it is the one that is led, begin another."""
        self._do(lambda: self._delete(path))

    @property
    def settings(self) -> RunSettings | None:
        """The settings of the next question, with the policy as it is now; None until a pair is loaded."""
        if self.session is None:
            return None
        return in_force(self._wanted or self.session.settings, self.session.policy)

    @property
    def system(self) -> str:
        """The system message of a new conversation; empty for none."""
        return (self._pair.config.system if self._pair else "") if self._system is None else self._system

    def configure(self, settings: RunSettings, system: str | None, *, kept: bool) -> None:
        """Let settings count: their policy from the next step, all else from the next question.

        `system` is the system message of new conversations, and of this one if nothing was asked in it; None leaves it
        as it is. `kept` settings are those of new conversations, too. Raises UsageError for a policy whose model is not
        loaded.
        """
        session, pair, before = self.session, self._pair, self.settings
        if session is None or pair is None or before is None:
            return
        if decides_otherwise(before, settings):
            session.policy = pair.policy(settings, session.seed)
        self._wanted = settings
        if system is not None:
            self._system = system
        if kept:
            self._kept = settings
        self._put(lambda: self._configure(settings))  # once the run is over; a cancel that is due stays due

    def redo(self, turn: str, index: int) -> None:
        """Have a step of a version of a turn written again by the other model, and continue from there."""
        self._do(lambda: self._run(lambda session: session.redo(index, turn=turn)), "run")

    def select(self, turn: str) -> None:
        """Go to a version of a turn, and continue behind it."""
        self._do(lambda: self._select(turn))

    def resume(self) -> None:
        """Go on with a turn that was stopped."""
        self._do(lambda: self._run(lambda session: session.resume()), "run")

    def _do(self, do: Callable[[], None], task: Task = "other") -> None:
        # Here and not where the task begins: a cancel that comes in between is meant for it.
        self._cancel.clear()
        self._put(do, task)

    def _put(self, do: Callable[[], None], task: Task = "other") -> None:
        self._tasks.put((do, task))

    def cancel(self) -> None:
        """Stop what is at work, before its next token, or what was asked for last."""
        self._cancel.set()

    def drain(self) -> list[Told]:
        """Fetch what was told since the last time."""
        with self._lock:
            told, self._told = self._told, []
        return told

    @property
    def log(self) -> SessionLog:
        """Where the conversation is saved."""
        return self._log

    def measure(self, text: str) -> tuple[int, int] | None:
        """Return the tokens a text has and the most a conversation may have, for the model with less room for it.

        None while there is no model whose tokens are known.
        """
        with self._pair_lock:
            if self._pair is None:
                return None
            backends = [backend for backend in self._pair.backends.values() if backend.vocabulary is not None]
            sizes = [(len(b.vocabulary.tokenize(text)), b.context) for b in backends if b.vocabulary is not None]
        return max(sizes, key=lambda size: size[0] / size[1], default=None)

    @property
    def has_pair(self) -> bool:
        """Is a pair loaded? The conversation may still be too long for it, and then there is no session."""
        return self._pair is not None

    @property
    def memory_bytes(self) -> int:
        """Memory this process holds, without what is only mapped."""
        return int(psutil.Process().memory_info().rss)

    def close(self, hear: Callable[[Told], object] = lambda _: None) -> None:
        """Stop, keep the caches, free the models, end the thread; `hear` gets what is told meanwhile."""
        self.drain()
        self._cancel.set()
        self._put(lambda: self._caches.keep(self._pair, self._log))
        self._tasks.put(None)
        while self._thread.is_alive():
            self._thread.join(_CLOSING_SECONDS)
            for told in self.drain():
                hear(told)
        self._log.close()

    # In the thread.

    def _work(self) -> None:
        while (asked := self._tasks.get()) is not None:
            do, task = asked
            try:
                do()
            except GlimpError as error:
                self._tell(Failed(error, task))
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not take the conversation with it
                what = f"unexpected error ({type(error).__name__}: {error})"
                hint = "your conversation is saved; ask again, or reload the pair"
                self._tell(Failed(GlimpError(what, hint=hint), task))
        self._close_pair()

    def _close_pair(self) -> None:
        with self._pair_lock:
            if self._pair is not None:
                self._pair.close()
                self._pair = None

    def _tell(self, what: Told) -> None:
        if isinstance(what, AnyEvent):
            is_new = not self._log.is_written
            self._log.write(what)  # before anybody sees it
            if not isinstance(what, Text):
                self._fold.take(what)
            if is_new:
                self._note_kept()
            if (self._log.error is None) != self._is_saved:
                self._is_saved = not self._is_saved
                self._tell(Saving(self._log.path, self._log.error))
        with self._lock:
            first = not self._told
            last = self._told[-1] if self._told else None
            if isinstance(what, Text) and isinstance(last, Text) and what.index == last.index:
                self._told[-1] = Text(last.index, last.part, last.text + what.text)
            else:
                self._told.append(what)
        if first:
            self._wake()

    def _note_kept(self) -> None:
        if self._log.is_written:
            crash_notes.note(
                "kept",
                f"the conversation is saved up to its last finished step: glimp chat --resume {self._log.path.stem}",
            )

    def _load(self, request: LoadRequest, seed: int | None) -> None:
        self._caches.keep(self._pair, self._log)
        self.session = None
        self._close_pair()
        self._pair = load(
            request,
            cancel=self._cancel,
            on_progress=lambda model, path, fraction: self._tell(Loading(model, path, fraction)),
        )
        self._files, self._urls = request.files, request.urls
        self._caches.take_up(self._pair, self._log)
        self._wanted = self._kept = None
        session = self._new_session(self._pair, seed=seed, history=self._first_messages)
        session.restore(self._fold.tree)
        self.session = session
        self._log.begin(self._pair.name, self._files, self._urls)
        self._tell(Loaded(self._pair))

    @property
    def _first_messages(self) -> list[Message]:
        """What a conversation begins with."""
        return [Message("system", self.system)] if self.system else []

    def _configure(self, settings: RunSettings) -> None:
        session, pair = self.session, self._pair
        if session is None or pair is None:
            return
        # All models that are loaded stay in the conversation, whatever the policy: it may change with any step.
        policy, before = session.policy, session.settings
        fixed = {key: getattr(before, key) for key in ("policy", "threshold", "share")}
        if (wanted := msgspec.structs.replace(settings, **fixed)) != before:
            session.settings = wanted
            session.policy = policy
        if session.last_turn is None and not has_begun(session.history):
            session.history = self._first_messages

    def _begin_new(self) -> None:
        if self._pair is None:
            return
        self._check_saved("a new one")
        self._caches.keep(self._pair, self._log)
        self._leave(self._pair)

    def _leave(self, pair: Pair) -> None:
        """Lead a new conversation from now on."""
        self._log.close()
        self._log, self._is_saved = SessionLog(), True
        self._log.begin(pair.name, self._files, self._urls)
        self._fold = Fold()
        self._begin_with(pair, self._new_session(pair, history=self._first_messages))
        self._tell(Loaded(pair, is_new=True))

    def _new_session(self, pair: Pair, *, seed: int | None = None, history: Iterable[Message] = ()) -> Session:
        return Session(pair, seed=seed, history=history, cancel=self._cancel, may_redo=True)

    def _begin_with(self, pair: Pair, session: Session) -> None:
        """Let another conversation be the one that is led, with the pair's own settings or those kept for it."""
        self.session = session
        self._wanted = kept = self._kept
        if kept is not None:
            self._configure(kept)
            session.policy = pair.policy(kept, session.seed)

    def _check_saved(self, another: str) -> None:
        """Raise UsageError if the conversation would be lost by leaving it."""
        if self._log.error is not None:
            hint = "make room on the disk and ask something here, or leave the chat"
            raise UsageError(f"this conversation is not on the disk yet: {another} would lose it", hint=hint)

    def _open(self, path: Path) -> None:
        """Continue another conversation; if that cannot be done, the one there is stays."""
        self._check_saved("another one")
        found = saved.read(path)
        log = SessionLog(found)
        try:
            session = None
            if self._pair is not None:
                session = self._new_session(self._pair)
                session.restore(found.tree)  # it may not fit into this pair's context
        except BaseException:
            log.close()
            raise
        self._caches.keep(self._pair, self._log)
        self._log.close()
        self._log, self._is_saved = log, True
        self._fold = Fold(found.tree.copy())
        if self._pair is not None and session is not None:
            self._begin_with(self._pair, session)
        self._note_kept()
        self._tell(Opened(found))
        if self._pair is not None:
            log.begin(self._pair.name, self._files, self._urls)
            self._caches.take_up(self._pair, self._log)
            self._tell(Loaded(self._pair))

    def _delete(self, path: Path) -> None:
        if self._log.path == path and self._pair is not None:
            self._caches.are_new = False  # they go with it
            self._leave(self._pair)
        if self._log.path != path:
            conversations.remove(path)

    def _run(self, start: Callable[[Session], Generator[AnyEvent, None, None]]) -> None:
        if self.session is None or self._pair is None:
            return
        self._caches.are_new = True
        for event in start(self.session):
            self._tell(event)
            if isinstance(event, Finished) and (history := self._pair.entropies()) is not None:
                history.add(event.stats.entropies_nats)

    def _select(self, turn: str) -> None:
        if self.session is not None:
            self._tell(self.session.select(turn))

    def _decline(self, question: str) -> None:
        """Raise DeclinedError for a question that the pair is not for, once: whoever sends it again insists."""
        if self._pair is None or question in self._declined:
            return
        objection = self._pair.objection(question)
        if objection is not None and objection.declines:
            self._declined.add(question)
            raise DeclinedError(
                f"{objection.words}. {self._pair.can}. Enter asks it all the same; /pair has pairs for anything."
            )


def has_begun(messages: Sequence[Message]) -> bool:
    """Was anything asked in a conversation?"""
    return any(message.role != "system" for message in messages)
