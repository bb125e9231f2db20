import json
from pathlib import Path

from tests.cli.run import vidtok as run_vidtok
from vidtok.config import ModelConfig, from_tree
from vidtok.models.build import refusal
from vidtok.models.support import backbone_kinds, markdown_table, support_rows

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_holds_the_table_that_the_code_obeys():
    assert markdown_table() in README.read_text(encoding="utf-8"), "run `vidtok models --support` and paste it"


def test_rows_say_refused_exactly_where_the_code_refuses_and_every_extension_is_explained():
    kinds = backbone_kinds()
    for row in support_rows():
        config = from_tree(ModelConfig, {"backbone": kinds[row["backbone"]], "compressor": row["compressor"]})
        assert (refusal(config) is not None) == (row["status"] == "refused")
        assert row["note"] or row["status"] in ("paper", "natural")


def test_the_command_prints_the_same_rows(tmp_path):
    done = run_vidtok(tmp_path, "models", "--support", "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "vidtok.models/1" and document["support"] == support_rows()
