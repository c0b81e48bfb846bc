"""How long each stage took, modelled: the trace has arrivals and tokens, but no times.

Time to first token and time per token are straight lines through figures that NVIDIA publishes for the same model
(NIM for LLMs, benchmarking guide 1.0.0, Llama 3.3 70B Instruct, version 1.8.0, two H100 80 GB, fp8, concurrency 5):
126.53 ms to the first of 2,000 tokens after 500, 546.7 ms to the first of 500 tokens after 5,000, then 21.83 ms a
token. Retrieval time and the spreads are assumptions, chosen to look like a vector search over the network.
Events name the fields that come from here in ``modelled``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SHORT_PROMPT, _SHORT_SECONDS = 500, 0.12653
_LONG_PROMPT, _LONG_SECONDS = 5000, 0.5467

SECONDS_PER_INPUT_TOKEN = (_LONG_SECONDS - _SHORT_SECONDS) / (_LONG_PROMPT - _SHORT_PROMPT)
FIRST_TOKEN_SECONDS = _SHORT_SECONDS - _SHORT_PROMPT * SECONDS_PER_INPUT_TOKEN
SECONDS_PER_OUTPUT_TOKEN = 0.02183
GENERATION_SPREAD = 0.15  # sigma of the lognormal noise on prompt and token speed: an assumption
RETRIEVAL_SECONDS = 0.12  # median: an assumption
RETRIEVAL_SPREAD = 0.5  # sigma of its logarithm, so p95 is 0.27 s: an assumption
DECIMALS = 4  # a tenth of a millisecond: finer would pretend to know more

FIELDS = ("response_time", "retrieval_time", "generation_time", "time_to_first_token")


class StageTimes(NamedTuple):
    """Seconds, one number a request, named like the event's fields."""

    response_time: NDArray[np.float64]
    retrieval_time: NDArray[np.float64]
    generation_time: NDArray[np.float64]
    time_to_first_token: NDArray[np.float64]


def model_stage_times(
    input_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64], generator: np.random.Generator
) -> StageTimes:
    """The modelled times of requests of that size.

    ``prefill = (a + b · input) · e₁``, ``decode = c · (output - 1) · e₂``, ``retrieval = m · e₃`` with lognormal
    ``e`` of median 1; generation is prefill and decode, the first token comes after retrieval and prefill.
    """
    n = len(input_tokens)
    prefill = (FIRST_TOKEN_SECONDS + SECONDS_PER_INPUT_TOKEN * input_tokens) * _noise(generator, GENERATION_SPREAD, n)
    decode = SECONDS_PER_OUTPUT_TOKEN * (output_tokens - 1) * _noise(generator, GENERATION_SPREAD, n)
    retrieval = np.round(RETRIEVAL_SECONDS * _noise(generator, RETRIEVAL_SPREAD, n), DECIMALS)
    generation = np.round(prefill + decode, DECIMALS)
    return StageTimes(
        response_time=np.round(retrieval + generation, DECIMALS),
        retrieval_time=retrieval,
        generation_time=generation,
        time_to_first_token=np.round(retrieval + prefill, DECIMALS),
    )


def _noise(generator: np.random.Generator, sigma: float, size: int) -> NDArray[np.float64]:
    return np.exp(generator.normal(0.0, sigma, size))
