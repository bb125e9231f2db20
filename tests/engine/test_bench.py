import json

import pytest
import torch

from tests.cli.run import vidtok as run_vidtok
from tests.models.tiny import tiny_model
from vidtok.config import ClipConfig, EViTConfig, LookupConfig
from vidtok.engine.bench import bench_models, parse_case
from vidtok.engine.predict import choose_compute
from vidtok.errors import ConfigError


def test_cases_name_compressor_budget_and_options():
    assert parse_case("evit").compressor == EViTConfig()
    assert parse_case("evit:0.5,fuse=false").compressor == EViTConfig(budget=0.5, fuse=False)
    assert parse_case("lookup:8x5x5,reuse=pre").compressor == LookupConfig(budget=(8, 5, 5), reuse="pre")


@pytest.mark.parametrize("text", ["", "evit:0.7:3", "lookup,5x5", "blur:3", "evit:x", "evit:0.7,fus=1"])
def test_a_case_that_is_none_is_refused(text: str):
    with pytest.raises(ConfigError):
        parse_case(text)


def test_rows_compare_with_the_dense_model_of_the_same_run(tmp_path):
    tiny_model("vivit", depth=4, size=64).save_pretrained(tmp_path)
    threads = torch.get_num_threads()
    rows = bench_models(
        tmp_path, [parse_case("random:0.5")], clip=None, compute=choose_compute("cpu"), batch=2, rounds=2, threads=1
    )
    assert [row.compressor for row in rows] == ["none", "random:0.5"] and torch.get_num_threads() == threads
    assert rows[0].speedup_vs_dense == rows[0].flops_ratio == 1
    assert rows[1].gmacs_per_view < rows[0].gmacs_per_view and rows[1].flops_ratio > 1
    assert rows[1].tokens_per_layer == [32, 16, 8, 4] and rows[1].clock == "cpu"
    assert all(row.clips_per_s > 0 and row.peak_mem_mb is None for row in rows)


def test_a_compressed_checkpoint_is_no_dense_one(tmp_path):
    tiny_model("vivit", depth=4, size=64, compressor="evit").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="give a dense checkpoint"):
        bench_models(tmp_path, [], clip=ClipConfig(), compute=choose_compute("cpu"))


def test_the_command_writes_the_rows(tmp_path):
    tiny_model("vit", depth=4, size=64).save_pretrained(tmp_path / "model")
    out = tmp_path / "rows.json"
    done = run_vidtok(
        tmp_path, "bench", "model", str(tmp_path / "model"), "merge:0.5", "--rounds", "1", "--json", str(out)
    )
    assert done.returncode == 0 and "merge:0.5" in done.stdout
    document = json.loads(out.read_text())
    assert document["schema"] == "vidtok.bench.model/1" and len(document["rows"]) == 2
    refused = run_vidtok(tmp_path, "bench", "model", "vivit_fdp_s_16x2", "evit", "--frames", "4", "--size", "64")
    assert refused.returncode == 2 and "half of its heads" in refused.stderr
    refused = run_vidtok(tmp_path, "bench", "model", str(tmp_path / "model"), "merge", "--size", "96")
    assert refused.returncode == 2 and "has its own" in refused.stderr
