"""The vocabulary of a model that is not loaded, as llama.cpp would make it from the header.

A header does not hold all of it: which tokens end a generation, and which are control tokens, llama.cpp partly goes by
their text (`llama_vocab::impl::load`). Done likewise here, so that both come to the same verdict on two models; a test
holds every token of many vocabularies against llama.cpp's. Left out is what only embedding models and those of DNA
have.
"""

# ruff: noqa: RUF001 - DeepSeek spells its tokens with full-width bars

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from glimp_local.models.gguf import pieces
from glimp_local.models.gguf.header import Header
from glimp_local.models.gguf.pieces import BPE, SPM, UGM, WPM

KINDS = {1: "SentencePiece", 2: "BPE", 3: "WordPiece", 4: "Unigram", 5: "RWKV", 6: "PLaMo 2"}
"""Names of `enum llama_vocab_type`."""

_NONE = -1
_MODELS = {
    "llama": (SPM, 1, 2),
    "gpt2": (BPE, 11, 11),
    "gemma4": (BPE, _NONE, _NONE),
    "bert": (WPM, 101, _NONE),
    "t5": (UGM, _NONE, 1),
    "rwkv": (5, _NONE, _NONE),
    "plamo2": (6, 1, 2),
}
"""`tokenizer.ggml.model`: its kind, and the ids of BOS and EOS where the header names none."""
_ADD_BOS = {
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
    *("tekken", "chameleon"),
}
"""Pre-tokenizers whose texts begin with BOS, unless the header says otherwise."""
_ALWAYS_BOS = {"gemma4", "granite-embed-multi-311m"}
_MARKED = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"}
"""Pre-tokenizers of BPE vocabularies that spell a space as SentencePiece does."""
_NO_BOS = {"chatglm-bpe", "glm4", "glm5"}
"""Pre-tokenizers without a BOS token, unless the header names one."""

_ATTRIBUTES = {
    1: pieces.NORMAL,
    2: pieces.UNKNOWN,
    3: pieces.CONTROL,
    4: pieces.USER_DEFINED,
    5: pieces.UNUSED,
    6: pieces.BYTE,
}
"""By `tokenizer.ggml.token_type`."""


def _tokens(text: str) -> list[bytes]:
    return [token.encode() for token in text.split()]


_ENDS = set(
    _tokens("""
    <|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|>
    <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> [e~[
    <｜end▁of▁sentence｜>
    """)
)
"""Tokens that end a generation by their text."""
_FILL_IN = {
    ("fim_pre", "prefix"): _tokens(
        "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>"
    ),
    ("fim_suf", "suffix"): _tokens(
        "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>"
    ),
    ("fim_mid", "middle"): _tokens(
        "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> <|middle|>"
    ),
    ("fim_pad",): _tokens("<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]"),
    ("fim_rep",): _tokens("<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>"),
    ("fim_sep",): _tokens("<|file_sep|>"),
}
"""Tokens for filling in the middle of a text: the keys that name one, and the texts it is found by otherwise."""
_FILL_IN_ENDS = {"fim_pad", "fim_rep", "fim_sep"}
_ALWAYS_SHOWN = set(_tokens("<|channel|> <|message|> <|start|> <|constrain|>"))


class HeaderVocabulary:
    """Tokens of a model whose header was read (`glimp_local.models.sharing.Tokens`)."""

    def __init__(self, header: Header, tokens: list[bytes], kind: int, bos: int, eos: int) -> None:
        self.kind = kind
        self._header = header
        self._texts = [text or f"[EMPTY_{i}]".encode() for i, text in enumerate(tokens)]
        self.size = len(self._texts)
        pre = "gemma4" if header.text("tokenizer.ggml.model") == "gemma4" else header.text("tokenizer.ggml.pre")
        self.bos = self._named("bos", default=_NONE if kind == BPE and pre in _NO_BOS else bos)
        self.eos = self._named("eos", default=eos)
        adds_bos = header.metadata.get("tokenizer.ggml.add_bos_token")
        if not isinstance(adds_bos, bool):
            adds_bos = kind in {SPM, WPM} or (kind == BPE and pre in _ADD_BOS)
        self.adds_bos: bool = adds_bos or (kind == BPE and pre in _ALWAYS_BOS)
        self._has_marks = pre in _MARKED

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens that end a generation."""
        return self._marks[0]

    def raw(self, token: int) -> bytes:
        """Give a token as its vocabulary spells it."""
        return self._texts[token]

    def attributes(self, token: int) -> int:
        """Give a token's attributes (`enum llama_token_attr`)."""
        return self._marks[1][token]

    def spelled(self, token: int) -> str | None:
        """Give a token as text; None where there is no such token."""
        return self._texts[token].decode("utf-8", "replace") if 0 <= token < self.size else None

    @property
    def is_shown(self) -> bool:
        """Can `shown` tell its tokens' text?"""
        return self.kind in {SPM, BPE, WPM, UGM}

    def shown(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, that of control tokens included; bytes that are no character are replaced."""
        found = (
            pieces.piece(self._texts[token], self._marks[1][token], self.kind, has_marks=self._has_marks)
            for token in ids
        )
        return b"".join(found).decode("utf-8", "replace")

    def _named(self, *names: str, default: int = _NONE) -> int:
        """Give the token a key names."""
        found = default if default < self.size else _NONE
        for name in names:
            token = self._header.metadata.get(f"tokenizer.ggml.{name}_token_id")
            if isinstance(token, int) and not isinstance(token, bool) and 0 <= token < self.size:
                found = token
        return found

    @cached_property
    def _marks(self) -> tuple[frozenset[int], list[int]]:
        """The ends of a generation and every token's attributes: the text of some tokens says more than the header."""
        types = self._header.array("tokenizer.ggml.token_type")
        marks = [_ATTRIBUTES.get(type_, 0) for type_ in types[: self.size]] if types else [pieces.NORMAL] * self.size
        marks += [0] * (self.size - len(marks))  # llama.cpp refuses such a file
        ids = {text: token for token, text in enumerate(self._texts)}
        ends = {self.eos, self._named("eot"), self._named("eom")}
        for names, texts in _FILL_IN.items():
            token = self._named(*names)
            if token == _NONE:
                token = min((ids[text] for text in texts if text in ids), default=_NONE)
                if token != _NONE:
                    marks[token] |= pieces.CONTROL
            if names[0] in _FILL_IN_ENDS:
                ends.add(token)
        for token, text in enumerate(self._texts):
            if marks[token] & pieces.CONTROL and b"unused" in text:
                marks[token] |= pieces.UNUSED
        for text in _ENDS & ids.keys():
            marks[ids[text]] |= pieces.CONTROL
            ends.add(ids[text])
        for text in _ALWAYS_SHOWN & ids.keys():
            marks[ids[text]] = pieces.USER_DEFINED
        ends.discard(_NONE)
        self._withdraw(ends, marks)
        self._strip(marks)
        return frozenset(ends), marks

    def _withdraw(self, ends: set[int], marks: list[int]) -> None:
        """Take out the tokens that end no generation beside certain others."""
        texts = {self._texts[token]: token for token in ends}
        end, closed = texts.get(b"<|end|>"), texts.get(b"</s>")
        calls = bool({b"<|call|>", b"<|calls|>"} & texts.keys())
        if end is not None and calls and {b"<|return|>", b"<|flush|>"} & texts.keys():
            ends.discard(end)
            marks[end] = pieces.USER_DEFINED
        if closed is not None and {b"<|tool_response>", b"<|plamo:eos|>"} & texts.keys():
            ends.discard(closed)
            marks[closed] = pieces.NORMAL

    def _strip(self, marks: list[int]) -> None:
        """Mark the tokens of Phi-3, known by the model's name, behind which blanks are dropped."""
        name = (self._header.text("general.name") or "").lower()
        if "phi-3" not in name and "phi3" not in name:
            return
        kept = {b"<unk>", b"<s>", b"<|endoftext|>"}
        for token, text in enumerate(self._texts):
            special = marks[token] & (pieces.CONTROL | pieces.USER_DEFINED | pieces.UNKNOWN)
            if (special or text == b"</s>") and text not in kept:
                marks[token] |= pieces.RSTRIP


def header_vocabulary(header: Header) -> HeaderVocabulary | None:
    """Make the vocabulary of a model; None where it carries none, or one of a kind glimp does not know."""
    model = _MODELS.get(header.text("tokenizer.ggml.model") or "")
    tokens = header.array("tokenizer.ggml.tokens")
    if model is None or not tokens or not isinstance(tokens[0], bytes):
        return None
    return HeaderVocabulary(header, tokens, *model)
