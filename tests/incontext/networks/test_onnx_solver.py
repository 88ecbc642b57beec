"""Linear systems are solved in ONNX as exactly as in torch."""

import pytest
import torch


def test_elimination_is_as_exact_as_torch() -> None:
    """On Gram matrices as a fit has them: features of unlike spread, and a ridge of a few thousandths."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from onnxscript import FLOAT

    from incontext.networks.onnx_solver import solve

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, 25, 500, generator=generator) * torch.logspace(0, -2, 25)[:, None]
    matrix = inputs @ inputs.mT / 500 + 1e-3 * torch.eye(25)
    target = torch.randn(3, 25, 4, generator=generator)
    exact = torch.linalg.solve(matrix.double(), target.double())
    graph = solve.to_model_proto(input_types=2 * [FLOAT[...]], output_types=[FLOAT[...]]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"matrix": matrix.numpy(), "target": target.numpy()})[0])
    assert (found - exact).norm() < 1e-6 * exact.norm()
    assert (found - exact).norm() < 3 * (torch.linalg.solve(matrix, target) - exact).norm()
