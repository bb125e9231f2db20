import pytest
import torch

from tests.compress.layers import CLOSE, DIM, HEADS, randomise, variants_with
from tests.models.tiny import perturb, tiny_clip, tiny_model
from tests.reference.supertoken import super_token_attention
from vidtok.compress.supertoken import SuperTokenAttention
from vidtok.errors import ConfigError
from vidtok.models.profile import count_params
from vidtok.models.warmstart import compress_model
from vidtok.nn.attention import Attention


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def make_attention(lattice, cell, *, num_prefix: int = 0, border_mask: bool = False) -> SuperTokenAttention:
    attn = Attention(DIM, num_heads=HEADS)
    return randomise(SuperTokenAttention(attn, lattice, num_prefix=num_prefix, cell=cell, border_mask=border_mask))


CASES = [
    ((1, 4, 4), (1, 2, 2)),
    ((1, 6, 6), (1, 2, 2)),  # a cell with all 9 neighbours
    ((1, 5, 3), (1, 2, 2)),  # sizes that do not divide
    ((1, 4, 6), (1, 4, 2)),
    ((2, 4, 2), (1, 2, 2)),  # steps apart
    ((4, 2, 4), (2, 2, 2)),  # 27 neighbours in space and time
    ((3, 3, 3), (2, 2, 2)),
    ((2, 2, 2), (2, 2, 2)),  # one super token
    ((4, 2, 2), (2, 1, 1)),
]


@pytest.mark.parametrize("border_mask", [False, True])
@pytest.mark.parametrize("num_prefix", [0, 1])
@pytest.mark.parametrize(("lattice", "cell"), CASES)
def test_attention_and_its_gradient_equal_slow_loops_written_from_the_formulas(lattice, cell, num_prefix, border_mask):
    attention = make_attention(lattice, cell, num_prefix=num_prefix, border_mask=border_mask)
    num_tokens = num_prefix + lattice[0] * lattice[1] * lattice[2]
    ours_in = torch.randn(1, num_tokens, DIM, requires_grad=True)
    theirs_in = ours_in.detach().clone().requires_grad_()
    ours = attention(ours_in)
    options = {"num_prefix": num_prefix, "border_mask": border_mask}
    theirs = super_token_attention(attention.attn, theirs_in[0], lattice, cell, **options)
    torch.testing.assert_close(ours[0], theirs, **CLOSE)
    direction = torch.randn_like(ours)
    (ours * direction).sum().backward()
    (theirs * direction[0]).sum().backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, **CLOSE)  # the association gives none


def test_cells_within_one_step_keep_steps_apart_but_for_the_attention_between_super_tokens():
    attention, x = make_attention((2, 4, 4), (1, 2, 2)), torch.randn(1, 32, DIM)
    frames = make_attention((1, 4, 4), (1, 2, 2))
    together = attention.associate(attention.to_cells(x))
    apart = frames.associate(frames.to_cells(x.unflatten(1, (2, 16)).flatten(0, 1)))
    torch.testing.assert_close(together.flatten(0, 1), apart.flatten(0, 1))


@pytest.mark.parametrize("variant", variants_with("supertoken"))
def test_cells_of_one_token_are_the_dense_model_bit_for_bit(variant):
    dense = tiny_model(variant)
    perturb(dense)
    model = compress_model(dense, "supertoken", budget=(1, 1)).model
    clip = tiny_clip()
    assert torch.equal(model(clip), dense(clip))


@pytest.mark.parametrize("variant", variants_with("supertoken"))
def test_no_token_is_dropped_and_no_parameter_added(variant):
    model = tiny_model(variant, compressor={"kind": "supertoken", "budget": (2, 2)})
    dense = tiny_model(variant)
    assert model.token_counts == dense.token_counts
    assert count_params(model) == count_params(dense)


def test_unmasked_borders_take_the_share_of_the_cells_that_are_not_there():
    attention = make_attention((1, 6, 6), (1, 2, 2))
    shares = attention.associate(attention.to_cells(torch.zeros(1, 36, DIM)))[0]  # all likenesses are 0
    torch.testing.assert_close(shares, torch.full((9, 4, 9), 1 / 9))
    masked = make_attention((1, 6, 6), (1, 2, 2), border_mask=True)
    shares = masked.associate(masked.to_cells(torch.zeros(1, 36, DIM)))[0].amax(-1)[:, 0]
    torch.testing.assert_close(shares, torch.tensor([1 / n for n in (4, 6, 4, 6, 9, 6, 4, 6, 4)]))


def test_with_masked_borders_equal_tokens_stay_equal():
    attention = make_attention((1, 6, 4), (1, 2, 2), border_mask=True)
    x = torch.randn(1, 1, DIM).expand(1, 24, DIM)
    torch.testing.assert_close(attention(x), attention.attn(x), **CLOSE)


@pytest.mark.parametrize(("lattice", "cell"), CASES)
def test_membership_gives_every_super_token_shares_of_patches_that_sum_to_one(lattice, cell):
    attention, x = (
        make_attention(lattice, cell, num_prefix=1),
        torch.randn(2, 1 + lattice[0] * lattice[1] * lattice[2], DIM),
    )
    members = attention.membership(x)
    assert members.shape[1] == attention.num_cells[0] * attention.num_cells[1] * attention.num_cells[2]
    torch.testing.assert_close(members.sum(-1), torch.ones(members.shape[:2]))
    cells = attention.to_cells(x[:, 1:])
    sampled, mixed = attention.gather(cells, attention.associate(cells)), members @ x[:, 1:]
    if all(size % side == 0 for size, side in zip(lattice, cell)):  # zeros that fill cells up weigh on the sampled
        torch.testing.assert_close(sampled, mixed, **CLOSE)


@pytest.mark.parametrize("budget", [(3, 2), (0, 1), (3, 1, 1), (2,), 0.5])
def test_a_budget_that_is_no_cell_within_the_lattice_is_refused(budget):
    model = tiny_model("vivit", compressor={"kind": "supertoken", "budget": (2, 2)})
    with pytest.raises(ConfigError, match="supertoken budget .* within 2x2x2"):
        model.set_budget(budget)
    assert model.budget == (2, 2)


def test_chosen_layers_alone_get_super_tokens():
    model = tiny_model("vivit", compressor={"kind": "supertoken", "layers": (2, 3)}, depth=4)
    found = [isinstance(block.attn, SuperTokenAttention) for block in model.encoder.blocks]
    assert found == [False, True, True, False]
