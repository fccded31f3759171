"""The flags that choose a pair and its settings."""

from typing import get_args

import click
import pytest

from glimp_local.cli.solve import solve
from glimp_local.routing import PolicyName
from glimp_local.settings import MAX_DRAFT


def test_the_flags_that_import_nothing_know_what_the_settings_know() -> None:
    offered = {option.name: option for option in solve.params}
    assert isinstance(offered["policy"].type, click.Choice)
    assert tuple(offered["policy"].type.choices) == get_args(PolicyName)
    draft = offered["draft"].type
    assert draft.convert(str(MAX_DRAFT), None, None) == MAX_DRAFT
    with pytest.raises(click.BadParameter, match=f"from 1 to {MAX_DRAFT}"):
        draft.convert(str(MAX_DRAFT + 1), None, None)
