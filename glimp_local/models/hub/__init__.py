"""The Hugging Face hub and its cache: the only package that imports huggingface_hub."""
