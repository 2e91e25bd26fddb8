#!/usr/bin/env python3
"""Runs a transformer under a limit of a quarter of its weights, and shows that nothing of what it computes changes.

    PYTHONPATH=build/release/python python larger_than_memory.py [MODEL [SEQUENCE]] [--limit BYTES]

The model is a BERT of antibodies, which says which residues may stand where a sequence has '_': AntiBERTy's
pytorch_model.bin (`./dev demo` fetches it), or the same weights in another format. Without MODEL they are random.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn import Embedding, LayerNorm, Linear, Module, ModuleDict, ModuleList

import headrace
import headrace.torch

PASSES = 3
HEADS = 8  # no tensor's shape tells
RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
LETTERS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "_", *RESIDUES]
SEQUENCE = "EVQLVESGGGLVQPGGSLRLSCAAS_FTFSSYAMSWVRQAPGKGLEWVSA_SGSGGSTYYADSVKGRFTISRDNSKNTLYLQMNSLRAEDTAVYYCAK"

# The model, with the names that BERTs have in checkpoints.


class Output(Module):
    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense, self.LayerNorm = Linear(inner, width), LayerNorm(width, eps=1e-12)

    def forward(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dense(y) + x)


class Layer(Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.attention = ModuleDict({
            "self": ModuleDict({name: Linear(width, width) for name in ("query", "key", "value")}),
            "output": Output(width, width)})
        self.intermediate = ModuleDict({"dense": Linear(width, inner)})
        self.output = Output(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part(x).unflatten(-1, (HEADS, -1)).transpose(0, 1) for part in self.attention["self"].values())
        seen = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)
        x = self.attention["output"](seen, x)
        return self.output(torch.nn.functional.gelu(self.intermediate["dense"](x)), x)


class Embeddings(Module):
    def __init__(self, width: int, longest: int) -> None:
        super().__init__()
        self.word_embeddings = Embedding(len(LETTERS), width)
        self.position_embeddings, self.token_type_embeddings = Embedding(longest, width), Embedding(2, width)
        self.LayerNorm = LayerNorm(width, eps=1e-12)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        at = torch.arange(len(tokens), device=tokens.device)
        return self.LayerNorm(self.word_embeddings(tokens) + self.position_embeddings(at)
                              + self.token_type_embeddings(torch.zeros_like(at)))


class Predictions(Module):
    def __init__(self, width: int, words: Embedding) -> None:
        super().__init__()
        self.transform = ModuleDict({"dense": Linear(width, width), "LayerNorm": LayerNorm(width, eps=1e-12)})
        self.decoder = Linear(width, len(LETTERS))
        self.decoder.weight, self.bias = words.weight, self.decoder.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.transform["LayerNorm"](torch.nn.functional.gelu(self.transform["dense"](x))))


class Bert(Module):
    def __init__(self, layers: int, width: int, inner: int, longest: int = 512) -> None:
        super().__init__()
        self.bert = ModuleDict({
            "embeddings": Embeddings(width, longest),
            "encoder": ModuleDict({"layer": ModuleList(Layer(width, inner) for _ in range(layers))})})
        self.cls = ModuleDict({"predictions": Predictions(width, self.bert["embeddings"].word_embeddings)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """A row of scores per token."""
        x = self.bert["embeddings"](tokens)
        for layer in self.bert["encoder"]["layer"]:
            x = layer(x)
        return self.cls["predictions"](x)


# How it is run.


def unfilled(path: str) -> Bert:
    """Of the checkpoint's sizes, without memory for its weights."""
    there = headrace.open(path)
    longest, width = there["bert.embeddings.position_embeddings.weight"].shape
    inner = there["bert.encoder.layer.0.intermediate.dense.weight"].shape[0]
    layers = sum(name.endswith(".intermediate.dense.weight") for name in there)
    with headrace.torch.skip_model_initialization():
        return Bert(layers, width, inner, longest).eval()


def random_model(folder: str) -> str:
    torch.manual_seed(1)
    return headrace.torch.save_streaming(Bert(layers=8, width=256, inner=1024), Path(folder) / "random.safetensors")


@torch.no_grad()
def run(path: str, sequence: str, limit: int | None) -> None:
    tokens = torch.tensor([LETTERS.index(letter) for letter in ("[CLS]", *sequence, "[SEP]")])

    whole = unfilled(path)
    # There are other heads in a checkpoint. Where a matrix begins may decide a product's last bits: at 64, as below.
    headrace.torch.load_into(whole, path, dtype=torch.float32, strict=False, alignment=64)
    weights = sum(param.nbytes for param in whole.parameters())
    expected = whole(tokens)
    del whole

    limit = weights // 4 if limit is None else limit
    model = headrace.torch.enable_vram_management(
        unfilled(path), vram_limit=limit / 2**30, disk_map=headrace.DiskMap(path),
        vram_config={"offload_device": "disk", "onload_device": "disk",
                     "computation_dtype": torch.float32, "computation_device": "cpu"})
    difference = max((model(tokens) - expected).abs().max().item() for _ in range(PASSES))
    model.vram_manager.close()

    did = model.vram_manager.statistics
    print(f"weights    {weights:>12} bytes")
    print(f"limit      {limit:>12}")
    print(f"peak       {did.peak_bytes:>12}")
    print(f"passes     {did.passes:>12}, {did.uses} uses of units; {did.loads_ahead} read ahead, {did.loads} when wanted")
    print(f"stalls     {did.stalls:>12}")
    print(f"stalled    {did.stall_seconds:>12.3f} s")
    print(f"difference {difference:>12g} in the scores")
    print_residues(sequence, expected)


def print_residues(sequence: str, scores: torch.Tensor) -> None:
    first = len(LETTERS) - len(RESIDUES)
    for i, letter in enumerate(sequence, 1):  # after [CLS]
        if letter == "_":
            likelihood, best = scores[i].softmax(-1)[first:].max(-1)
            print(f"residue {i:<3} {RESIDUES[best]}, probability {likelihood:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a checkpoint; without one, random weights")
    parser.add_argument("sequence", metavar="SEQUENCE", nargs="?", default=SEQUENCE, help="residues, and _ for masked ones")
    parser.add_argument("--limit", metavar="BYTES", type=int, help="instead of a quarter of the weights")
    arguments = parser.parse_args()
    if unknown := set(arguments.sequence) - {*RESIDUES, "_"}:
        parser.error(f"SEQUENCE: '{min(unknown)}' isn't one of {RESIDUES}, nor _")
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(arguments.model or random_model(folder), arguments.sequence, arguments.limit)
    except headrace.Error as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
