"""The tests. Most run on small GGUF files that `tests/support/tiny_models.py` writes, through the real llama.cpp."""
