"""The servers that models.toml names, asked what they run: whether the pairs with a model there can be used now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glimp_local.errors import ConfigError
from glimp_local.machine.addresses import problem_of
from glimp_local.machine.doctor.finding import Finding, Judged
from glimp_local.models.catalogue import load_catalogue

if TYPE_CHECKING:
    from glimp_local.machine.servers import PairServers, ServerState


def servers(models_file: Path | None, default: str | None) -> Judged[dict[str, PairServers]]:
    """Connect to the servers of all pairs, at the same time; of the default pair each has to answer."""
    try:
        pairs = load_catalogue(models_file).pairs
    except ConfigError:  # said of models.toml
        return {}, []
    wanted = {name: config for name, config in pairs.items() if config.remote_models}
    if not wanted:
        return {}, []
    from glimp_local.machine.servers import look_at_all  # noqa: PLC0415 - who has none does without

    found = look_at_all(wanted)
    findings = []
    for name, answered in found.items():
        is_needed = name == default or problem_of(pairs[name]) is not None  # else the server may be off for a reason
        for model, state in answered.states.items():
            findings += _of_one(f"{name}: {model} on {state.place}", state, is_needed=is_needed)
        if (said := answered.vocabulary_in_words()) is not None and answered.is_ready:
            findings.append(Finding("servers", "fine", f"{name}: {said[0].lower()}{said[1:]}"))
    return found, findings


def _of_one(what: str, state: ServerState, *, is_needed: bool) -> list[Finding]:
    if not state.is_ready:
        return [Finding("servers", "needs doing" if is_needed else "to know", f"{what}: {state.problem}", state.hint)]
    findings = [Finding("servers", "fine", f"{what}: {state.in_words()}")]
    if state.warning is not None:
        findings.append(Finding("servers", "to know", state.warning))
    return findings


def hosts(found: dict[str, PairServers]) -> list[str]:
    """Return the names of the machines that the servers are on."""
    states = [state for answered in found.values() for state in answered.states.values()]
    return sorted({state.place.rpartition(":")[0].strip("[]") for state in states} - {""})
