"""The machine's rates for a command that forecasts, and the word that goes before measuring them."""

from __future__ import annotations

import click

from glimp_local.engines.llama.rates import Rates


def measured_rates() -> Rates:
    """Return the rates, which say so on stderr before they are measured."""
    return Rates(on_measuring=lambda: click.echo("Measuring this machine, once: some seconds.", err=True))
