"""Builds configs/types.yaml, the catalogue of aircraft types, from a table of facts.

    python scripts/build_types.py TYPES.csv configs/types.yaml

The table is that of mrciolino/AllPlanes (Apache-2.0): designator, name, role, size, engines, wing,
number built. What is done to it: winglet variants that share a designator become one type with
several spans, missiles and targets go, a few facts are corrected (`CORRECTIONS`), and every type
gets a family of configs/taxonomy.yaml by the rules below.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEAD = """\
# Aircraft types: sizes in metres on the ground. Written by scripts/build_types.py; do not edit.
# Source: mrciolino/AllPlanes (https://github.com/mrciolino/AllPlanes), Apache-2.0; changed:
# variants merged, missiles left out, facts corrected, families assigned.
# icao: designator; spans: wingspans it is seen with (winglets, wings swept or folded);
# wing: straight, swept, delta or swing; engines_at: wings, hips (rear fuselage), fuselage, nose,
# tail; built: number built; retired: no longer in service; fuselage: its greatest width, where it
# is published and known; rotodome: carries a disc above the fuselage.
"""

NOT_AIRCRAFT = {"BQM34A", "CIM10", "D21", "MGM1", "MGM13", "SM62", "HMAT", "SNGY"}

CORRECTIONS: dict[str, dict[str, Any]] = {
    # Sharklets or winglets are common on these and not in the table.
    "A318": {"spans": [34.10]},
    "A319": {"spans": [34.10, 35.80]},
    "A320": {"spans": [34.10, 35.80]},
    "A321": {"spans": [34.10, 35.80]},
    "B763": {"spans": [47.57, 50.90]},
    "E3TF": {"length": 46.61, "spans": [44.42]},
    "R135": {"length": 41.53, "spans": [39.88]},
    "C135": {"length": 41.53, "spans": [39.88]},
}

# Metres, from the makers' published cross sections.
FUSELAGE = {
    2.28: "E135 E140 E145 E45X E120",
    2.31: "SF34 SB20",
    2.39: "GLF2 GLF3 GLF4 GLF5 GLF55",
    2.50: "F900 F2TH FA7X TU16 H6",
    2.69: "CRJ2 CRJ7 CRJ9 CRJX CL60 GLEX GL5T DH8A DH8C DH8D",
    2.87: "AT42 AT72 CONC",
    2.90: "AN24 AN26 AN30 AN32 Y7 T134 TU95 T116",
    3.01: "E170 E75L E75S E190 E195 E275 E290 E295",
    3.30: "F28 F70 F100 B52",
    3.34: "DC91 DC92 DC93 DC94 DC95 MD80 MD87 MD90 B712",
    3.45: "P3 L188",
    3.56: "B461 B462 B463",
    3.66: "K35R C135 R135",
    3.70: "A221 A223 CS50",
    3.73: "DC85 DC86 DC87",
    3.75: "IL62 VC10",
    3.76: """B701 B703 B721 B722 B731 B732 B733 B734 B735 B736 B737 B738 B739 B37M B38M B39M
        B3XM B752 B753 E3TF E6 E737 P8""",
    3.80: "T154 T204 YK42",
    3.95: "A318 A319 A320 A321 A19N A20N A21N",
    3.96: "C919",
    4.10: "AN12 Y8 KJ2",
    4.32: "C130 C13J C141A C141B",
    4.80: "IL76 A50 KJ20",
    5.03: "B762 B763 B763F B764 KC46 E767",
    5.64: "A306 A30B A310 A332 A333 A339 A342 A343 A345 A346 A400",
    5.77: "B788 B789 B78X",
    5.96: "A358 A359 A35K",
    5.97: "L1011 L1015",
    6.02: "DC10 DC11 MD11 KC10",
    6.08: "IL86 IL96",
    6.20: "B772 B773 B778 B779 B77L B77W",
    6.50: "B741 B744 B748 B74S BLCF",
    6.85: "C17",
    7.14: "A388",
}

ROTODOME = "A50 KJ20 KJ5 KJ6 E3TF E767 E1 E2"

WIDE = "A30 A310 A33 A34 A35 A38 A3ST A3XL B74 BLCF B76 B77 B78 DC10 DC11 MD11 IL86 IL96 L101"
NARROW = """A19N A20N A21N A22 CS50 A318 A319 A32 B37M B38M B39M B3XM B70 B712 B72 B73 B75 C919 DC8
    DC9 MD8 MD90 CONC IL62 VC10 T104 T124 T134 T144 T154 T204 YK42 S210 MRCR BA11"""
REGIONAL = """CRJ E13 E140 E145 E170 E19 E27 E29 E45X E75 AJ27 SU95 F28 F70 F100 B46 J328 V614 YK40
    A148"""
AIRLINER_PROP = "T114 L188 DC3 DC4 DC6 DC7 CONI CONI3 L1649 M404 L18 JU52 IL14 IL18 AN24 AN10 A140"
TANKER = "K35R KC10 KC46 KC97"
BOMBER = """B1 B2 B52 B45 B47 B57 B58 B66 H6 MY4 T160 T22M TU22 TU16 TU95 TU14 VKTR VULC A3 A3J IL28
    H5 RB57 WB57 MIR4 B17 B18 B23 B24 B25 B26 A26 B29 B36 LANC TU4 TU2 H111 PZ37 BLEN MOSQ AJ2 PV1
    PV2 P4Y T116"""
SURVEILLANCE = """A50 KJ20 KJ2 KJ5 KJ6 E3TF E6 E737 E767 R135 NIM P1 P8 P3 E1 E2 AEW2 ATLA IL38 BE12
    BER4 CONI2 P2V3 P2V7 S2P S3 RC12 M55 U2C U2S ANKA2 WZ7 RQ4A RQ4B V1 US2 CAT DO24 Y25RV"""
TRAINER = """AJET C101 CL41 FOUG G2GL G4SG GNAT HAWK HT16 HT36 I22 IR99 JPRO L29 L39 L159 M326 M339
    T1 T2 T33 T38 T4 TS11 Y130 JL8 JL10 STRK SATA SB05 A37 T37 JAST"""
TILT = "V22"
OTHER = {
    "YK28": "fighter",
    "L29B": "business_jet",
    "BER2": "surveillance",
    "QSRA": "military_transport",
    "M15": "light_single",
    "ARES": "fighter",
    "A225": "military_transport",
    "F100C": "fighter",
    "JPATS": "jet_trainer",
    "AN2": "light_single",
    "ANKA": "surveillance",
    "BZK5": "surveillance",
    "GJ1": "surveillance",
    "AEW3": "surveillance",
    "SR71": "surveillance",
}

# By whole designator or, in the airliner lists, by its beginning.
EXACT = [
    ("tiltrotor", TILT),
    ("tanker", TANKER),
    ("bomber", BOMBER),
    ("surveillance", SURVEILLANCE),
    ("jet_trainer", TRAINER),
    ("propeller_airliner", AIRLINER_PROP),
]
PREFIX = [("wide_body", WIDE), ("narrow_body", NARROW), ("regional_jet", REGIONAL)]


def family(row: dict[str, str]) -> str:
    """The family of one row of the table."""
    code, role, kind = row["ICAO"], row["CMX"], row["engine_type"]
    length, span = float(row["length"]), float(row["wingspan"])
    if code in OTHER:
        return OTHER[code]
    for name, codes in EXACT:
        if code in codes.split():
            return name
    for name, codes in PREFIX:
        if kind == "jet" and code.startswith(tuple(codes.split())):
            return name
    if kind == "none" or (span / length > 1.9 and length < 11):
        return "glider"
    if role == "M":
        if kind == "jet":
            large = row["engine_position"] == "['wings']" and length >= 20
            return "military_transport" if large else "fighter"
        return "military_transport" if int(row["num_engines"]) > 1 and length > 15 else "warbird"
    if kind == "jet":
        return "fighter" if code in {"SVIX", "VAMP", "VNOM", "VNOS"} else "business_jet"
    if int(row["num_engines"]) == 1:
        return "light_single"
    return "propeller_airliner" if length > 18 else "light_twin"


def entries(rows: Iterable[dict[str, str]]) -> list[dict[str, Any]]:
    """Catalogue entries, sorted by designator."""
    kept = {row["ICAO"]: row for row in rows if row["ICAO"] not in NOT_AIRCRAFT}
    found = {code: _entry(row) for code, row in kept.items()}
    for code in sorted(found):
        base = found.get(code[:-1])
        same = base is not None and abs(found[code]["length"] - base["length"]) < 1.5
        if base is not None and same and code.endswith("W"):
            winged = found.pop(code)
            base["spans"] = sorted({*base["spans"], *winged["spans"]})
            base["built"] += winged["built"]
    for code, facts in CORRECTIONS.items():
        found[code].update(facts)
    for width, codes in FUSELAGE.items():
        for code in codes.split():
            found[code]["fuselage"] = width
    for code in ROTODOME.split():
        found[code]["rotodome"] = True
    return [found[code] for code in sorted(found)]


def _entry(row: dict[str, str]) -> dict[str, Any]:
    folded = row["wingspan_swept_folded"]
    spans = {round(float(span), 2) for span in (row["wingspan"], folded) if span}
    at = row["engine_position"].strip("[]").replace("'", "").split(", ")[0]
    last = row["year_last_produced"] or row["year_introduced"]
    old = bool(row["year_retired"]) or (row["CMX"] == "M" and bool(last) and int(last) < 1960)
    return {
        "icao": row["ICAO"],
        "name": row["name"].strip(),
        "family": family(row),
        "length": round(float(row["length"]), 2),
        "spans": sorted(spans),
        "wing": row["wing_shape"],
        "engines": int(row["num_engines"]),
        "engines_at": at,
        "built": max(int(row["num_built"]), 1),
        "retired": old,
    }


def main(source: str, target: str) -> None:
    with Path(source).open(encoding="utf-8", newline="") as file:
        found = entries(csv.DictReader(file))
    # JSON in flow style is YAML, one type a line: small, and quick to compare.
    lines = [f"  - {json.dumps(entry, ensure_ascii=False)}" for entry in found]
    text = "\n".join([HEAD + "version: 1", "types:", *lines, ""])
    Path(target).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
