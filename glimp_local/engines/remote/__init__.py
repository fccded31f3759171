"""Models on other machines, behind inference servers that speak HTTP: llama-server, vLLM, OpenAI's completions.

Knows nothing of llama.cpp's library; `engines/remote/backend.py` and `engines/remote/lane.py` are the way in.
"""
