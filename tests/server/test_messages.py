"""A result of any size becomes messages below the default limit, and becomes itself again."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.client.client import _collected
from lanner.core.errors import LannerError, ServerError
from lanner.core.job import Progress
from lanner.v1 import detection_pb2 as pb
from lanner.v1 import detection_service_pb2 as service_pb
from server.messages import (
    BATCH_BYTES,
    LARGE_BYTES,
    feature_events,
    feature_message,
    progress_message,
    summary_event,
)

LIMIT = 4 * 1024 * 1024


def text_of(number: int, size: int, letter: str = "x") -> str:
    feature = {
        "type": "Feature",
        "id": f"f{number}",
        "geometry": None,
        "properties": {"label": "aircraft", "confidence": 0.5, "decision": "review"},
    }
    feature["properties"]["pad"] = letter * size
    return json.dumps(feature, ensure_ascii=False)


def rebuilt(texts: list[str]) -> tuple[str, ...]:
    events = [*feature_events(texts), summary_event(len(texts), {"n": len(texts)})]
    assert max(event.ByteSize() for event in events) < LIMIT
    found = _collected(events, lambda _: None, "here:1")
    assert found.summary == {"n": len(texts)}
    return found.features


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.integers(0, 2000),
                st.integers(BATCH_BYTES - 400, BATCH_BYTES + 100),
                st.integers(LARGE_BYTES - 400, LARGE_BYTES + 100),
            ),
            st.sampled_from("xé飛"),
        ),
        max_size=6,
    )
)
def test_any_mixture_of_sizes_survives(sizes):
    texts = [text_of(i, n // len(c.encode()), c) for i, (n, c) in enumerate(sizes)]
    assert rebuilt(texts) == tuple(texts)


def test_features_between_large_ones_keep_their_order_and_index():
    sizes = [10, LARGE_BYTES + 1, 10, 10, 2 * LARGE_BYTES, 10]
    texts = [text_of(i, n) for i, n in enumerate(sizes)]
    events = list(feature_events(texts))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["features", *["chunk"] * 4, "features", *["chunk"] * 7, "features"]
    first = [e.features.first_index for e in events if e.WhichOneof("event") == "features"]
    assert first == [0, 2, 5]
    chunks = [e.chunk for e in events if e.WhichOneof("event") == "chunk"]
    assert [c.index for c in chunks] == [1] * 4 + [4] * 7
    assert [c.more for c in chunks] == [True] * 3 + [False] + [True] * 6 + [False]
    assert [c.HasField("header") for c in chunks] == [True, *[False] * 3, True, *[False] * 6]
    assert chunks[0].header == pb.Feature(
        id="f1", label="aircraft", confidence=0.5, decision=pb.DECISION_REVIEW
    )
    assert rebuilt(texts) == tuple(texts)


def test_small_features_share_messages():
    texts = [text_of(i, 1000) for i in range(5000)]
    events = list(feature_events(texts))
    sizes = [event.ByteSize() for event in events]
    assert len(events) == -(-sum(sizes) // BATCH_BYTES)
    assert max(sizes) <= BATCH_BYTES + 64


def test_nothing_is_made_before_it_is_asked_for():
    asked = []

    def texts():
        for number in range(100):
            asked.append(number)
            yield text_of(number, BATCH_BYTES)

    stream = feature_events(texts())
    next(stream)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "properties, expected",
    [
        (
            {"id": "a", "label": "road", "confidence": 0.25, "decision": "accept"},
            pb.Feature(id="a", label="road", confidence=0.25, decision=pb.DECISION_ACCEPT),
        ),
        ({"confidence": 0}, pb.Feature(confidence=0.0)),
        ({"confidence": None, "decision": "new"}, pb.Feature()),
        (None, pb.Feature()),
    ],
)
def test_typed_fields_come_from_the_properties(properties, expected):
    text = json.dumps({"type": "Feature", "geometry": None, "properties": properties})
    expected.geojson = text
    assert feature_message(text) == expected


def test_an_incomplete_result_is_refused():
    texts = [text_of(i, 10) for i in range(3)]
    events = list(feature_events(texts))
    for stream in (events, [*events, summary_event(4, {})], []):
        with pytest.raises(ServerError, match="incomplete result"):
            _collected(stream, lambda _: None, "here:1")
    assert issubclass(ServerError, LannerError)


def test_an_event_of_a_later_release_is_skipped():
    stream = [service_pb.DetectResponse(), summary_event(0, {"ok": 1})]
    assert _collected(stream, lambda _: None, "here:1").summary == {"ok": 1}


def test_progress_crosses_unchanged():
    events: list[Progress] = []
    progress = Progress("tiles", 3, 2**40)
    sent = [service_pb.DetectResponse(progress=progress_message(progress)), summary_event(0, {})]
    _collected(sent, events.append, "here:1")
    assert events == [progress]
