"""A GGUF computed by llama.cpp in this process: the only package that imports llama_cpp.

Its modules are imported one by one: some of them must not load llama.cpp.
"""
