"""True dimensions of real aircraft, enough of them to draw a believable plan view.

Length, wingspan, height and fuselage width are the makers' published figures; chords, sweeps
and wing positions are read off published three-view drawings, to about a tenth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["airliner", "business", "turboprop", "fighter", "military", "light"]
Engines = Literal["wing", "rear", "inside", "prop", "nose"]


@dataclass(frozen=True)
class AircraftType:
    """One type; metres and degrees.

    `wing_at` and `tail_at` place the leading edges' roots as shares of the length behind the
    nose; `sweep` is of the leading edge; `root` and `tip` are chords; `engine_at` gives the
    nacelles' places as shares of the half span.
    """

    icao: str
    name: str
    role: Role
    length: float
    span: float
    height: float
    body: float
    wing_at: float
    root: float
    tip: float
    sweep: float
    tail_at: float
    tail_span: float
    tail_root: float
    tail_sweep: float
    engines: Engines
    engine_at: tuple[float, ...] = ()
    nacelle: tuple[float, float] = (3.5, 2.0)
    fins: int = 1
    rotodome: float = 0.0


def _t(*fields: object, **more: object) -> AircraftType:
    return AircraftType(*fields, **more)  # type: ignore[arg-type]  # a table of literals


# fmt: off
TYPES: tuple[AircraftType, ...] = (
    _t("A320", "Airbus A320", "airliner", 37.57, 34.09, 11.8, 3.95, .32, 7.6, 1.6, 27,
       .84, 12.5, 4.2, 32, "wing", (.335,), (4.4, 2.4)),
    _t("A21N", "Airbus A321neo", "airliner", 44.51, 35.80, 11.8, 3.95, .34, 7.7, 1.5, 27,
       .86, 12.5, 4.2, 32, "wing", (.33,), (4.6, 2.6)),
    _t("B738", "Boeing 737-800", "airliner", 39.47, 34.31, 12.5, 3.76, .33, 7.9, 1.5, 28,
       .84, 14.3, 4.6, 35, "wing", (.285,), (4.5, 2.1)),
    _t("B763", "Boeing 767-300", "airliner", 54.94, 47.57, 15.9, 5.03, .33, 10.6, 2.2, 34,
       .84, 18.6, 6.2, 37, "wing", (.33,), (6.0, 2.9)),
    _t("B77W", "Boeing 777-300ER", "airliner", 73.86, 64.80, 18.5, 6.20, .33, 13.5, 2.0, 35,
       .86, 21.5, 7.4, 38, "wing", (.305,), (7.3, 3.8)),
    _t("B788", "Boeing 787-8", "airliner", 55.91, 60.12, 17.0, 5.77, .32, 11.8, 1.4, 35,
       .85, 19.8, 6.4, 38, "wing", (.325,), (6.3, 3.3)),
    _t("A333", "Airbus A330-300", "airliner", 63.69, 60.30, 16.8, 5.64, .32, 11.6, 2.2, 32,
       .86, 19.4, 6.4, 34, "wing", (.315,), (6.5, 3.1)),
    _t("A388", "Airbus A380-800", "airliner", 72.72, 79.75, 24.1, 7.14, .29, 17.8, 3.2, 36,
       .82, 30.4, 10.5, 38, "wing", (.37, .645), (6.2, 3.5)),
    _t("B744", "Boeing 747-400", "airliner", 70.67, 64.40, 19.4, 6.50, .27, 14.8, 3.0, 41,
       .84, 22.2, 8.6, 42, "wing", (.375, .66), (5.8, 2.9)),
    _t("E190", "Embraer E190", "airliner", 36.24, 28.72, 10.6, 3.01, .35, 6.2, 1.4, 27,
       .85, 12.1, 3.8, 32, "wing", (.30,), (3.9, 1.9)),
    _t("CRJ9", "Bombardier CRJ-900", "airliner", 36.20, 24.84, 7.5, 2.69, .40, 5.6, 1.2, 29,
       .90, 8.5, 3.0, 33, "rear", (.20,), (4.1, 1.6)),
    _t("MD83", "McDonnell Douglas MD-83", "airliner", 45.02, 32.85, 9.0, 3.35, .42, 7.0, 1.3, 28,
       .91, 12.2, 4.0, 35, "rear", (.165,), (5.8, 1.7)),
    _t("AT76", "ATR 72-600", "turboprop", 27.17, 27.05, 7.7, 2.87, .40, 2.9, 1.6, 3,
       .90, 7.4, 2.2, 10, "prop", (.30,), (4.2, 1.1)),
    _t("DH8D", "Dash 8 Q400", "turboprop", 32.81, 28.40, 8.3, 2.69, .41, 3.2, 1.5, 4,
       .91, 9.3, 2.3, 10, "prop", (.31,), (6.2, 1.4)),
    _t("BE20", "King Air 200", "turboprop", 13.34, 16.61, 4.6, 1.45, .31, 2.7, 1.1, 6,
       .90, 5.6, 1.5, 18, "prop", (.315,), (3.4, .95)),
    _t("PC12", "Pilatus PC-12", "turboprop", 14.40, 16.20, 4.3, 1.65, .34, 2.1, .9, 4,
       .88, 5.2, 1.5, 12, "nose", (), (1.9, .8)),
    _t("GLF5", "Gulfstream V", "business", 29.40, 28.48, 7.9, 2.39, .38, 6.3, 1.2, 31,
       .90, 10.7, 3.0, 33, "rear", (.185,), (4.8, 1.7)),
    _t("C56X", "Citation Excel", "business", 16.00, 17.17, 5.2, 1.83, .42, 2.9, 1.0, 4,
       .87, 6.6, 1.8, 14, "rear", (.215,), (3.0, 1.0)),
    _t("LJ35", "Learjet 35", "business", 14.83, 12.04, 3.7, 1.63, .44, 2.7, 1.4, 13,
       .90, 4.5, 1.4, 25, "rear", (.245,), (2.5, .9)),
    _t("K35R", "KC-135R Stratotanker", "military", 41.53, 39.88, 12.7, 3.66, .29, 8.9, 2.4, 36,
       .80, 12.3, 4.6, 36, "wing", (.41, .665), (4.6, 2.2)),
    _t("E3TF", "E-3 Sentry", "military", 46.61, 44.42, 12.7, 3.76, .30, 9.4, 2.4, 36,
       .82, 13.9, 4.8, 36, "wing", (.40, .665), (3.9, 1.6), rotodome=9.1),
    _t("C17", "C-17 Globemaster III", "military", 53.00, 51.75, 16.8, 6.85, .32, 10.8, 3.4, 27,
       .87, 19.8, 6.3, 30, "wing", (.30, .555), (5.6, 2.8)),
    _t("C130", "C-130H Hercules", "military", 29.79, 40.41, 11.6, 4.33, .36, 4.9, 2.6, 1,
       .83, 16.1, 4.1, 8, "prop", (.255, .51), (5.0, 1.2)),
    _t("B52", "B-52H Stratofortress", "military", 48.50, 56.39, 12.4, 3.30, .26, 9.4, 3.6, 37,
       .83, 17.0, 6.0, 40, "wing", (.37, .65), (5.2, 2.9)),
    _t("F16", "F-16C Fighting Falcon", "fighter", 15.03, 9.45, 5.1, 1.45, .36, 5.0, 1.1, 40,
       .78, 5.6, 2.6, 40, "inside"),
    _t("F15", "F-15E Strike Eagle", "fighter", 19.43, 13.05, 5.6, 3.10, .37, 7.6, 1.7, 45,
       .79, 8.6, 3.4, 50, "inside", fins=2),
    _t("F18S", "F/A-18E Super Hornet", "fighter", 18.38, 13.62, 4.9, 2.60, .42, 5.9, 1.8, 29,
       .80, 7.2, 2.7, 44, "inside", fins=2),
    _t("SU27", "Sukhoi Su-27", "fighter", 21.94, 14.70, 5.9, 3.30, .38, 7.4, 2.0, 42,
       .76, 9.9, 3.6, 45, "inside", fins=2),
    _t("A10", "A-10 Thunderbolt II", "fighter", 16.26, 17.53, 4.5, 1.50, .39, 3.2, 2.0, 2,
       .85, 5.7, 2.0, 4, "rear", (.155,), (3.4, 1.4), fins=2),
    _t("C172", "Cessna 172", "light", 8.28, 11.00, 2.7, 1.05, .25, 1.65, 1.15, 1,
       .86, 3.45, 1.1, 8, "nose", (), (.9, .8)),
    _t("SR22", "Cirrus SR22", "light", 7.92, 11.68, 2.7, 1.25, .28, 1.5, .85, 2,
       .87, 3.9, 1.0, 8, "nose", (), (1.0, .8)),
    _t("PA28", "Piper PA-28 Cherokee", "light", 7.25, 9.75, 2.2, 1.10, .29, 1.65, 1.4, 2,
       .87, 3.3, .9, 4, "nose", (), (.9, .8)),
)
# fmt: on
"""Sorted by role, then size; the order is part of what a seed means."""

BY_ICAO: dict[str, AircraftType] = {t.icao: t for t in TYPES}
