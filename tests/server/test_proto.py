"""The wire format keeps the rules that let it grow, and the generated code is current."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from lanner.v1 import detection_pb2, detection_service_pb2, upload_service_pb2

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    detection_pb2.DESCRIPTOR,
    detection_service_pb2.DESCRIPTOR,
    upload_service_pb2.DESCRIPTOR,
]
MESSAGES = [message for file in FILES for message in file.message_types_by_name.values()]
ENUMS = [enum for file in FILES for enum in file.enum_types_by_name.values()]
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def gen_proto(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(ROOT / "scripts" / "gen_proto.py"), *arguments]
    return subprocess.run(script, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    target = tmp_path / "v1"
    shutil.copytree(ROOT / "lanner" / "v1", target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_the_committed_code_is_what_proto_makes():
    done = gen_proto("--check")
    assert done.returncode == 0, done.stderr


def test_stale_missing_and_left_over_code_is_noticed_and_mended(copy):
    stub = copy / "detection_pb2.pyi"
    stub.write_text(stub.read_text() + "# more\n")
    (copy / "detection_service_pb2.py").unlink()
    (copy / "old_pb2.py").write_text("")
    done = gen_proto("--check", "--folder", str(copy))
    assert done.returncode == 1
    assert re.findall(r"v1/(\S+)", done.stderr) == [
        "detection_pb2.pyi",
        "detection_service_pb2.py",
        "old_pb2.py",
    ]
    assert gen_proto("--folder", str(copy)).returncode == 0
    assert gen_proto("--check", "--folder", str(copy)).returncode == 0
    assert not (copy / "old_pb2.py").exists()


def test_packages_and_folders_agree():
    for file in FILES:
        assert file.package == "lanner.v1"
        assert file.name.startswith("lanner/v1/")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.name)
def test_fields_are_named_and_numbered_so_that_others_can_follow(message):
    for field in message.fields:
        assert SNAKE.fullmatch(field.name), field.full_name
        assert field.number < 16, f"{field.full_name}: leave no gap without need"
    assert not any(field.is_required for field in message.fields)


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_enums_begin_unspecified_and_carry_their_name(enum):
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
    assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
    assert all(value.name.startswith(f"{prefix}_") for value in enum.values)


def test_every_rpc_has_messages_of_its_own():
    services = [one for file in FILES for one in file.services_by_name.values()]
    used = []
    # Things that several methods may answer with (https://google.aip.dev/131).
    things = {"Detector", "DetectionPlan", "Upload", "WatchEvent", "Operation", "HttpBody", "Empty"}
    methods = [method for service in services for method in service.methods]
    for method in methods:
        assert method.input_type.name == f"{method.name}Request"
        used.append(method.input_type.full_name)
        if method.output_type.name not in things:
            assert method.output_type.name == f"{method.name}Response"
            used.append(method.output_type.full_name)
    assert len(set(used)) == len(used) > len(methods) > 8


def test_choices_that_will_grow_are_oneofs():
    grows = {
        f"{m.name}.{one.name}" for m in MESSAGES for one in m.oneofs if not one.name.startswith("_")
    }
    assert grows == {
        "SceneSource.source",
        "DetectorChoice.choice",
        "DetectResponse.event",
        "WatchEvent.event",
    }


def test_a_zero_that_means_something_can_be_told_from_nothing():
    for message, name in (
        ("DetectionSpec", "gsd_m"),
        ("DetectionSpec", "tile"),
        ("Feature", "confidence"),
    ):
        assert FILES[0].message_types_by_name[message].fields_by_name[name].has_presence


def test_text_that_may_be_cut_anywhere_is_bytes():
    chunk = FILES[0].message_types_by_name["FeatureChunk"]
    assert chunk.fields_by_name["part"].type == FieldDescriptor.TYPE_BYTES


@pytest.mark.parametrize("path", sorted((ROOT / "proto").rglob("*.proto")), ids=lambda p: p.name)
def test_everything_is_explained(path):
    lines = path.read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"(message|enum|service)\b|\s+rpc\b", line):
            assert before.strip().startswith("//"), line


def test_importing_lanner_loads_no_grpc():
    code = (
        "import sys, lanner; assert 'grpc' not in sys.modules; "
        "assert 'Client' in dir(lanner); lanner.Client; assert 'grpc' in sys.modules; "
        "assert not {'torch', 'geopandas', 'rasterio'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import lanner

    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        _ = lanner.Clinet
