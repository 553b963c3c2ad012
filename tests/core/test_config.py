"""Mistakes in a detector's own YAML: each is told by its key, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from detectors import resunet
from detectors.members import build
from lanner.core.config import ENCODERS, DetectorConfig, load_config, read_yaml
from lanner.core.errors import ConfigError
from tests.fixtures_process import ROOT

TEXT = (ROOT / "configs" / "roads.yaml").read_text(encoding="utf-8")


def changed(name: str = "roads", **changes: object) -> DetectorConfig:
    """A released detector with other values of some keys."""
    facts = load_config(ROOT / "configs" / f"{name}.yaml").model_dump(mode="json")
    return DetectorConfig.model_validate({**facts, **changes})


def with_arch(name: str, kind: str, **arch: object) -> DetectorConfig:
    """A released detector whose one member has another architecture."""
    return changed(
        name,
        closer=None,
        members=[{"name": "eye", "kind": kind, "weights": "eye.safetensors", "arch": arch}],
    )


def test_a_file_in_another_encoding_says_where(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(TEXT.replace("Road centrelines", "Straßen").encode("latin-1", "replace"))
    with pytest.raises(ConfigError, match=r"own\.yaml.*byte 0xdf in line \d+.*save it as UTF-8"):
        load_config(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("release: 2025-13-45", "month must be in 1..12.*line 1, column 10"),
        ("name: a\nname: b", "'name' is there twice.*line 2, column 1"),
        ("fusion: {iou: 0.5, iou: 0.6}", "'iou' is there twice"),
    ],
)
def test_what_yaml_alone_would_not_tell(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"own\.yaml.*is not valid YAML.*{message}"):
        load_config(path)


def test_anchors_and_merged_keys_are_no_repetition(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "x: [{deep: &b {<<: &a {iou: 0.5}, iou: 0.6}}]\nfusion: {<<: *b, iou: 0.7}\n",
        encoding="utf-8",
    )
    assert read_yaml(path.read_text()) == {
        "x": [{"deep": {"iou": 0.6}}],
        "fusion": {"iou": 0.7},
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("    weights:", "    gsd: 1\n    weights:"),
            r"members\.0\.gsd .*not a known key; remove it",
        ),
        (("    kind:", "    knd:"), r"members\.0\.knd .*did you mean 'kind'"),
        (("gsd_range:", "gsd_rnge:"), r"did you mean 'gsd_range'"),
        (("output: raster\n", ""), r"output 'own\.yaml': is missing; add it"),
    ],
)
def test_keys_that_are_not_there(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "own.yaml"
    assert change[0] in TEXT
    path.write_text(TEXT.replace(*change, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)" + message):
        load_config(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("release", "", "names a folder: use letters"),
        ("release", ".", "names a folder: use letters"),
        ("release", "../1.0", "names a folder: use letters"),
        ("release", ".1.0.0.part", "names a folder: use letters"),
        ("release", "1.0/2", "names a folder: use letters"),
        ("release", 0.2, "is a number to YAML: put it in quotes"),
        ("classes", [], "one or more, each named once"),
        ("classes", ["road", "path", "road"], "one or more, each named once"),
    ],
)
def test_names_that_would_lead_astray(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TEXT) | {key: value}), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"own\.yaml.*{message}"):
        load_config(path)


@pytest.mark.parametrize("given", [[1, 199], [-1, 99], [99, 1], [50, 50], [1, float("nan")]])
def test_percentiles_that_do_not_rise_within_a_hundred(tmp_path: Path, given: list[float]) -> None:
    path = tmp_path / "own.yaml"
    facts = yaml.safe_load(TEXT) | {"normalise": {"percentiles": given}}
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"normalise\.percentiles.*rise within 0 to 100"):
        load_config(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gsd": float("inf")}, r"^gsd 'inf': in own\.yaml: .*finite"),
        ({"version": "1"}, r"^version '1': is no whole number; write 1"),
        ({"version": 1.0}, r"^version '1\.0': is no whole number; write 1"),
        ({"version": 2}, r"^version '2': is newer than 1"),
        ({"tile": 64, "halo": 32}, r"own\.yaml': tile 64 leaves no core inside two halos of 32; c"),
        ({"gsd_range": [float("nan"), 2.0]}, r"own\.yaml': gsd_range .* must rise from above 0"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TEXT) | changes), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_member_weighs_something_finite(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    facts = yaml.safe_load(TEXT)
    facts["members"][0]["weight"] = float("inf")
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"members\.0\.weight 'inf'.*finite"):
        load_config(path)


@pytest.mark.parametrize("bands", [["red", "green"], ["red", "green", "blue", "nir"], []])
@pytest.mark.parametrize("name", ["aircraft", "roads"])
def test_networks_take_three_bands(name: str, bands: list[str]) -> None:
    config = changed(name, bands=bands)
    for one in config.networks:
        with pytest.raises(ConfigError, match=rf"^bands '.*not {len(bands)}; name 3"):
            build(config, one)
    again = changed(name, bands=["red", "red", "green"])
    assert build(again, again.networks[0]) is not None


@pytest.mark.parametrize(
    ("kind", "arch", "words"),
    [
        ("resunet", {"outputs": 2}, r'eye\.arch\.outputs \'2\'.*write it like \["road", "centre'),
        ("resunet", {"outputs": "road"}, r"eye\.arch\.outputs 'road'"),
        ("resunet", {"decoder_channels": ["wide"]}, r"decoder_channels.*\[128, 64, 48, 32\]"),
        ("resunet", {"decoder_channels": [16, -8, 16, 8]}, r"eye\.arch .*makes no resunet"),
        ("resunet", {"encoder": "lite0", "decoder_channels": [16, 8, 8, 8]}, r"lite0 takes 5 dec"),
        ("retinanet", {"channels": "many"}, r"eye\.arch\.channels 'many'.*like 128"),
        ("retinanet", {"channels": 20}, r"eye\.arch .*makes no retinanet"),
        ("retinanet", {"backbone": "resnet19"}, r"eye\.arch .*makes no retinanet"),
        ("retinanet", {"backbone": "alexnet"}, r"eye\.arch .*makes no retinanet"),
        ("retinanet", {"anchor_sizes": [12, 24]}, r"eye\.arch\.anchor_sizes"),
        ("retinanet", {"anchor_sizes": [[12], [24]]}, r"makes no retinanet.*3 rows"),
        ("retinanet", {"anchor_sizes": [[12], [24, 30], [60]]}, r"makes no retinanet.*3 rows"),
    ],
)
def test_an_architecture_that_cannot_be_built(
    kind: str, arch: dict[str, object], words: str
) -> None:
    config = with_arch("roads" if kind == "resunet" else "aircraft", kind, **arch)
    with pytest.raises(ConfigError, match=words):
        build(config, config.members[0])


@pytest.mark.parametrize("name", ["resnet19", "tu-tf_efficientnet_lite0", "Lite0", 18, None])
def test_an_unknown_encoder_names_the_known_ones(tmp_path: Path, name: object) -> None:
    path = tmp_path / "own.yaml"
    facts = yaml.safe_load(TEXT)
    facts["members"][0] |= {"kind": "resunet", "arch": {"encoder": name}}
    path.write_text(yaml.safe_dump(facts), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"one of resnet18, lite0, lite1, lite2, not"):
        load_config(path)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_makes_a_network(name: str) -> None:
    assert tuple(resunet.ENCODERS) == ENCODERS
    config = with_arch("roads", "resunet", encoder=name)
    net = build(config, config.members[0])
    assert isinstance(net, resunet.ResUNet)
    assert net.spec.decoder_channels == resunet.ENCODERS[name].decoder_channels
