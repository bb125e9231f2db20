"""Views to scores."""

import pytest
import torch

from tests.engine.cases import NAMES, named_model
from vidtok.engine.predict import (
    Compute,
    at_budget,
    average_views,
    choose_compute,
    class_labels,
    parse_views,
    predict_views,
    top_classes,
    view_logits,
)
from vidtok.errors import ConfigError, EnvironmentFault

CPU = Compute(torch.device("cpu"), "fp32")


def random_views(count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 4, 32, 32), dtype=torch.uint8)


@pytest.mark.parametrize("average", ["logits", "probs"])
def test_averaging_one_view_is_its_softmax_and_the_order_of_views_does_not_matter(average: str) -> None:
    logits = torch.randn(5, 4, 7)
    torch.testing.assert_close(average_views(logits[:, :1], average), logits[:, 0].softmax(-1))
    torch.testing.assert_close(average_views(logits.flip(1), average), average_views(logits, average))
    torch.testing.assert_close(average_views(logits, average).sum(-1), torch.ones(5))


def test_logits_and_probabilities_are_averaged_as_written() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    # softmax of (0, 2), and the mean of (1/2, 1/2) and softmax of (0, 4)
    torch.testing.assert_close(average_views(logits, "logits")[1], torch.tensor(2.0).sigmoid())
    torch.testing.assert_close(average_views(logits, "probs")[1], 0.25 + torch.tensor(4.0).sigmoid() / 2)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("multi_label", [False, True])
def test_one_logit_that_is_not_finite_leaves_no_score(bad: float, multi_label: bool) -> None:
    logits = torch.zeros(2, 3, 4)
    logits[1, 2, 0] = bad  # one view of the second video
    for average in ("logits", "probs"):
        scores = average_views(logits, average, multi_label=multi_label)
        assert scores[0].isfinite().all() and scores[1].isnan().all()


def test_the_batch_size_does_not_change_logits() -> None:
    model, views = named_model(), random_views()
    one_by_one = view_logits(model, views, compute=CPU, batch_size=1)
    # other shapes may take other kernels: float32 rounding only
    torch.testing.assert_close(view_logits(model, views, compute=CPU, batch_size=16), one_by_one, atol=1e-5, rtol=1e-5)


def test_scores_are_float32_whatever_the_products_run_in() -> None:
    model, views = named_model(), random_views(2)
    exact = view_logits(model, views, compute=CPU)
    rough = view_logits(model, views, compute=Compute(torch.device("cpu"), "bf16"))
    assert rough.dtype == exact.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.1  # bfloat16 has 8 bits, the logits are below 4


def test_the_best_classes_come_first_and_there_are_at_most_as_many_as_classes() -> None:
    top = top_classes(torch.tensor([0.2, 0.7, 0.1]), NAMES, topk=5)
    assert top == [{"label": "sit", "score": 0.7}, {"label": "run", "score": 0.2}, {"label": "stand up", "score": 0.1}]
    assert len(top_classes(torch.tensor([0.2, 0.7, 0.1]), NAMES, topk=1)) == 1


def test_classes_without_names_are_called_by_number() -> None:
    model = named_model()
    assert class_labels(model) == NAMES
    model.class_names = None
    assert class_labels(model) == ("0", "1", "2")


def test_a_budget_holds_inside_its_context_only() -> None:
    model, views = named_model(), random_views(2)
    own = predict_views(model, views, compute=CPU, average="logits")
    with at_budget(model, (1, 1)):
        assert model.budget == (1, 1)
        assert not torch.equal(predict_views(model, views, compute=CPU, average="logits"), own)
    with pytest.raises(RuntimeError), at_budget(model, (2, 2)):
        raise RuntimeError
    assert model.budget == (3, 3)
    assert torch.equal(predict_views(model, views, compute=CPU, average="logits"), own)


def test_a_budget_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="budget"), at_budget(named_model(), (9, 9)):
        pass


def test_views_are_clips_times_one_or_three_crops() -> None:
    assert parse_views("4x3") == (4, 3)
    assert parse_views(" 10X1 ") == (10, 1)
    for text in ("4", "0x1", "4x2", "4x3x1", "axb", "1000000x3", "9" * 400 + "x3", "\u0663x1", "101x1"):
        with pytest.raises(ConfigError, match="4x3"):
            parse_views(text)


def test_the_cpu_runs_in_float32_unless_asked_otherwise() -> None:
    assert choose_compute("cpu") == CPU
    assert choose_compute("cpu", "bf16").precision == "bf16"
    for device in ("tpu", "cuda:" + "9" * 400):
        with pytest.raises(ConfigError, match="is unknown"):
            choose_compute(device)
    with pytest.raises(ConfigError, match="precision 'fp8' is unknown; choose one of auto, fp32, bf16, fp16"):
        choose_compute("cpu", "fp8")


def test_fp16_on_the_cpu_is_refused_and_not_quietly_something_else() -> None:
    with pytest.raises(ConfigError, match="'fp16' needs a GPU; on the CPU choose fp32, or bf16"):
        choose_compute("cpu", "fp16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_asking_for_an_absent_gpu_says_so() -> None:
    with pytest.raises(EnvironmentFault, match="--device cpu"):
        choose_compute("cuda")
    assert choose_compute("auto").device.type == "cpu"


@pytest.mark.needs_cuda
def test_the_gpu_agrees_with_the_cpu() -> None:
    model, views = named_model(), random_views()
    on_cpu = predict_views(model, views, compute=CPU, average="logits")
    gpu = choose_compute("cuda", "fp32")
    on_gpu = predict_views(model.to(gpu.device), views, compute=gpu, average="logits")
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-3, rtol=1e-3)  # TF32 may be on
