"""From a request to a configuration: what `load` would load, without loading it."""

from pathlib import Path

import pytest

from glimp_local.errors import ConfigError, UsageError
from glimp_local.load import LoadRequest, configured
from glimp_local.models.catalogue import load_catalogue
from glimp_local.settings import ModelSource

QWEN = "qwen3-0.6b-4b"


def test_settings_and_options_of_a_request_count_more_than_the_pair_s_own() -> None:
    request = LoadRequest(QWEN, engine_options={"large": {"threads": 3}}, settings={"share": 0.5})
    name, config = configured(request, load_catalogue())
    assert (name, config.share, config.options("large").threads) == (QWEN, 0.5, 3)
    assert config.options("small").threads == "auto"
    assert config.threshold == load_catalogue().pair(QWEN).threshold


def test_a_pair_of_files_is_named_after_them() -> None:
    name, config = configured(LoadRequest(small=Path("a.gguf"), large=Path("b.gguf")), load_catalogue())
    assert name == "a + b"
    assert (config.small, config.large) == (ModelSource(path="a.gguf"), ModelSource(path="b.gguf"))


def test_options_of_a_model_that_the_pair_does_without_are_left_out() -> None:
    request = LoadRequest(
        large=Path("b.gguf"),
        engine_options={"small": {"threads": 2}, "large": {"threads": 3}},
        settings={"policy": "large"},
    )
    _, config = configured(request, load_catalogue())
    assert config.small is None
    assert config.options("large").threads == 3


def test_one_file_alone_needs_the_policy_that_uses_it_alone() -> None:
    with pytest.raises(UsageError, match="there is only a small model"):
        configured(LoadRequest(small=Path("a.gguf")), load_catalogue())


def test_a_name_and_files_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="not by both"):
        configured(LoadRequest(QWEN, small=Path("a.gguf"), large=Path("b.gguf")), load_catalogue())


def test_a_setting_that_there_is_not_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown key `treshold`"):
        configured(LoadRequest(QWEN, settings={"treshold": 1}), load_catalogue())


def test_another_pair_is_chosen_with_the_same_settings() -> None:
    request = LoadRequest(small=Path("a"), large=Path("b"), models_file=Path("m.toml"), settings={"share": 0.5})
    assert request.named(QWEN) == LoadRequest(QWEN, models_file=Path("m.toml"), settings={"share": 0.5})


def test_changed_settings_leave_the_request_as_it_was() -> None:
    request = LoadRequest(settings={"share": 0.5})
    assert request.changed(share=0.1, policy="share").settings == {"share": 0.1, "policy": "share"}
    assert request.settings == {"share": 0.5}
