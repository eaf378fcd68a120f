"""Every exporter's models: projected right, as torch in float64 says, or refused in the words that are known."""

from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the oracle is torch: pip install zfviz[oracle]")
from exporters.collected import UNJUDGED, refusal, specimens
from exporters.judging import judge
from exporters.specimen import Specimen

WRITERS = ("torchvision", "timm", "keras", "onnxscript", "onnxslim")
if missing := [name for name in WRITERS if find_spec(name) is None]:
    pytest.skip(f"{', '.join(missing)} missing: pip install zfviz[exporters]", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")


def in_turn(specimen: Specimen, index: int) -> object:
    """Every fifteenth of the large corpora is for CI, the others for whoever has half an hour."""
    large = specimen.exporter.startswith(("torch", "Keras"))
    mark = pytest.mark.exhaustive if large and index % 15 else pytest.mark.slow
    return pytest.param(specimen, marks=mark, id=f"{specimen.exporter}, {specimen.name}")


@pytest.mark.parametrize("specimen", [in_turn(specimen, index) for index, specimen in enumerate(specimens())])
def test_a_model_is_projected_right_or_refused(specimen: Specimen, tmp_path: Path) -> None:
    if specimen.name in UNJUDGED:
        pytest.skip(UNJUDGED[specimen.name])
    verdict = judge(specimen, tmp_path)
    if said := refusal(specimen):
        assert said in verdict.refused
    else:
        assert verdict.right, verdict


def test_the_page_says_what_is_tested() -> None:
    from exporters.page import PAGE, page

    assert page() == PAGE.read_text(encoding="utf-8"), "its first line says how to write it anew"
