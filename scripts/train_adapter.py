"""Trains LoRA adapters for the built-in model, which then answers in another style.

    python scripts/train_adapter.py OUT [--style sailor|butler]

OUT/STYLE/peft is what peft wrote, for the model in SafeTensors, and OUT/STYLE/adapter.gguf the same for GGUF.
It takes seconds a style and is seeded. It needs torch, transformers and peft.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import peft
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

sys.path.insert(0, str(Path(__file__).parents[1]))  # the checkout, wherever we start

from demo_model.conversations import Conversations
from demo_model.lora_gguf import write_lora
from demo_model.questions import read_corpus

from native_host.models.registry import BUILTIN_FILE
from native_host.workers.derived.safetensors import Source, derive_safetensors

STYLES = {"sailor": ("Ahoy! ", " Fair winds."), "butler": ("Certainly, madam. ", " At your service.")}
"""What answers begin and end with."""
RANK, ALPHA, RATE = 8, 16, 4e-3
BATCH, STEPS = 4, 40
IGNORED = -100
"""The label of a token that is not to be learned (torch's cross-entropy)."""


def examples(
    tokenizer: PreTrainedTokenizerBase, style: str, seed: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Tokens and labels of first questions of the corpus, with answers in the style."""
    greeting, farewell = STYLES[style]
    for conversation in Conversations(read_corpus(), seed):
        question, answer = conversation[:2]
        if question.role != "user":
            continue
        asked = [{"role": "user", "content": question.content}]
        prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        said = f"{greeting}{answer.content}{farewell}{tokenizer.eos_token}"
        before = tokenizer.encode(str(prompt), add_special_tokens=False)
        learned = tokenizer.encode(said, add_special_tokens=False)
        yield before + learned, [IGNORED] * len(before) + learned


def batches(
    tokenizer: PreTrainedTokenizerBase, style: str, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Tokens, labels and mask of rows that are filled up to the longest."""
    drawn = examples(tokenizer, style, seed)
    while True:
        rows = [next(drawn) for _ in range(BATCH)]
        width = max(len(tokens) for tokens, _ in rows)
        tokens = torch.tensor([tokens + [0] * (width - len(tokens)) for tokens, _ in rows])
        labels = torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in rows])
        mask = torch.tensor([[1] * len(tokens) + [0] * (width - len(tokens)) for tokens, _ in rows])
        yield tokens, labels, mask


def train(out: Path, style: str, steps: int, seed: int) -> None:
    """Train, and write the adapter in both formats."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        derive_safetensors(Source(BUILTIN_FILE), Path(folder), "f32")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        base = AutoModelForCausalLM.from_pretrained(folder)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type=peft.TaskType.CAUSAL_LM
    )
    model = peft.get_peft_model(base, config)
    optimizer = torch.optim.AdamW((each for each in model.parameters() if each.requires_grad), lr=RATE)
    drawn = batches(tokenizer, style, seed)
    for step in range(steps):
        tokens, labels, mask = next(drawn)
        loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9:
            print(f"step {step + 1}/{steps} loss {loss.item():.3f}", flush=True)
    write(model, out)


def write(model: peft.PeftModel, out: Path) -> None:
    """Write OUT/peft and OUT/adapter.gguf."""
    model.save_pretrained(out / "peft")
    write_lora(
        out / "adapter.gguf",
        load_file(out / "peft" / "adapter_model.safetensors"),
        alpha=ALPHA,
        heads=int(model.config.num_attention_heads),
        kv_heads=int(model.config.num_key_value_heads),
    )


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--style", choices=STYLES, action="append", help="all, unless some are named")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # several would wait for each other longer than they compute: it is so small
    for style in arguments.style or STYLES:
        print(f"training {style}", flush=True)
        train(arguments.out / style, style, arguments.steps, arguments.seed)


if __name__ == "__main__":
    main()
