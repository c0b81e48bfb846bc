"""Packs the data that the demo replays: the Azure LLM inference trace 2023 and FeedbackQA.

Reads a CSV file (TIMESTAMP, ContextTokens, GeneratedTokens) and a JSON Lines file (one question and passage a
line) and writes trace.json.zst and feedbackqa.json.zst, which ``barograph.demo.dataset`` reads. The same input
gives the same bytes.

    python tools/pack_replay.py AzureLLMInferenceTrace_conv.csv feedbackqa_valid_test.jsonl src/barograph/demo/data
"""

from __future__ import annotations

import argparse
import csv
import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import zstandard

LEVEL = 19  # packed once, read often
MICROSECOND = timedelta(microseconds=1)


def pack_trace(source: Path) -> dict[str, object]:
    """Arrivals as microseconds since the one before, and the two token counts."""
    arrivals, inputs, outputs = [], [], []
    with source.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            stamp = row["TIMESTAMP"]
            if not stamp.endswith("0"):
                raise SystemExit(f"{stamp}: finer than a microsecond, which the packed file cannot hold")
            arrivals.append(datetime.fromisoformat(stamp[:-1]))
            inputs.append(int(row["ContextTokens"]))
            outputs.append(int(row["GeneratedTokens"]))
    gaps = [0, *((b - a) // MICROSECOND for a, b in pairwise(arrivals))]
    if min(gaps) < 0:
        raise SystemExit(f"{source}: not in the order of time")
    return {
        "began": arrivals[0].isoformat(), "gap_us": gaps, "input_tokens": inputs, "output_tokens": outputs,
    }  # fmt: skip


def pack_feedback(source: Path) -> dict[str, object]:
    """Passages once each, and questions that point to them, with each passage's ratings and comments."""
    passages: dict[tuple[str, int], int] = {}
    texts: list[dict[str, object]] = []
    questions: dict[tuple[str, str], list[dict[str, object]]] = {}
    for line in source.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        row = json.loads(line)
        key = (row["domain"], row["passage_id"])
        if key not in passages:
            passages[key] = len(texts)
            texts.append({
                "id": f"{row['domain']}/{row['passage_id']}", "uri": row["uri"], "title": row["page_title"],
                "text": row["section_content"],
            })  # fmt: skip
        answers = questions.setdefault((row["domain"], row["question"]), [])
        ratings = [list(pair) for pair in zip(row["rating"], row["feedback"], strict=True)]
        answers.append({"passage": passages[key], "ratings": ratings})
    asked = [{"domain": domain, "question": text, "answers": a} for (domain, text), a in questions.items()]
    return {"passages": texts, "questions": asked}


def write(path: Path, content: dict[str, object]) -> None:
    """Write compact JSON, compressed."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(text.encode("utf-8"))
    path.write_bytes(packed)
    print(f"{path}: {len(packed):,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack the data that the demo replays.")
    parser.add_argument("trace", type=Path, help="AzureLLMInferenceTrace_conv.csv")
    parser.add_argument("feedback", type=Path, help="FeedbackQA's questions, passages and ratings as JSON Lines")
    parser.add_argument("output", type=Path, help="the folder to write to")
    given = parser.parse_args()
    write(given.output / "trace.json.zst", pack_trace(given.trace))
    write(given.output / "feedbackqa.json.zst", pack_feedback(given.feedback))


if __name__ == "__main__":
    main()
