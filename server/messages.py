"""A result as the events of a stream, each below the 4 MB that gRPC clients accept by default."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lanner.core.job import Progress
from lanner.v1 import detection_pb2 as pb
from lanner.v1 import detection_service_pb2 as service_pb

BATCH_BYTES = 1 << 20
"""Features share a message up to this size."""

LARGE_BYTES = 3 << 20
"""A feature above this size travels in pieces, any other one whole."""

CHUNK_BYTES = 1 << 20
"""Size of a piece of a large feature."""

_PER_FEATURE = 6
# Tag and length that a batch adds to each feature.

_DECISIONS = {"accept": pb.DECISION_ACCEPT, "review": pb.DECISION_REVIEW}


def progress_message(progress: Progress) -> pb.Progress:
    """How far the work is."""
    return pb.Progress(stage=progress.stage, done=progress.done, total=progress.total)


def summary_message(count: int, summary: Mapping[str, Any]) -> pb.Summary:
    """The end of a result: the number of features, and the summary as compact JSON."""
    text = json.dumps(dict(summary), ensure_ascii=False, separators=(",", ":"))
    unread = [
        pb.PixelBox(x0=x0, y0=y0, x1=x1, y1=y1) for x0, y0, x1, y1 in summary.get("unread", ())
    ]
    return pb.Summary(feature_count=count, json=text, unread=unread)


def summary_event(count: int, summary: Mapping[str, Any]) -> service_pb.DetectResponse:
    """The last event of a stream."""
    return service_pb.DetectResponse(summary=summary_message(count, summary))


def feature_message(text: str) -> pb.Feature:
    """One GeoJSON Feature text with the fields that are worth reading without parsing it."""
    feature = json.loads(text)
    properties = feature.get("properties") or {}
    confidence = properties.get("confidence")
    return pb.Feature(
        id=str(feature.get("id", properties.get("id", ""))),
        label=str(properties.get("label", "")),
        confidence=None if confidence is None else float(confidence),
        decision=_DECISIONS.get(properties.get("decision", ""), pb.DECISION_UNSPECIFIED),
        geojson=text,
    )


Part = tuple[pb.FeatureBatch | None, pb.FeatureChunk | None]
"""One of the two."""


def feature_events(texts: Iterable[str]) -> Iterator[service_pb.DetectResponse]:
    """The events of `feature_batches`."""
    for batch, chunk in feature_batches(texts):
        yield service_pb.DetectResponse(features=batch, chunk=chunk)


def feature_batches(texts: Iterable[str], first: int = 0) -> Iterator[Part]:
    """Batches of features, and the pieces of large ones, in order; lazily.

    Nothing is made before it is asked for, so a slow reader costs no memory here.

    Args:
        texts: GeoJSON Features.
        first: position of the first of them in the result.
    """
    batch = pb.FeatureBatch()
    size = 0
    for index, text in enumerate(texts, first):
        feature = feature_message(text)
        own = feature.ByteSize() + _PER_FEATURE
        if batch.features and (size + own > BATCH_BYTES):
            yield batch, None
            batch, size = pb.FeatureBatch(), 0
        if own > LARGE_BYTES:
            yield from _chunks(index, feature)
            continue
        if not batch.features:
            batch.first_index = index
        batch.features.append(feature)
        size += own
    if batch.features:
        yield batch, None


def _chunks(index: int, feature: pb.Feature) -> Iterator[Part]:
    """The pieces of one feature; the first carries its fields."""
    raw = feature.geojson.encode("utf-8")
    header = pb.Feature()
    header.CopyFrom(feature)
    header.ClearField("geojson")
    for start in range(0, len(raw), CHUNK_BYTES):
        stop = start + CHUNK_BYTES
        yield (
            None,
            pb.FeatureChunk(
                index=index,
                header=header if start == 0 else None,
                part=raw[start:stop],
                more=stop < len(raw),
            ),
        )
