"""How much a layer's CLS vector, and the mean over its tokens, depend on the input: a Markdown row a layer.

python experiments/results/layer_spread.py stsb GLUE_DIR [BACKBONE]

Of 256 training rows, before any fine-tuning: mean distance from the rows' mean, over the mean norm.
"""

import sys

import torch
from transformers import AutoModel

from ftreg import backbone_path
from glue_tasks import GlueDataModule

ROWS = 256


def spread(vectors: torch.Tensor) -> float:
    """Of [rows, dim]."""
    return float((vectors - vectors.mean(0)).norm(dim=1).mean() / vectors.norm(dim=1).mean())


def main() -> None:
    task, folder, *rest = sys.argv[1:]
    path = backbone_path(rest[0] if rest else "demo")
    data = GlueDataModule(task, tokenizer=path, source="tsv", path=folder, batch_size=ROWS, protocol="dev")
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
    with torch.no_grad():
        states = AutoModel.from_pretrained(path).eval()(**inputs, output_hidden_states=True).hidden_states
    mask = inputs["attention_mask"][..., None]
    cls = [state[:, 0] for state in states]
    mean = [(state * mask).sum(1) / mask.sum(1) for state in states]
    for pooled in (cls, mean):
        pooled.append(torch.stack(pooled[1:]).mean(0))
    print("| layer | CLS | mean over tokens |\n|---|---|---|")
    names = ["embeddings", *map(str, range(1, len(states))), "mean of all layers"]
    for name, *both in zip(names, cls, mean, strict=True):
        print(f"| {name} | {' | '.join(f'{spread(vectors):.3f}' for vectors in both)} |")


if __name__ == "__main__":
    main()
