"""Every setting: its type, its limits, its default and its explanation. This is their one home.

Knows nothing about llama.cpp's functions. A value comes from, in rising order: the default in the classes below, the
packaged models.toml, the user's models.toml (`models/catalogue.py`), the environment (GLIMP_*), a flag (`load.py`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from glimp_local.routing import Model, PolicyName

MAX_THREADS = 512  # llama.cpp aborts the process beyond
MAX_LAYERS = 10_000
MAX_CONTEXT = 2**24
MAX_SERVERS = 16  # llama.cpp takes no more devices for a model
MAX_DRAFT = 16
"""Most drafted tokens in one batch."""
MAX_ROLLBACK = 3
"""Tokens at the end of a batch that a hybrid model can take back, as far as llama.cpp can for its architecture: for
each of them it keeps a copy of the recurrent state."""
TURN_SNAPSHOTS, STEP_SNAPSHOTS = 2, 4
"""Snapshots that are kept of a model which cannot go back to any length: of the starts of the latest turns, and, where
a step may be written again, of the latest steps."""
SERVER_TOP_K = 20
"""Likeliest tokens that the entropy is measured over if the small model is on a server, which shows no more."""
STEP_SNAPSHOT_BYTES = 256 * 2**20
"""Those of steps are fewer if they take more than this, but one."""

Nats = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
FlashAttention = Literal["auto", "on", "off"]
LoadMode = Literal["auto", "read", "mmap", "mlock", "mmap+mlock", "direct-io"]
ServerApi = Literal["auto", "llama-server", "vllm", "openai"]
Threads = Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=MAX_THREADS)]

_ENDPOINT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?:([0-9]{1,5})", re.ASCII)
_MAX_PORT = 65535


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table whose unknown keys are errors: a misspelt key must not be silently ignored."""


class SamplingSettings(Strict, frozen=True):
    """How a token is drawn from the logits. The defaults are the paper's, with Qwen's advice for top_k."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.6
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: Natural = 20
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: Fraction = 0.95
    """Keep the likeliest tokens that together reach this probability; 1 keeps all."""
    min_p: Fraction = 0.0
    """Drop tokens less likely than this share of the likeliest one."""
    repeat_penalty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Divides the logits of recent tokens; 1 is off."""
    presence_penalty: Annotated[float, msgspec.Meta(ge=-100, le=100)] = 0.0
    """Subtracted from the logits of recent tokens; 0 is off."""
    frequency_penalty: Annotated[float, msgspec.Meta(ge=-100, le=100)] = 0.0
    """The same for each time such a token was written; 0 is off."""
    penalty_tokens: Natural = 64
    """How many tokens are recent."""

    @property
    def penalises(self) -> bool:
        """Does sampling depend on the tokens before?"""
        return self.repeat_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0


class EngineOptions(Strict, frozen=True):
    """How a model is loaded."""

    gpu_layers: Literal["auto"] | Annotated[int, msgspec.Meta(ge=-1, le=MAX_LAYERS)] = "auto"
    """Layers on the GPU; -1 is all, 0 is none; "auto" is as many as fit beside the other model's."""
    main_gpu: Natural = 0
    """The GPU that holds the whole model when `split` is "none"; devices of `rpc` count first."""
    split: Literal["none", "layer", "row"] = "layer"
    """How a model is spread over several GPUs."""
    tensor_split: tuple[float, ...] = ()
    """Proportion of the model on each GPU, those of `rpc` first; empty lets the plan choose."""
    rpc: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_SERVERS)] = ()
    """llama.cpp RPC servers ("192.168.1.5:50052") whose devices are further GPUs of this model. The protocol knows no
    password and no encryption: whoever reaches the server's port can read and change all it computes, and may take its
    machine over. For networks you trust only; else through an SSH tunnel or a VPN."""
    batch: Annotated[int, msgspec.Meta(ge=0, le=16384)] = 0
    """Most tokens of a prompt computed at once; a cancel waits for one batch. 0 takes 512 on a GPU and 128 on a CPU."""
    threads: Threads = "auto"
    """CPU threads for one token at a time. "auto" is one per physical core that may be used (one for a tiny model),
    and fewer while other programs need the cores; a number stays as it is."""
    threads_batch: Threads = "auto"
    """CPU threads for several tokens at once, as in a prompt; "auto" is as many as for one."""
    flash_attention: FlashAttention = "auto"
    """Compute attention in one fused pass. "auto" does on a GPU and where memory is short, but else not on a CPU: there
    llama.cpp's fused pass takes the tokens of a small batch one by one. A rounded cache needs it."""
    cache_type: Literal["auto", "f16", "q8_0", "q4_0"] = "auto"
    """Number type of the KV cache. q8_0 takes 53% of the memory of f16 and q4_0 28%; but they round what the model has
    read (q4_0 too much for some models) and are slower on a CPU. So "auto" is f16, and q8_0 where memory is short."""
    load_mode: LoadMode = "auto"
    """How the file gets into memory: read, mapped, and locked there or not. "auto" maps it, and reads it where most of
    the weights are kept in another order than the file's: mapped, they would be in memory twice."""
    extra_buffers: Literal["auto"] | bool = "auto"
    """May llama.cpp keep weights in an order of its own, for its fastest CPU kernels? "auto" does if a proof on small
    matrices has shown that they work on this machine. Without, prompts are read more slowly."""
    swa_full: bool = False
    """Keep the whole cache of sliding-window layers: more memory, but going back needs no second prefill."""

    def __post_init__(self) -> None:
        if self.flash_attention == "off" and self.cache_type in {"q8_0", "q4_0"}:
            raise ValueError(
                f'cache_type "{self.cache_type}" needs flash attention: expected flash_attention "auto" or "on", or '
                'cache_type "f16"'
            )
        for server in self.rpc:
            found = _ENDPOINT.fullmatch(server)
            if found is None or not 1 <= int(found[1]) <= _MAX_PORT:
                raise ValueError(f'rpc names {server!r}: expected "host:port", the host as a name or an IPv4 address')
        if len(set(self.rpc)) < len(self.rpc):
            raise ValueError("rpc names a server twice: expected each one once")

    @property
    def servers(self) -> tuple[str, ...]:
        """The RPC servers that layers may go to: none if none goes to any GPU."""
        return self.rpc if self.gpu_layers != 0 else ()


class ModelSource(Strict, frozen=True):
    """Where one model is: in a GGUF (a local `path`, or a `file` of a Hugging Face `repo`), or on a server (`url`)."""

    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """A GGUF on this machine; relative to the models.toml it stands in (in the packaged one, to the package). `~` is
    your home."""
    repo: str | None = None
    """Repository on the Hugging Face hub."""
    revision: str | None = None
    """Full commit hash of the repository; without it, whatever revision is on this machine."""
    file: str | None = None
    """File in the repository; the first one of a model that is split (`name-00001-of-00003.gguf`)."""
    size_bytes: Positive | None = None
    """Size of the file; of all files together, where the model is split."""
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """Hash of the file; of the first one, where the model is split. `glimp models verify` computes it."""
    options: EngineOptions = EngineOptions()
    """How this model is loaded."""
    url: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Address of an inference server that has the model in memory (`http://box:8000`); then the keys of files are not
    used. Prompts and what was written so far are sent there: across a network you do not trust, use https."""
    model: str | None = None
    """The model's name on the server; needed if it has several."""
    api: ServerApi = "auto"
    """What the server speaks; "auto" finds out. "openai" is any server with OpenAI's text completions (Ollama, LM
    Studio, SGLang): it gets text instead of token ids."""
    key_env: Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Name of the environment variable that holds the server's key."""
    key_file: str | None = None
    """File that holds the server's key, in place of `key_env`; relative to the models.toml it stands in."""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 300
    """Seconds without a sign of life after which a server counts as lost. A long prompt is silent until it is read."""


class ThinkingMarkers(Strict, frozen=True):
    """The text that opens and closes a model's thought."""

    open: Annotated[str, msgspec.Meta(min_length=1)]
    close: Annotated[str, msgspec.Meta(min_length=1)]


class RunSettings(Strict, frozen=True):
    """How a question is answered: all that may differ from one run to the next without loading anything."""

    policy: PolicyName = "threshold"
    """Who writes a step: "threshold", "share", "small", "large", "random" or "speculative" (the large model writes
    every step, the small one drafts for it)."""
    threshold: Nats = 1.0
    """Entropy in nats above which the large model writes the step (policy "threshold"). The paper uses 0.9 to 1.0."""
    share: Fraction = 0.25
    """Share of steps for the large model (policies "share" and "random"). The paper recommends 0.2 to 0.3."""
    task: str = ""
    """Kind of task: the entropies glimpsed are stored, and `share` starts from them, by pair and task."""
    top_k: Annotated[int, msgspec.Meta(ge=2)] | None = None
    """Measure the entropy over the k likeliest tokens, renormalised, instead of the whole vocabulary."""
    answer_by: Literal["large", "small", "route"] = "large"
    """Who writes the answer behind the thought."""
    max_step: Positive = 512
    """Tokens of a step; a longer one is cut there, and the next glimpse comes in mid-sentence."""
    max_thought: Natural = 8192
    """Tokens of the thought; then it is closed and the answer written. With 0 there is none."""
    max_answer: Positive = 2048
    """Tokens of the answer (of the whole reply, for a pair that does not think)."""
    sampling: SamplingSettings = SamplingSettings()
    """How tokens are drawn, for both models."""
    catch_up: Literal["auto", "lazy", "eager"] = "auto"
    """When a model reads what the other one writes: "lazy" when its turn comes, "eager" at once, beside the writing
    (the small model, while it does not draft); "auto" is eager where the two share no device, neither GPU nor CPU."""
    on_failure: Literal["stop", "small"] = "stop"
    """If the large model fails in mid-run (a lost connection, say), "stop" ends the run, and "small" lets the small
    model write the rest of it. What was written is kept either way."""
    draft: Literal["auto", "off"] | Annotated[int, msgspec.Meta(ge=1, le=MAX_DRAFT)] = "auto"
    """Drafting: the small model (where both have one vocabulary) and the text so far guess at the next tokens, which
    are then computed in one batch. "auto" drafts only if that is measured to be faster; a number drafts that many each
    time."""


class PairConfig(RunSettings, frozen=True):
    """A small and a large model, and how they work together."""

    small: ModelSource | None = None
    large: ModelSource | None = None
    description: str = ""
    licence: str = ""
    only: Literal["counting stories and small sums"] | None = None
    """The one kind of question a narrow pair was made for: it declines others."""
    example: str = ""
    """A question the pair can answer: the chat offers it at first."""
    system: str = ""
    """System message of new conversations, in `glimp chat` and `glimp solve`; `--system` takes its place."""
    context: Literal["auto"] | Annotated[int, msgspec.Meta(ge=0, le=MAX_CONTEXT)] = "auto"
    """Tokens of context of each model; 0 takes what it was trained for, and more than that is never taken. "auto" is
    16,384, or fewer where memory is short."""
    thinking: ThinkingMarkers | Literal["auto", "none"] = "auto"
    """Markers of the thought; "auto" finds them in the chat templates, "none" treats the pair as plain."""
    keep_caches_gb: Annotated[float, msgspec.Meta(ge=0)] = 0
    """`glimp chat` saves the KV caches of its conversations, so that long ones resume without a prefill: the total
    limit in gigabytes. 0 saves none."""
    cache_ram_gb: Literal["auto"] | Annotated[float, msgspec.Meta(ge=0)] = "auto"
    """`glimp serve` keeps in memory what the models have read of several conversations, so that one continues without a
    prefill after a request of another: the total limit in gigabytes. "auto" is 2, or a quarter of the memory that is
    free if that is less; 0 keeps none but the last one."""
    chat_template: str | None = None
    """A Jinja file used for both models in place of their own templates; relative to the models.toml it stands in."""

    @property
    def run(self) -> RunSettings:
        """The settings of a run, without those of the pair."""
        return RunSettings(**{name: getattr(self, name) for name in RunSettings.__struct_fields__})

    @property
    def models(self) -> tuple[Model, ...]:
        """The models its policy needs, the large one first: where memory is short, it has to say so early."""
        return (self.policy,) if self.policy in {"small", "large"} else ("large", "small")

    def source(self, model: Model) -> ModelSource | None:
        """Say where a model is."""
        return self.small if model == "small" else self.large

    @property
    def local_models(self) -> tuple[Model, ...]:
        """Those of its models that this machine computes."""
        return tuple(model for model in self.models if model not in self.remote_models)

    @property
    def remote_models(self) -> tuple[Model, ...]:
        """Those of its models that are on servers."""
        return tuple(model for model in self.models if (source := self.source(model)) and source.url is not None)

    @property
    def rpc_servers(self) -> tuple[str, ...]:
        """The RPC servers that layers of its models go to."""
        return tuple(server for model in self.local_models for server in self.options(model).servers)

    def options(self, model: Model) -> EngineOptions:
        """Say how a model is loaded."""
        source = self.source(model)
        return source.options if source is not None else EngineOptions()
