"""Operation: how often samples are drawn, and how much the labels of a source count."""

from __future__ import annotations

import dataclasses

from pydantic import Field

from lanner.core.config import Strict
from lanner.core.errors import ConfigError
from lanner.factory.ops.work import Samples, Work


class Params(Strict):
    """Factors by source: `samples` of how often it is drawn, `labels` of what its labels count."""

    samples: dict[str, float] = Field(default_factory=dict)
    labels: dict[str, float] = Field(default_factory=dict)


def run(samples: Samples, work: Work, params: Params) -> Samples:
    """Multiply weights.

    Raises:
        ConfigError: no such source, or a negative factor.
    """
    for key, table in (("samples", params.samples), ("labels", params.labels)):
        work.require_sources(tuple(table), samples, key)
        for name, factor in table.items():
            if factor < 0:
                raise ConfigError(
                    f"process.weight.{key}.{name}", factor, "is negative", "give 0 or more"
                )
    out = []
    for one in samples:
        often, counts = params.samples.get(one.source, 1.0), params.labels.get(one.source, 1.0)
        if often != 1 or counts != 1:
            labels = tuple(
                dataclasses.replace(label, weight=label.weight * counts) for label in one.labels
            )
            work.note(one.id, f"drawn x{often:g}, labels x{counts:g}")
            out.append(one.but(weight=one.weight * often, labels=labels))
        else:
            out.append(one)
    return tuple(out)
