"""zfviz: see what any ONNX CNN sees.

    p = zfviz.project("model.onnx", "photo.jpg")
    p.sheet().show()

Projections of units to pixels after Zeiler & Fergus 2013, as plain ONNX graphs that onnxruntime runs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zfviz.checks.auditing import Audit, Finding, audit
    from zfviz.checks.checking import Measurement, check
    from zfviz.checks.subject import Subject
    from zfviz.graph.layers import Layer
    from zfviz.runtime.loading import Model, load
    from zfviz.studies.graphs import companion, export, expose
    from zfviz.studies.project import Projector, activations, prepare, project
    from zfviz.studies.projections import Projections
    from zfviz.studies.selection import Unit

from zfviz.errors import ZfvizError
from zfviz.version import __version__

__all__ = [
    "Audit",
    "Finding",
    "Layer",
    "Measurement",
    "Model",
    "Projections",
    "Projector",
    "Subject",
    "Unit",
    "ZfvizError",
    "__version__",
    "activations",
    "audit",
    "check",
    "companion",
    "export",
    "expose",
    "load",
    "prepare",
    "project",
]

_HOMES = {
    "Audit": "checks.auditing",
    "Finding": "checks.auditing",
    "Measurement": "checks.checking",
    "Subject": "checks.subject",
    "audit": "checks.auditing",
    "check": "checks.checking",
    "Layer": "graph.layers",
    "Model": "runtime.loading",
    "Projections": "studies.projections",
    "Projector": "studies.project",
    "Unit": "studies.selection",
    "activations": "studies.project",
    "companion": "studies.graphs",
    "export": "studies.graphs",
    "expose": "studies.graphs",
    "load": "runtime.loading",
    "prepare": "studies.project",
    "project": "studies.project",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # imported when first used: `zfviz --help` must not wait for onnx and onnxruntime
    if name not in _HOMES:
        raise AttributeError(f"module 'zfviz' has no attribute {name!r}")
    return getattr(import_module(f"zfviz.{_HOMES[name]}"), name)
