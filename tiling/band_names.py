"""What bands are called in the languages that GIS software is used in, for `tiling.bands`."""

from __future__ import annotations

import re
import unicodedata

# Small letters without accents: what `folded` makes of a description.
_WORDS = {
    "red": "red r rot roter rouge rojo roja rosso rossa vermelho vermelha rood rode czerwony "
    "czerwien",
    "green": "green g grun gruner gruen gruener vert verte verde groen groene zielony zielen",
    "blue": "blue b blau blauer bleu bleue azul blu blauw blauwe niebieski",
    "nir": "nir nir1 nearinfrared infrared ir nahinfrarot infrarot infrarouge pir infrarrojo "
    "infrarosso infravermelho infrarood podczerwien",
    "rededge": "rededge",
    "coastal": "coastal",
    "gray": "gray grey pan panchromatic luminance grau graustufen panchromatisch gris "
    "panchromatique grigio pancromatico pancromatica cinza grijs grijswaarden szary "
    "panchromatyczny",
    "alpha": "alpha alfa transparenz transparence transparencia trasparenza transparantie "
    "przezroczystosc",
}
_PHRASES = {
    "near infrared": "nir",
    "near ir": "nir",
    "nahes infrarot": "nir",
    "proche infrarouge": "nir",
    "infrarouge proche": "nir",
    "infrarrojo cercano": "nir",
    "infrarrojo proximo": "nir",
    "infrarosso vicino": "nir",
    "vicino infrarosso": "nir",
    "infravermelho proximo": "nir",
    "nabij infrarood": "nir",
    "bliska podczerwien": "nir",
    "red edge": "rededge",
    "coastal blue": "coastal",
    "coastal aerosol": "coastal",
    "niveaux de gris": "gray",
    "escala de grises": "gray",
    "scala di grigi": "gray",
    "escala de cinza": "gray",
    "odcienie szarosci": "gray",
    # Sentinel-2 and the harmonised Landsat set: the leading zero is theirs alone.
    "b02": "blue",
    "b03": "green",
    "b04": "red",
    "b08": "nir",
}
SYNONYMS = {word: name for name, words in _WORDS.items() for word in words.split()} | _PHRASES
"""Folded descriptions and the one name for each."""

BAND = "band|layer|channel|kanal|bande|couche|banda|canal|canale|kanaal|laag|warstwa|pasmo"
"""Words for a band, as alternatives of a regular expression."""

# What software writes when it has nothing to say.
_EMPTY = re.compile(rf"({BAND}|b)? ?[1-9]?\d*")
_AROUND = re.compile(rf"^(b|{BAND}) ?\d+ ?[:(]? ?|^({BAND}) | ({BAND})$|\)$")


def folded(text: str) -> str:
    """A description in small letters without accents, words parted by one space."""
    plain = unicodedata.normalize("NFKD", text.strip().casefold().replace("ł", "l"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return re.sub(r"[\s_-]+", " ", plain)


def known_name(text: str) -> str | None:
    """The one name for a folded description; None for one that is not known."""
    # GDAL's own of Sentinel-2: "B4, central wavelength 665 nm".
    plain = re.sub(r", central wavelength .*", "", text)
    return SYNONYMS.get(plain) or SYNONYMS.get(_AROUND.sub("", plain).strip())


def says_nothing(text: str) -> bool:
    """Whether a folded description is a number alone, such as `Band 1`, or empty."""
    return _EMPTY.fullmatch(text) is not None


def last_word(text: str) -> str | None:
    """The name that a folded description ends in, after something else: `ortho 2021 r`."""
    before, _, word = re.sub(r"[.:/()\[\]]", " ", text).strip().rpartition(" ")
    return SYNONYMS.get(word) if before else None
