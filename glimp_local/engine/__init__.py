"""One GGUF in memory: tokens in, logits out, rewind.

The only package that imports `llama_cpp`, on its ctypes functions. It knows nothing about steps, routing or prompts.
"""

from glimp_local.engine.binding import REBUILD_FOR_CUDA
from glimp_local.engine.engine import Engine
from glimp_local.engine.vocabulary import Vocabulary
from glimp_local.engines.template import ChatTemplate

__all__ = ["REBUILD_FOR_CUDA", "ChatTemplate", "Engine", "Vocabulary"]
