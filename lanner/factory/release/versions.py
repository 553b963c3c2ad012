"""Which files the networks' weights are, and what the released version says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from detectors.calibration import FILE, load_calibration
from detectors.card import check_files, load_card, sha256_file
from lanner.config import DetectorConfig, load_config
from lanner.errors import WeightsError
from lanner.factory.releases import homes
from lanner.factory.shop import Shop
from lanner.factory.sides import Side, split_folder

DETECTOR = "detector.yaml"
"""The detector as it was released, in its release folder."""


def weights_files(shop: Shop, wanted: Mapping[str, str]) -> dict[str, Path]:
    """The files that evaluation used, by member, found by their checksums; and the `closer`, which
    no evaluation needs.

    Args:
        shop: the factory; its train step and the detector's releases are looked at.
        wanted: SHA-256 by member, as `predict.json` has them.

    Raises:
        WeightsError: a file is gone.
        DatasetError: there is no file of the `closer`.
    """
    from lanner.factory.evaluate import weights_file

    detector = shop.detector()
    result = {}
    for member in detector.members:
        train = shop.step_dir("train")
        places = [train / f"{member.name}.safetensors"]
        for home in homes(shop):
            found = sorted(home.glob(f"{detector.name}/*/{member.weights}"))
            # Hidden ones were left by a release that was stopped, and go away in the next one.
            places += [path for path in found if not path.parent.name.startswith(".")]
        same = (p for p in places if p.is_file() and sha256_file(p) == wanted.get(member.name))
        file = next(same, None)
        if file is None:
            raise WeightsError(
                "weights",
                member.name,
                "the file that was evaluated is gone",
                f"run: lanner factory train {shop.asked}, then evaluate",
            )
        result[member.name] = file
    if detector.closer is not None:
        result[detector.closer.name] = weights_file(shop, detector.closer)
    return result


def released_side(shop: Shop, folder: Path, split: str, new: Side) -> Side:
    """The released version on the images of a split, predicted where it was not yet.

    Raises:
        WeightsError: files of the release are missing or not what its card says.
    """
    from lanner.factory.evaluate.raw import load_raw, predict

    config = shop.detector()
    own = folder / DETECTOR
    if own.exists():
        config = load_config(own)
    check_files(folder, load_card(folder), (*(m.weights for m in config.members), FILE))
    weights = {member.name: folder / member.weights for member in config.members}
    raw_folder = split_folder(shop.step_dir("evaluate"), split)
    settings = shop.config.evaluate
    if _same_networks(config, weights, new):
        raw = load_raw(raw_folder, settings.chain_until)
    else:
        path = own if own.exists() else shop.detector_path
        settings_of = shop.config.model_copy(update={"detector": str(path.resolve())})
        other = replace(shop, config=settings_of)
        where = shop.step_dir("release") / "released" / folder.name / split
        predict(other, split, weights, where)
        raw = load_raw(where, settings.chain_until)
    calibration = load_calibration(folder / FILE)
    return Side(f"release {folder.name}", raw, config, calibration, settings)


def _same_networks(config: DetectorConfig, weights: Mapping[str, Path], new: Side) -> bool:
    """Whether the new one's predictions are also those of the released one."""
    from lanner.errors import ConfigError
    from lanner.factory.evaluate.fusing import check_variant

    kept = new.raw.facts.get("weights", {})
    if any(kept.get(name) != sha256_file(path) for name, path in weights.items()):
        return False
    try:
        check_variant(config, new.raw.config)
    except ConfigError:
        return False
    return True


__all__ = [
    "DETECTOR",
    "released_side",
    "weights_files",
]
