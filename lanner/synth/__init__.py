"""Rendered scenes and training chips whose ground truth is exact.

`scene.render` writes a GeoTIFF and its truth; `chips.render_aircraft_chip`,
`road_chips.render_road_chip` and `town_chips.render_town_chip` give small pictures with masks.
"""
