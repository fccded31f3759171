"""models.toml: what is in the packaged one, how the user's lies over it, and what a mistake in it is called."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimp_local.errors import ConfigError, UsageError
from glimp_local.models.catalogue import load_catalogue, merge, override
from glimp_local.paths import packaged_file, user_file
from glimp_local.settings import PairConfig


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "models.toml"


def test_the_packaged_pairs_are_complete_and_pinned() -> None:
    catalogue = load_catalogue()
    assert {"qwen3-0.6b-4b", "qwen3-1.7b-8b", "qwen3-4b-32b", "qwen3-4b-r1-32b"} < set(catalogue.pairs)
    for name, pair in catalogue.pairs.items():
        for source in (pair.small, pair.large):
            assert source is not None
            if name == "builtin":
                assert Path(str(source.path)).exists()
                continue
            assert source.revision is not None
            assert len(source.revision) == 40
            assert source.sha256 is not None
            assert source.size_bytes is not None


def test_the_same_file_is_pinned_the_same_in_every_pair() -> None:
    sources = [
        source
        for pair in load_catalogue().pairs.values()
        for source in (pair.small, pair.large)
        if source and source.repo
    ]
    assert len({(source.repo, source.file) for source in sources}) == len({msgspec.json.encode(s) for s in sources})


def test_the_user_s_file_adds_pairs_and_changes_single_keys(home: Path) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(
        'default = "mine"\n[pairs.mine]\nsmall = {path = "a.gguf"}\nlarge = {path = "~/b.gguf"}\n'
        '[pairs."qwen3-0.6b-4b"]\nthreshold = 0.7\n[pairs."qwen3-0.6b-4b".small.options]\nthreads = 3\n'
    )
    catalogue = load_catalogue()
    assert catalogue.default == "mine"
    mine = catalogue.pair("mine")
    assert mine.small is not None
    assert mine.large is not None
    assert mine.small.path == str(user_file().parent / "a.gguf")
    assert mine.large.path == str(home / "b.gguf")
    qwen = catalogue.pair("qwen3-0.6b-4b")
    assert qwen.threshold == 0.7
    assert qwen.max_thought == PairConfig().max_thought
    assert qwen.small is not None
    assert qwen.small.repo == "Qwen/Qwen3-0.6B-GGUF"
    assert qwen.small.options.threads == 3


def test_a_path_takes_the_place_of_a_repository(toml: Path) -> None:
    toml.write_text('[pairs."qwen3-0.6b-4b"]\nsmall = {path = "x.gguf"}')
    pair = load_catalogue(toml).pair("qwen3-0.6b-4b")
    assert pair.small is not None
    assert (pair.small.repo, pair.small.path) == (None, str(toml.parent / "x.gguf"))


def test_a_pair_of_one_model_is_enough_for_the_policy_that_uses_it_alone(toml: Path) -> None:
    toml.write_text('[pairs.a]\npolicy = "small"\nsmall = {path = "x.gguf"}')
    assert load_catalogue(toml).pair("a").large is None


def test_another_file_of_the_same_repository_makes_its_pins_void(toml: Path) -> None:
    toml.write_text('[pairs."qwen3-0.6b-4b".large]\nfile = "Qwen3-4B-Q8_0.gguf"\noptions = {threads = 3}')
    pair = load_catalogue(toml).pair("qwen3-0.6b-4b")
    assert pair.large is not None
    assert (pair.large.repo, pair.large.file) == ("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q8_0.gguf")
    assert (pair.large.size_bytes, pair.large.sha256, pair.large.options.threads) == (None, None, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pairs.a]\nthreads_batch = 1", "unknown key `threads_batch`: it belongs into [pairs.NAME.small.options]"),
        ('[pairs.a]\ndraft = "4"', 'pairs.a.draft: expected "auto", "off" or a number from 1 to 16'),
        ("[pairs.a]\ndraft = 17", 'pairs.a.draft: expected "auto", "off" or a number from 1 to 16'),
        ("[pairs.a]\ntreshold = 1", "pairs.a: unknown key `treshold` (did you mean 'threshold'?)"),
        ('[pairs.a]\nthreshold = "high"', "pairs.a.threshold: expected `float`, got `str`"),
        ("[pairs.a]\nthreshold = nan", "pairs.a.threshold: expected `float` >= 0.0"),
        ("[pairs.a]\nshare = 1.5", "pairs.a.share: expected `float` <= 1.0"),
        ("[pairs.a]\nsampling = {temperature = -1}", "pairs.a.sampling.temperature: expected `float` >= 0.0"),
        ("[pairs.a.small.options]\ngpu_layer = 3", "pairs.a.small.options: unknown key `gpu_layer`"),
        (
            '[pairs.a]\nsmall = {path = "x"}',
            "pairs.a.large names no model: expected `path`, `repo` and `file`, or `url`",
        ),
        ('[pairs.a]\npolicy = "smal"', "pairs.a.policy: invalid enum value 'smal'"),
        ('[pairs.a]\nthinking = {open = "", close = ""}', "pairs.a.thinking.open: expected `str` of length >= 1"),
        (
            "[pairs.a]\nsampling = {presence_penalty = nan}",
            "a.sampling.presence_penalty: expected `float` >= -100",
        ),
        ('[pairs.a.small]\npath = "~nobody-here/x.gguf"', "pairs.a: path = '~nobody-here/x.gguf'"),
        ('[pairs.a]\nthinking = "yes"', "pairs.a.thinking: invalid enum value 'yes'; expected one of: auto, none"),
        ('[pairs.a.small.options]\nload_mode = "fast"', "'fast'; expected one of: auto, read, mmap, mlock"),
        (
            '[pairs.a.small.options]\nflash_attention = "off"\ncache_type = "q8_0"',
            'small.options: cache_type "q8_0" needs flash attention: expected flash_attention "auto" or "on", or',
        ),
        (
            '[pairs.a.large.options]\ncache_type = "q8"',
            "invalid enum value 'q8'; expected one of: auto, f16, q8_0, q4_0",
        ),
        ("[pairs.a.small.options]\nthreads = 0", 'small.options.threads: expected "auto" or a number from 1 to 512'),
        ("[pairs.a.large.options]\nthreads_batch = 513", 'threads_batch: expected "auto" or a number from 1 to 512'),
        ("default = 3", "default: expected `str | null`, got `int`"),
        ('default = "qwen3-0.6b-4"', "default = 'qwen3-0.6b-4' is no pair (did you mean 'qwen3-0.6b-4b'?)"),
        ("pair = 3", "unknown key `pair` (did you mean 'pairs'?)"),
        ("[pairs.a", "not valid TOML"),
        ("a = " + "[" * 100_000, "its tables or lists are nested too deep"),
        ("a = " + "{a = " * 100_000, "its tables or lists are nested too deep"),
        ("[pairs.a]\n" + ".".join("a" * 100_000) + " = 1", "line 2 has more than 1,000 dots"),
        ("[pairs." + ".".join("a" * 900) + "]\n" + ".".join("b" * 900) + " = 1", "unknown key `a`"),
        ("[pairs.a]\nthreshold = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ('[pairs.a]\nchat_template = "a\\u0000"', "no path holds a null character"),
        ("#" * 1_000_001, "is larger than 1.0 MB"),
        ("pairs = 3", "pairs: expected `object`, got `int`"),
        ("[pairs]\na = 3", "pairs[...]: expected `object`, got `int`"),
        ("[pairs.a]\nsmall = 3", "pairs.a.small: expected `object | null`, got `int`"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_was_expected(toml: Path, text: str, message: str) -> None:
    toml.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_catalogue(toml)
    assert str(toml) in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_no_text_is_an_error(toml: Path) -> None:
    toml.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_catalogue(toml)


def test_a_byte_order_mark_is_no_mistake(toml: Path) -> None:
    toml.write_bytes(b'\xef\xbb\xbf[pairs.mine]\nsmall.path = "a"\nlarge.path = "b"\n')
    assert "mine" in load_catalogue(toml).pairs


def test_a_device_that_never_ends_is_no_models_toml() -> None:
    with pytest.raises(ConfigError, match=r"/dev/zero is larger than 1.0 MB") as caught:
        load_catalogue(Path("/dev/zero"))
    assert "name another one" in str(caught.value.hint)


def test_a_missing_models_file_is_an_error(toml: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_catalogue(toml)


def test_an_unknown_pair_names_the_close_one_and_lists_the_others() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'qwen3-0.6b-4b'") as caught:
        load_catalogue().pair("qwen3-0.6-4b")
    assert "qwen3-4b-32b" in str(caught.value.hint)


def test_a_default_that_is_no_pair_lists_those_there_are(toml: Path) -> None:
    toml.write_text('default = "nope"\n')
    with pytest.raises(ConfigError, match="default = 'nope' is no pair") as caught:
        load_catalogue(toml)
    assert str(caught.value.hint).startswith("known pairs: builtin, qwen3-0.6b-30b-a3b, ")


def test_the_packaged_file_is_the_one_at_the_top_of_a_checkout() -> None:
    assert packaged_file().read_text().startswith("# The pairs glimp knows.")


def test_settings_are_checked_like_the_file() -> None:
    config = override(PairConfig(), {"sampling": {"temperature": 0}, "share": 0.5})
    assert (config.sampling.temperature, config.sampling.top_k, config.share) == (0, PairConfig().sampling.top_k, 0.5)
    with pytest.raises(UsageError, match="treshold"):
        override(PairConfig(), {"treshold": 1})
    with pytest.raises(UsageError, match="threshold"):
        override(PairConfig(), {"threshold": float("nan")})


tables = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
table = st.dictionaries(st.sampled_from("abc"), tables, max_size=3)


@given(table, table)
def test_merging_keeps_what_is_above_and_adds_what_is_only_below(
    below: dict[str, object], above: dict[str, object]
) -> None:
    merged = merge(below, above)
    assert merged.keys() == below.keys() | above.keys()
    assert merge(merged, above) == merged
    for key in below.keys() - above.keys():
        assert merged[key] == below[key]
    for key, value in above.items():
        if not isinstance(value, dict):
            assert merged[key] == value
