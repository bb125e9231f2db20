import pytest
import torch
from torch.nn import functional as F

from vidtok.errors import ConfigError
from vidtok.nn.embed import LatticeResize, Positions, TubeletEmbed, resize_matrix


@pytest.mark.parametrize(("n_in", "n_out"), [(14, 5), (14, 10), (5, 14), (16, 3), (7, 7), (9, 1)])
def test_resize_matrix_is_torchs_antialiased_bilinear(n_in, n_out):
    x = torch.randn(2, 3, n_in, 6)
    theirs = F.interpolate(x, size=(n_out, 6), mode="bilinear", antialias=True, align_corners=False)
    ours = torch.einsum("on,bcnw->bcow", resize_matrix(n_in, n_out), x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_resize_keeps_constants_and_the_same_size_is_the_identity():
    assert torch.equal(resize_matrix(6, 6), torch.eye(6))
    torch.testing.assert_close(resize_matrix(14, 5).sum(1), torch.ones(5))


def test_lattice_resize_is_separable_over_time_height_and_width():
    x = torch.randn(2, 4 * 6 * 5, 3)
    ours = LatticeResize((4, 6, 5), (2, 3, 5))(x).unflatten(1, (2, 3, 5))
    theirs = torch.einsum("at,bh,xthwd->xabwd", resize_matrix(4, 2), resize_matrix(6, 3), x.unflatten(1, (4, 6, 5)))
    torch.testing.assert_close(ours, theirs)


def test_lattice_resize_keeps_the_dtype_and_follows_its_target():
    resize = LatticeResize((1, 4, 4), (1, 2, 2))
    assert resize(torch.randn(1, 16, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    resize.set_target((1, 3, 3))
    assert resize(torch.randn(1, 16, 3)).shape == (1, 9, 3)
    assert not resize.state_dict()


def test_tubelet_embedding_is_the_convolution_whose_weights_it_holds():
    embed = TubeletEmbed(8, tubelet=2, patch=4)
    clip = torch.randn(2, 3, 4, 8, 12)
    theirs = embed.proj(clip).flatten(3).permute(0, 2, 3, 1)  # [B, t, h w, D]
    torch.testing.assert_close(embed(clip), theirs)


def test_clips_that_tubelets_do_not_fill_are_refused():
    with pytest.raises(ConfigError, match="15 frames of 224 pixels does not divide into tubelets of 2 frames x 16"):
        TubeletEmbed(8, tubelet=2, patch=16).lattice(15, 224)


def test_positions_put_the_cls_token_first():
    positions = Positions(3, 4, num_prefix=1)
    torch.nn.init.constant_(positions.cls_token, 7.0)
    out = positions(torch.zeros(2, 3, 4))
    torch.testing.assert_close(out[:, 0], (7 + positions.pos_embed[:, 0]).expand(2, -1))
    torch.testing.assert_close(out[0, 1:], positions.pos_embed[0, 1:])


def test_under_autocast_the_resize_stays_in_float32():
    x, resize = torch.randn(1, 2 * 6 * 5, 3), LatticeResize((2, 6, 5), (1, 3, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = resize(x)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, resize(x))
