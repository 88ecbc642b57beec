"""A solver of linear systems as a function of ONNX, which has none; import it only where onnxscript is installed."""

from typing import Any

from onnxscript import FLOAT, opset18, script

op: Any = opset18


@script(default_opset=op)
def solve(matrix: FLOAT, target: FLOAT) -> FLOAT:
    """`torch.linalg.solve` for symmetric positive definite matrices (…, N, N), by Gauss–Jordan elimination.

    Such matrices need no pivoting. Step i makes column i of matrix and target, side by side, one of the unit matrix.
    """
    rest = op.Concat(matrix, target, axis=-1)
    size = op.Shape(matrix, start=-1)
    steps = op.Squeeze(size)
    for i in range(steps):
        here = op.Unsqueeze(i, op.Constant(value_ints=[0]))
        unit = op.CastLike(op.Equal(op.Range(0, steps, 1), i), rest)
        column = op.Gather(rest, here, axis=-1)
        row = op.Div(op.Gather(rest, here, axis=-2), op.Gather(column, here, axis=-2))
        rest = op.Sub(rest, op.Mul(op.Sub(column, op.Unsqueeze(unit, op.Constant(value_ints=[1]))), row))
    return op.Slice(rest, size, op.Constant(value_ints=[2**31 - 1]), op.Constant(value_ints=[-1]))
