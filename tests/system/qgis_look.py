"""Run by QGIS's own Python: opens a layer as an analyst would, and prints what there is to see.

    python3 qgis_look.py VECTOR LAYER PICTURE.png [RASTER]

Prints one JSON object; the picture is what the map shows.
"""

import json
import os
import sys

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize


def words(layer, feature):
    """Name, label and map tip of one feature."""
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    name = QgsExpression(layer.displayExpression())
    label = QgsExpression(layer.labeling().settings().fieldName)
    return {
        "name": name.evaluate(context),
        "label": label.evaluate(context),
        "tip": QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context),
        "errors": [one.evalErrorString() for one in (name, label) if one.evalErrorString()],
    }


def draw(layers, path):
    """Draw layers, the first on top, over the extent of the last; the errors while drawing."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setOutputSize(QSize(1200, 900))
    crs = layers[0].crs()
    settings.setDestinationCrs(crs if crs.isValid() else QgsCoordinateReferenceSystem())
    extent = layers[-1].extent()
    extent.scale(1.05)
    settings.setExtent(extent)
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)
    return [error.message for error in job.errors()]


def main():
    vector, name, picture, *raster = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    layer = QgsVectorLayer(f"{vector}|layername={name}" if name else vector, "found", "ogr")
    layers = [layer, *(QgsRasterLayer(path, "scene") for path in raster)]
    renderer = layer.renderer()
    features = list(layer.getFeatures())
    told = {
        "valid": [one.isValid() for one in layers],
        "count": layer.featureCount(),
        "crs": layer.crs().authid(),
        "renderer": renderer.type() if renderer else None,
        "categories": [c.value() for c in renderer.categories()]
        if renderer and renderer.type() == "categorizedSymbol"
        else [],
        "labels": layer.labelsEnabled(),
        "fields": [field.name() for field in layer.fields()],
        "types": [field.typeName() for field in layer.fields()],
        "features": [words(layer, one) for one in features] if layer.labeling() else [],
        "extents": [
            [e.xMinimum(), e.yMinimum(), e.xMaximum(), e.yMaximum()]
            for e in (one.extent() for one in layers)
        ],
        "drawing": draw(layers, picture),
    }
    print(json.dumps(told, default=str))
    sys.stdout.flush()
    os._exit(0)  # QGIS's own leaving may crash without a screen


main()
