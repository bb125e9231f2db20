"""ONNX files take any batch. Needs onnx, onnxscript and onnxruntime, which nothing else here does."""

from pathlib import Path

import pytest
import torch

from tests.compress.test_pairs import GRAPHED, SIZE, make
from tests.models.tiny import tiny_clip

pytest.importorskip("onnxscript", reason="onnxscript is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "case"), sorted(GRAPHED))
def test_an_onnx_file_takes_any_batch(variant: str, case: str, tmp_path: Path):
    model, path = make(variant, case, depth=3), tmp_path / "model.onnx"
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(model, (tiny_clip(size=SIZE),), path, dynamo=True, dynamic_shapes=shapes)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        clip = tiny_clip(batch, size=SIZE)
        (logits,) = session.run(None, {session.get_inputs()[0].name: clip.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), model(clip), rtol=1e-4, atol=1e-4)
