"""Print the logits of a Hugging Face folder as JSON, for ids given as JSON; run by a Python that has transformers."""

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
    ids = json.load(sys.stdin)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    json.dump([[round(number, 5) for number in row] for row in logits.tolist()], sys.stdout)


if __name__ == "__main__":
    main()
