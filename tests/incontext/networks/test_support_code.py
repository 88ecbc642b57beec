"""Laws of support codes, on random numbers in the place of features: no network is needed."""

from dataclasses import fields, replace

import torch

from incontext.networks.support_code import ImageCodes, SupportCode

TOLERANCE = {"atol": 1e-6, "rtol": 1e-5}


def drawn(sets: int, images: int, seed: int = 0) -> ImageCodes:
    """Codes of two attended stages, of 4 and 1 tokens an image, and of one fine stage."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(sets, images, *shape, generator=generator)

    return ImageCodes(
        keys=(draw(2, 4, 3), draw(2, 1, 3)),
        values=(draw(2, 4, 3), draw(2, 1, 3)),
        prototypes=(draw(2, 5),),
        moments=(draw(2, 3, 4),),
        labels=(draw(1, 8, 8) > 0).float(),
    )


def assert_equal(found: ImageCodes | SupportCode, expected: ImageCodes | SupportCode) -> None:
    assert type(found) is type(expected)
    for field in fields(expected):
        torch.testing.assert_close(getattr(found, field.name), getattr(expected, field.name), **TOLERANCE)


def read(code: SupportCode) -> list[torch.Tensor]:
    """Everything that a query can read of a code, by an attention whose every query is a one."""
    weights = [keys.sum(-1, keepdim=True).softmax(dim=2) for keys in code.keys]
    attended = [(weight * values).sum(2) for weight, values in zip(weights, code.values, strict=True)]
    return [*attended, *code.prototypes, *code.moments, code.mean_label]


def test_the_order_of_images_is_forgotten() -> None:
    codes = drawn(1, 4)
    turned = codes.select(torch.tensor([[2, 0, 3, 1]]))
    torch.testing.assert_close(read(turned.pooled()), read(codes.pooled()), **TOLERANCE)


def test_a_support_twice_is_the_support_once() -> None:
    codes = drawn(1, 3)
    torch.testing.assert_close(read(ImageCodes.joined([codes, codes]).pooled()), read(codes.pooled()), **TOLERANCE)


def test_prototypes_have_unit_length_and_tokens_of_all_images_stand_side_by_side() -> None:
    code = drawn(2, 3).pooled()
    torch.testing.assert_close(code.prototypes[0].norm(dim=-1), torch.ones(2, 2))
    assert [tuple(keys.shape) for keys in code.keys] == [(2, 2, 12, 3), (2, 2, 3, 3)]
    assert code.mean_label.shape == (2, 1, 8, 8)


def test_joined_parts_are_the_whole() -> None:
    codes = drawn(1, 5)
    parts = [codes.select(torch.tensor([indices])) for indices in ([0, 1], [2], [3, 4])]
    assert_equal(ImageCodes.joined(parts), codes)


def test_leaving_one_out_selects_all_others() -> None:
    codes = drawn(1, 4)
    others = torch.tensor([[1, 2, 3], [0, 2, 3]])
    assert_equal(codes.leaving_one_out(2), codes.select(others))


def test_stacked_codes_are_those_of_a_batch() -> None:
    codes = drawn(1, 4)
    rows = torch.tensor([[0, 1], [2, 3], [1, 3]])
    alone = [codes.select(row[None]).pooled() for row in rows]
    assert_equal(SupportCode.stacked(alone), codes.select(rows).pooled())


def test_one_set_of_many_and_its_images_take_no_memory_of_their_own() -> None:
    codes = drawn(1, 4)
    rows = torch.tensor([[0, 1], [2, 3]])
    code = codes.select(rows).pooled()
    alone = codes.select(rows[1:])
    assert_equal(code.of_set(1), alone.pooled())
    viewed = alone.viewed(code.of_set(1))
    assert_equal(viewed, alone)
    for mine, pooled in zip((*viewed.keys, *viewed.values), (*code.keys, *code.values), strict=True):
        assert mine.untyped_storage().data_ptr() == pooled.untyped_storage().data_ptr()


def test_a_code_is_the_tensors_that_it_names() -> None:
    code = drawn(1, 3).pooled()
    back = SupportCode.of(code.tensors())
    assert back.tensors().keys() == code.tensors().keys()
    assert all(torch.equal(back.tensors()[name], each) for name, each in code.tensors().items())


def test_codes_of_one_network_are_alike_whatever_the_number_of_images() -> None:
    code, one = drawn(1, 3).pooled(), drawn(1, 1).pooled()
    assert code.is_like(one)
    assert not one.is_like(code)  # a code has at least the tokens of an image
    for field in ("keys", "prototypes", "moments"):
        parts = getattr(code, field)
        assert not replace(code, **{field: (parts[0][..., :-1], *parts[1:])}).is_like(one), field
        assert not replace(code, **{field: parts[:-1]}).is_like(one), field
    assert not replace(code, mean_label=code.mean_label[..., :-1]).is_like(one)
    assert not replace(code, values=(code.values[0][:, :, :-1], *code.values[1:])).is_like(one)
