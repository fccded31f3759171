"""Memory: what a process holds at its peak against the files and caches it cannot do without, and whether it grows."""

from __future__ import annotations

from benchmarks.apart import ask
from benchmarks.document import table
from benchmarks.resident import Asked, Resident
from benchmarks.setup import BUILTIN, Files, Setup, with_builtin

HEADING = "Memory: peak and growth"

_ONCE = 3
"""Solves of the pairs that are not watched for growth."""


def measure(setup: Setup) -> list[str]:
    """Measure the built-in pair, and the peak of that of two vocabularies where it is there."""
    chosen, missing = with_builtin(setup.two_vocabularies)
    found = [
        (files, watch(setup, files, setup.solves if files is BUILTIN else min(_ONCE, setup.solves))) for files in chosen
    ]
    peaks = [[files.name, *_peak(resident)] for files, resident in found]
    resident = found[0][1]
    grown = (resident.last - resident.warm) / 2**20
    growth = (
        f"{resident.solves} solves in one process ({found[0][0].name}): {resident.warm / 2**20:,.1f} MiB after the "
        f"first ones, {resident.last / 2**20:,.1f} MiB after the last: {grown:+.1f} MiB."
    )
    columns = (
        "pair",
        "peak",
        "both files",
        "both KV caches",
        "peak to these",
        "mapped",
        "own weights",
        "compute",
        "Python",
        "unexplained",
    )
    about = (
        "MiB of a process of its own, caches and buffers as llama.cpp tells them; what is on a GPU is not among them. "
        "`mapped` are pages of the files; `own weights` are in memory of their own, because a file was read or its "
        "weights were copied into the order in which the processor computes them fastest."
    )
    return [table(columns, peaks), about, growth, *missing]


def watch(setup: Setup, files: Files, solves: int) -> Resident:
    """Have a process of its own load a pair and solve; raises MissingError with what it said where it failed."""
    return ask("benchmarks.resident", Asked(setup, files, solves), Resident)


def _peak(resident: Resident) -> list[str]:
    needed = resident.files + resident.kv_caches
    taken = [resident.mapped, resident.weights, resident.compute, resident.before]
    return [
        *_mebibytes(resident.peak, resident.files, resident.kv_caches),
        f"{resident.peak / needed:.2f}",
        *_mebibytes(*taken, resident.peak - resident.kv_caches - sum(taken)),
    ]


def _mebibytes(*sizes: int) -> list[str]:
    return [f"{size / 2**20:,.1f}" for size in sizes]
