"""Published PyTorch state dicts -> our parameters, without torch.

Names follow the reference implementation of TVRL (arXiv 2403.07513). Linear weights there are
[out, in] and convolutions [out, in, 1, rows, columns]; ours are [in, out] and
[rows, columns, in, out]. docs/extending.md makes a run folder of one, for probes and inference.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from tvrl_jax.errors import UserError

# Torch name -> our path: every rule is applied, in this order, to the result of the one before.
TABLE = (
    (r"^mae\.encoder\.", "encoder/vit/"),
    (r"^mae\.decoder\.", "mae/"),
    (r"^mae\.mid_proj\.", "mae/mid/"),
    (r"^mae\.out_proj\.", "mae/out/"),
    (r"^mae\.dec_pos_embed$", "mae/positions"),
    (r"^mae\.mask_token$", "mae/mask"),
    (r"^encoder\.spatio_encoder\.", "encoder/spatial/vit/"),
    (r"^encoder\.mid_project\.", "encoder/spatial/mid/"),
    (r"^encoder\.pos_embed$", "encoder/embed/positions"),
    (r"^encoder\.time_embed\.time_embed\.0\.", "encoder/embed/time/in/"),
    (r"^encoder\.time_embed\.time_embed\.2\.", "encoder/embed/time/out/"),
    (r"^encoder\.temporal_encoder\.", "encoder/temporal/"),
    (r"^encoder\.cls_token$", "encoder/temporal/cls"),
    (r"^(simclr_)?head\.layers\.0\.", "projection/in/"),
    (r"^(simclr_)?head\.layers\.1\.", "projection/norm_in/"),
    (r"^(simclr_)?head\.layers\.[23]\.", "projection/out/"),  # 2 without BatchNorm, 3 with it
    (r"^(simclr_)?head\.layers\.4\.", "projection/norm_out/"),
    (r"^mask_token$", "token/mask"),
    (r"^norm\.", "token/norm/"),
    (r"^token_prediction_head\.(layers\.)?0\.", "token/in/"),
    (r"^token_prediction_head\.(layers\.)?2\.", "token/out/"),
    (r"^Dt$", "ltn/basis"),
    (r"^time_embed\.time_embed\.0\.", "ltn/time/in/"),
    (r"^time_embed\.time_embed\.2\.", "ltn/time/out/"),
    (r"^ltn_embed\.0\.", "ltn/in/"),
    (r"^ltn_embed\.2\.", "ltn/out/"),
    (r"^head\.", "head/out/"),
    (r"/patch_embed\.proj\.0\.", "/patches/conv0/"),
    (r"/patch_embed\.proj\.1\.", "/patches/norm0/"),
    (r"/patch_embed\.proj\.3\.", "/patches/conv1/"),
    (r"/patch_embed\.proj\.4\.", "/patches/norm1/"),
    (r"/patch_embed\.proj\.6\.", "/patches/conv2/"),
    (r"/patch_embed\.proj\.7\.", "/patches/norm2/"),
    (r"/patch_embed\.proj\.9\.", "/patches/conv3/"),
    (r"/patch_embed\.proj\.10\.", "/patches/norm3/"),
    (r"/patch_embed\.proj\.12\.", "/patches/out/"),
    (r"/patch_embed\.proj\.", "/patches/proj/"),
    (r"/blocks\.(\d+)\.", r"/blocks/block\1/"),
    (r"/mlp\.", "/"),
    (r"/cls_token$", "/cls"),
    (r"/pos_embed$", "/positions"),
    (r"\.", "/"),
    (r"(norm\w*)/weight$", r"\1/scale"),
    (r"/weight$", "/kernel"),
    (r"/running_(mean|var)$", r"/\1"),
)

# Names that stand for nothing of ours: a token that the reference never reads, and step counters.
UNUSED = (r"downstream_cls_token$", r"\.num_batches_tracked$")


def our_path(torch_name: str) -> str:
    """`encoder.temporal_encoder.blocks.0.attn.qkv.weight` ->
    `encoder/temporal/blocks/block0/attn/qkv/kernel`."""
    for pattern, ours in TABLE:
        torch_name = re.sub(pattern, ours, torch_name)
    return torch_name


def is_unused(torch_name: str, unused: Iterable[str] = UNUSED) -> bool:
    return any(re.search(pattern, torch_name) for pattern in unused)


def from_torch(
    state: Mapping[str, np.ndarray], params: Any, extra: Any, *, unused: Iterable[str] = UNUSED
) -> tuple[Any, Any]:
    """A state dict -> (params, extra) of the given templates' structure, shapes and dtypes.

    Strict both ways: raises UserError, naming the differences, unless every name of the state dict
    is used exactly once and every parameter and statistic is filled. Names that match a pattern of
    `unused` are left out.
    """
    used = {name: our_path(name) for name in state if not is_unused(name, unused)}
    wanted = flatten(params) | flatten(extra)
    _check_names(used, wanted)
    filled = {
        path: _ours(name, np.asarray(state[name]), path, wanted[path])
        for name, path in used.items()
    }
    return _refill(params, filled), _refill(extra, filled)


def to_torch(tree: Any, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our values (parameters, gradients, statistics) under the torch names of `like`, in its
    shapes; names that stand for nothing of ours are left out."""
    ours = flatten(tree)
    return {
        name: _theirs(np.asarray(ours[our_path(name)]), our_path(name), array.shape)
        for name, array in like.items()
        if not is_unused(name)
    }


def flatten(tree: Any) -> dict[str, Any]:
    """{"encoder/temporal/cls": leaf, ...}"""
    return {"/".join(step.key for step in path): x for path, x in jax.tree.leaves_with_path(tree)}


def _refill(tree: Any, filled: Mapping[str, Any]) -> Any:
    paths = flatten(tree)
    return jax.tree.unflatten(jax.tree.structure(tree), [filled[path] for path in paths])


def _check_names(used: Mapping[str, str], wanted: Mapping[str, Any]) -> None:
    paths = list(used.values())
    problems = {
        "not known here": [n for n, path in used.items() if path not in wanted],
        "given twice": sorted({path for path in paths if paths.count(path) > 1}),
        "not filled": [path for path in wanted if path not in paths],
    }
    said = [f"{what}: {', '.join(names)}" for what, names in problems.items() if names]
    if said:
        raise UserError(f"The state dict does not fit this model. {'; '.join(said)}.")


def _ours(name: str, array: np.ndarray, path: str, template: Any) -> np.ndarray:
    shape = template.shape
    if path.endswith("/kernel"):
        if array.ndim == 5 and array.shape[2] == 1:  # of a convolution over single frames
            array = array[:, :, 0]
        array = np.moveaxis(array, (0, 1), (-1, -2))
    if array.size != math.prod(shape) or _real(array.shape) != _real(shape):
        raise UserError(f"{name} is {array.shape}, but {path} here is {tuple(shape)}.")
    return array.reshape(shape).astype(template.dtype)


def _theirs(array: np.ndarray, path: str, shape: tuple[int, ...]) -> np.ndarray:
    if path.endswith("/kernel"):
        array = np.moveaxis(array, (-1, -2), (0, 1))
    return array.reshape(shape)


def _real(shape: Iterable[int]) -> list[int]:
    """The axes that are longer than one."""
    return [n for n in shape if n > 1]
