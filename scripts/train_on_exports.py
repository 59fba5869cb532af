"""Trains tiny models with random weights from `export`'s files, by the trainers' own code, to show that they take every record.

usage: train_on_exports.py WORK [--sentence-transformers EXPORT] [--grit EXPORT --gritlm CHECKOUT] [--steps N]

WORK is a directory for tokenizers and models. sentence-transformers' trainer reads EXPORT as `load_dataset` gives it, by
MultipleNegativesRankingLoss, whose collator goes by the order of the columns. GritLM's `training.run`, of a CHECKOUT of its repository,
reads a split's directory with `--num_samples` in its mode `unified`. With `--steps 0` each takes every record once.
Needs torch, sentence-transformers, transformers, datasets, accelerate and, for GritLM, wandb; on Debian `python3-torch` is one without CUDA.
Prints one line of JSON for each: records read, steps taken, the loss of the first and of the last part of them.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import datasets
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 4_000
TEXTS_FOR_TOKENIZER = 5_000
BATCH = 16
WIDTH = 32
LENGTH = 64


def tokenizer(texts, special):
    """A tokenizer of byte pairs, which has no unknown text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet))
    return made


def small(size):
    return {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": size,
            "max_position_embeddings": 512}


def sentence_transformers(work, export, steps):
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers import losses, models as modules

    rows = datasets.load_dataset(str(export), split="train", cache_dir=str(work / "cache"))
    assert rows.column_names == ["anchor", "positive", "negative"], rows.column_names
    place = work / "bert"
    texts = (text for row in rows.select(range(min(len(rows), TEXTS_FOR_TOKENIZER))) for text in row.values())
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer(texts, ["[PAD]", "[CLS]", "[SEP]"]), pad_token="[PAD]")
    fast.save_pretrained(place)
    BertModel(BertConfig(**small(len(fast)))).save_pretrained(place)
    word = modules.Transformer(str(place), max_seq_length=LENGTH)
    model = SentenceTransformer(modules=[word, modules.Pooling(word.get_word_embedding_dimension())], device="cpu")
    args = SentenceTransformerTrainingArguments(
        output_dir=str(work / "st-out"), per_device_train_batch_size=BATCH, max_steps=steps or -1, num_train_epochs=1,
        logging_steps=max(1, steps // 4) if steps else 200, save_strategy="no", report_to=[], use_cpu=True, learning_rate=1e-3, seed=7,
    )
    loss = losses.MultipleNegativesRankingLoss(model)
    trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=rows, loss=loss)
    trainer.train()
    return summary("sentence-transformers", len(rows), trainer.state.log_history)


def gritlm(work, export, checkout, steps):
    split = export / "train"
    counts = json.loads((export / "num_samples-train.json").read_text())
    place = work / "llama"
    words = ["<s>", "</s>"]
    texts = (line for file in sorted(split.iterdir()) for line in file.open(encoding="utf-8").read(200_000).splitlines())
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer(texts, words), bos_token="<s>", eos_token="</s>",
                                   model_input_names=["input_ids", "attention_mask"])
    fast.save_pretrained(place)
    LlamaForCausalLM(LlamaConfig(**small(len(fast)))).save_pretrained(place)
    out = work / "grit-out"
    records = {kind: sum(rows for name, rows in counts.items() if f"-{kind}" in name) for kind in ["embedding", "generative"]}
    command = [
        sys.executable, "-m", "training.run", "--output_dir", str(out), "--overwrite_output_dir", "--model_name_or_path", str(place),
        "--train_data", str(split), "--num_samples", str(export / "num_samples-train.json"), "--mode", "unified", "--attn", "cccc",
        "--attn_implementation", "eager", "--pooling_method", "mean", "--normalized", "--query_max_len", str(LENGTH),
        "--passage_max_len", str(2 * LENGTH), "--generative_max_len", str(2 * LENGTH), "--train_group_size", "2",
        "--per_device_train_batch_size", str(BATCH), "--use_cpu", "True", "--learning_rate", "1e-3", "--logging_steps", str(max(1, steps // 4) if steps else 200),
        "--save_strategy", "no", "--report_to", "none", "--dataloader_drop_last", "--num_train_epochs", "1",
    ]
    command += ["--max_steps", str(steps)] if steps else []
    environment = os.environ | {"HF_DATASETS_CACHE": str(work / "cache"), "WANDB_MODE": "disabled"}
    done = subprocess.run(command, cwd=checkout / "gritlm", env=environment, stdout=subprocess.PIPE, text=True, check=True)
    # Its trainer prints what it logs as Python writes a dictionary.
    log = [json.loads(line.replace("'", '"')) for line in done.stdout.splitlines() if line.startswith("{'loss")]
    read = json.loads((out / "dataset_num_samples.json").read_text())
    # It takes every pair; conversations whose prompts are longer than its model reads it leaves out itself.
    assert read.keys() == counts.keys(), read.keys() ^ counts.keys()
    assert all(read[name] == rows for name, rows in counts.items() if "-embedding" in name), (read, counts)
    read = {kind: sum(rows for name, rows in read.items() if f"-{kind}" in name) for kind in records}
    assert all(read.values()), read
    return summary("grit", {"written": records, "read": read}, log)


def summary(name, records, log):
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses, "no step was taken"
    assert all(loss == loss for loss in losses), "a loss is not a number"
    return {"format": name, "records": records, "loss_first": losses[0], "loss_last": losses[-1], "parts": len(losses)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--sentence-transformers", type=pathlib.Path, metavar="EXPORT")
    parser.add_argument("--grit", type=pathlib.Path, metavar="EXPORT")
    parser.add_argument("--gritlm", type=pathlib.Path, metavar="CHECKOUT")
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.sentence_transformers:
        print(json.dumps(sentence_transformers(args.work.resolve(), args.sentence_transformers.resolve(), args.steps)), flush=True)
    if args.grit:
        print(json.dumps(gritlm(args.work.resolve(), args.grit.resolve(), args.gritlm.resolve(), args.steps)), flush=True)


if __name__ == "__main__":
    main()
