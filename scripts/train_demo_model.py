"""Trains the built-in model from the corpus and writes its GGUF file.

    python scripts/train_demo_model.py --work DIR --out native_host/models/builtin/tabagent-demo.gguf

Seeded: the same versions on the same machine give the same file. A run that was stopped goes on from its
last checkpoint when started again with the same --work. It needs torch and tokenizers.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch  # type: ignore[import-not-found, unused-ignore]
import torch.nn.functional as F  # type: ignore[import-not-found, unused-ignore]
from demo_model.batches import Batches
from demo_model.conversations import Conversations, Message
from demo_model.evaluate import Exam, examine
from demo_model.llama_gguf import Description, Floats, LlamaShape, write_llama
from demo_model.network import Parameters, hidden_states, initial_parameters, rope_tables, scores
from demo_model.questions import Corpus, read_corpus
from demo_model.rope_order import to_neighbours
from demo_model.tokenizer import train_tokenizer, vocabulary_of
from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

SHAPE = LlamaShape(
    layers=4, embedding=256, heads=4, kv_heads=2, feed_forward=640, vocabulary=3072, context=1024
)
DESCRIPTION = Description(
    "tabagent-demo",
    "Answers questions about native-host. Trained from nothing on the project's own text, for first tries.",
)
TOKENS_A_STEP = 4096
# One step in so many sees rows as long as the context; the others see conversations as they begin.
PACKED_EVERY = 8
PEAK_RATE, LAST_RATE, WARM_UP = 2.5e-3, 2.5e-5, 60
WEIGHT_DECAY, CLIP = 0.05, 1.0
CHECKPOINT_EVERY, REPORT_EVERY = 200, 20


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to the last rate."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def make_optimizers(parameters: Parameters) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the layers' matrices, AdamW for the embedding and the norms."""
    layers = [
        weights for name, weights in parameters.items() if weights.dim() > 1 and name.startswith("blk.")
    ]
    others = [parameters["token_embd.weight"], *(w for w in parameters.values() if w.dim() == 1)]
    return [
        torch.optim.Muon(layers, lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def loss_of(
    parameters: Parameters,
    rope: tuple[torch.Tensor, torch.Tensor],
    tokens: torch.Tensor,
    learned: torch.Tensor,
) -> torch.Tensor:
    """Mean cross-entropy of a batch's learned tokens; matrix products run in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = hidden_states(parameters, SHAPE, tokens[:, :-1], rope)
        logits = scores(parameters, states[learned])
    return F.cross_entropy(logits.float(), tokens[:, 1:][learned])


def train(corpus: Corpus, tokenizer: Tokenizer, work: Path, steps: int, seed: int) -> Parameters:
    """Train for `steps` steps, going on from the checkpoint in `work` if there is one."""
    parameters = initial_parameters(SHAPE, seed)
    optimizers = make_optimizers(parameters)
    checkpoint = work / "checkpoint.pt"
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        first = saved["step"]
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        with torch.no_grad():
            for name, weights in parameters.items():
                weights.copy_(saved["parameters"][name])
        print(f"going on at step {first}", flush=True)
    batches = Batches(tokenizer, Conversations(corpus, seed + 1 + first), seed + first)
    single = batches.single(TOKENS_A_STEP)
    packed = batches.packed(TOKENS_A_STEP // SHAPE.context, SHAPE.context)
    rope = rope_tables(SHAPE, SHAPE.context)
    started, seen, reported = time.monotonic(), 0, 0.0
    for step in range(first, steps):
        tokens, learned = next(packed if step % PACKED_EVERY == PACKED_EVERY - 1 else single)
        loss = loss_of(parameters, rope, tokens, learned)
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]  # torch has no types for it
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            optimizer.step()
            optimizer.zero_grad()
        seen += tokens.numel()
        reported += loss.item() / REPORT_EVERY
        if (step + 1) % REPORT_EVERY == 0:
            rate = seen / (time.monotonic() - started)
            print(
                f"step {step + 1}/{steps} loss {reported:.4f} {seen} tokens {rate:.0f} tokens/s", flush=True
            )
            reported = 0.0
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            state = {
                "step": step + 1,
                "optimizers": [o.state_dict() for o in optimizers],
                "parameters": parameters,
            }
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    return parameters


def rounded(parameters: Parameters) -> Parameters:
    """The weights as the file will hold them: rounded to float16."""
    return {name: weights.detach().half().float() for name, weights in parameters.items()}


def export(parameters: Parameters, tokenizer: Tokenizer, out: Path) -> None:
    """Write the GGUF file: F16 matrices, F32 norms of F16-rounded values, Q and K in llama.cpp's order."""

    def tensor(name: str, _shape: tuple[int, ...]) -> Floats:
        weights: Floats = parameters[name].numpy()
        if name.endswith("attn_q.weight"):
            return to_neighbours(weights, SHAPE.heads)
        if name.endswith("attn_k.weight"):
            return to_neighbours(weights, SHAPE.kv_heads)
        return weights

    write_llama(out, SHAPE, vocabulary_of(tokenizer), DESCRIPTION, tensor)


def held_out_exams(corpus: Corpus) -> list[Exam]:
    """The questions that the corpus marks as never trained on."""
    return [
        Exam([Message("user", question)], entry.answer)
        for entry in corpus.entries.values()
        if not entry.after
        for question in entry.held_out
    ]


def fresh_exams(corpus: Corpus, seed: int) -> list[Exam]:
    """One newly drawn question for every entry that needs no other before it."""
    drawn = Conversations(corpus, seed)
    return [
        Exam([Message("user", drawn.ask(entry))], entry.answer)
        for entry in corpus.entries.values()
        if not entry.after
    ]


def main() -> None:
    """Parse arguments, train, write the file, and say how well it answers."""
    parser = argparse.ArgumentParser(description="Train the built-in model.")
    parser.add_argument("--out", type=Path, required=True, help="the GGUF file to write")
    parser.add_argument("--work", type=Path, required=True, help="folder for the tokenizer and checkpoints")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus()
    kept = arguments.work / "tokenizer.json"
    if kept.exists():
        tokenizer = Tokenizer.from_file(str(kept))
    else:
        tokenizer = train_tokenizer(Conversations(corpus, arguments.seed), SHAPE.vocabulary)
        tokenizer.save(str(kept))
    print(f"{len(corpus.entries)} entries, {SHAPE.parameters()} parameters", flush=True)

    parameters = rounded(train(corpus, tokenizer, arguments.work, arguments.steps, arguments.seed))
    export(parameters, tokenizer, arguments.out)
    for label, exams in (("held out", held_out_exams(corpus)), ("fresh", fresh_exams(corpus, seed=-1))):
        report = examine(parameters, SHAPE, tokenizer, exams)
        print(f"{label}: {report.line()}", flush=True)
        for question, answer in report.wrong:
            print(f"  {question!r} -> {answer!r}", flush=True)


if __name__ == "__main__":
    main()
