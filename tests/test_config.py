import itertools

import pytest

import vidtok
from vidtok.config import (
    EViTConfig,
    LookupConfig,
    ModelConfig,
    Recipe,
    SemanticConfig,
    ViViTFEConfig,
    format_budget,
    from_tree,
    parse_budget,
)
from vidtok.configio import (
    differences,
    dump,
    find_recipe,
    list_recipes,
    load_recipe,
    merge,
    packaged_configs,
    parse_yaml,
    validate,
)
from vidtok.errors import ConfigError


def resolve(tmp_path, text: str, *overrides: str) -> Recipe:
    (tmp_path / "mine.yaml").write_text(text)
    return load_recipe(str(tmp_path / "mine.yaml"), overrides)


@pytest.mark.parametrize("name", list_recipes())
def test_every_packaged_recipe_resolves_and_its_dump_reads_back_equal(name, tmp_path):
    recipe = load_recipe(name)
    assert recipe.name == name.removesuffix(".yaml")
    assert resolve(tmp_path, dump(recipe)) == recipe


@pytest.mark.parametrize("part", sorted(packaged_configs().glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_part_resolves_on_its_own(part):
    assert load_recipe(str(part))


def test_scalars_that_yaml_1_1_misreads_come_out_right(tmp_path):
    recipe = resolve(tmp_path, "train: {lr: 3e-4}\nrun: {compile: no}\ndata: {root: no}\n")
    assert (recipe.train.lr, recipe.run.compile, recipe.data.root) == (3e-4, False, "no")


def test_includes_merge_left_to_right_then_own_keys_then_overrides(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {lr: 1, epochs: 1, batch_size: 1}")
    (tmp_path / "b.yaml").write_text("train: {lr: 2, epochs: 2}")
    recipe = resolve(tmp_path, "include: [a, b]\ntrain: {epochs: 3}", "train.smoothing=0.1")
    train = recipe.train
    assert (train.lr, train.batch_size, train.epochs, train.smoothing) == (2, 1, 3, 0.1)


def test_a_new_kind_replaces_the_old_mapping_and_the_same_kind_extends_it():
    lookup = {"compressor": {"kind": "lookup", "budget": "3x3"}}
    assert merge(lookup, {"compressor": {"kind": "none"}}) == {"compressor": {"kind": "none"}}
    assert merge(lookup, {"compressor": {"reuse": "pre"}})["compressor"] == {
        "kind": "lookup",
        "budget": "3x3",
        "reuse": "pre",
    }


def test_a_name_takes_further_keys_like_its_mapping(tmp_path):
    text = "model: {backbone: vivit_fe_s_16x2, compressor: lookup}"
    model = resolve(tmp_path, text, "model.compressor.budget=3x3", "model.backbone.depth=6").model
    assert model.compressor == LookupConfig(budget=(3, 3))
    assert model.backbone == ViViTFEConfig(size="s", depth=6)


def test_a_backbones_name_replaces_the_sizes_that_were_there():
    backbone = load_recipe("folder", ["model.backbone=vivit_fe_b_16x2"]).model.backbone
    assert backbone == ViViTFEConfig() and backbone.shape == (768, 12, 12)


def test_differences_are_the_leaves_that_differ():
    one, two = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "e": None}
    assert differences(one, two) == [("a.c", 2, 3), ("d", [1], None)]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epoch=3", r"unknown key 'train.epoch' \(did you mean 'epochs'\?\)"),
        ("trian.epochs=3", r"unknown key 'trian' \(did you mean 'train'\?\)"),
        ("model.compressor={kind: lookup, bugdet: 3x3}", r"unknown key 'model.compressor.bugdet' .*'budget'"),
        ("model.compressor=lokup", r"model.compressor: unknown kind 'lokup' \(did you mean 'lookup'\?\); known: none,"),
        ("model.backbone=vivit", r"backbone 'vivit' is not a name like vit_s_16"),
        ("train.lr=fast", r"train.lr: .*valid number.* \(got 'fast'\)"),
        ("train.lr=-1", r"train.lr: Input should be greater than 0"),
        ("model.compressor={kind: lookup, budget: big}", r"budget 'big' is neither a grid like 5x5"),
        ("model.compressor={kind: lookup, loss_weights: [0, 1]}", r"compressed must be > 0"),
        ("augment.crop_scale=[1, 0.08]", r"augment.crop_scale: must be two numbers above 0, the smaller one"),
        ("augment.randaugment=rand-m7", r"augment.randaugment: 'rand-m7' lacks inc1; .* \(got 'rand-m7'\)"),
        ("augment.hflip_swaps=ssv2", r"augment.hflip_swaps: must be left_right, or pairs"),
        ("clip.sampling=random", r"clip.sampling: Input should be 'dense', 'uniform', 'tsn'"),
        ("clip={sampling: umt, fps: 30}", r"clip: fps 30 has no effect with sampling umt; leave it empty$"),
        ("clip.short_side=100", r"short_side 100 is smaller than the crop size 224"),
        ("train", r"override 'train' is not of the form section.key=value"),
        ("train.lr=[1", r"not valid YAML"),
    ],
)
def test_a_wrong_setting_gets_one_line_with_path_value_and_way_out(override, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_recipe("k400_lookup", [override])
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_an_absent_recipe_names_the_nearest_and_the_known_ones():
    with pytest.raises(ConfigError, match=r"'k400_lokup.yaml' not found \(did you mean 'k400_lookup.yaml'\?\)"):
        find_recipe("k400_lokup.yaml")


def test_an_absent_include_names_the_file_that_wanted_it(tmp_path):
    with pytest.raises(ConfigError, match=r"mine.yaml: include 'nowhere' not found"):
        resolve(tmp_path, "include: [nowhere]")


def test_packaged_recipes_resolve_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe("k400_lookup.yaml").model.num_classes == 400


@pytest.mark.parametrize(("text", "value"), [("5x5", (5, 5)), ("8x5x5", (8, 5, 5)), ("0.7", 0.7), ("1", 1.0)])
def test_budgets_read_and_print_as_on_the_command_line(text, value):
    assert parse_budget(text) == value
    assert format_budget(parse_budget(text)) == text


def test_yaml_errors_name_the_file():
    with pytest.raises(ConfigError, match="here.yaml: not valid YAML"):
        parse_yaml("a: [1", "here.yaml")


def test_every_key_has_a_description():
    def leaves(schema, prefix=""):
        for name, field in schema.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                yield from leaves(field.annotation, f"{prefix}{name}.")
            elif name != "kind":
                yield f"{prefix}{name}", field.description

    assert [path for path, description in leaves(Recipe) if not description] == []
    assert validate({}) == Recipe()


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.compressor.kind=evit", "model.compressor.budget=0.5", "train.budget_set=[0.5, 0.7]"),
        ("model.compressor=evit", "model.compressor.budget=0.5", "train.budget_set=[0.5, 0.7]"),
    ],
)
def test_the_order_of_overrides_does_not_matter(overrides):
    recipes = [load_recipe("demo", order) for order in itertools.permutations(overrides)]
    assert all(recipe == recipes[0] for recipe in recipes)
    assert recipes[0].model.compressor == EViTConfig(budget=0.5)
    assert recipes[0].train.budget_set == (0.5, 0.7)


def test_a_backbone_named_after_its_settings_still_takes_them():
    overrides = ("model.backbone.depth=3", "model.backbone=vivit_fe_b_16x2")
    assert load_recipe("demo", overrides).model.backbone == ViViTFEConfig(depth=3)


def test_another_compressor_leaves_the_budgets_of_the_old_one_behind(tmp_path):
    recipe = load_recipe("demo", ["model.compressor=evit"])
    assert (recipe.train.budget_set, recipe.eval.budgets) == ((), ())
    assert recipe.train.epochs == load_recipe("demo").train.epochs
    text = "include: compress/lookup\nmodel: {compressor: evit}\neval: {budgets: [0.7]}"
    assert resolve(tmp_path, text).eval.budgets == (0.7,)
    assert load_recipe("demo", ["model.compressor=lookup"]).eval.budgets == load_recipe("demo").eval.budgets


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("08", 8), ("1e3", 1000), ("-0", 0)],
)
def test_numbers_are_decimal_whatever_they_begin_with(text, value, tmp_path):
    assert load_recipe("demo", [f"run.seed={text}"]).run.seed == value
    assert resolve(tmp_path, f"run: {{seed: {text}}}").run.seed == value


@pytest.mark.parametrize(
    "path", ["2024", "1.50", "007", "no", "/x/a #1/b.csv", "a: b", "[x]", "2024-01-01", "0x10", "*.mp4"]
)
def test_a_path_on_the_command_line_stands_for_itself(path):
    assert load_recipe("demo", [f"data.train={path}"]).data.train == path


@pytest.mark.parametrize("text", ["", "~", "null"])
def test_nothing_unsets_a_path(text):
    assert load_recipe("demo", [f"data.val={text}"]).data.val is None


def test_quotes_around_a_path_are_not_part_of_it():
    assert load_recipe("demo", ["data.train='a b'"]).data.train == "a b"


def test_a_folder_named_by_a_number_may_stand_in_a_recipe(tmp_path):
    assert resolve(tmp_path, "data: {train: 2024}\nname: 7").data.train == "2024"


def test_the_home_folder_is_filled_in(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = resolve(tmp_path, "data: {train: ~/clips}\nmodel: {pretrained: ~/w.pt}", "run.output_dir=~/runs")
    found = (recipe.data.train, recipe.model.pretrained, recipe.run.output_dir)
    assert found == (f"{tmp_path}/clips", f"{tmp_path}/w.pt", f"{tmp_path}/runs")


@pytest.mark.parametrize("key", ["train.lr", "train.weight_decay", "augment.mixup", "model.backbone.mlp_ratio"])
@pytest.mark.parametrize("value", [".nan", ".inf", "1e999"])
def test_numbers_are_finite(key, value):
    with pytest.raises(ConfigError, match=rf"{key}: Input should be a finite number"):
        load_recipe("demo", [f"{key}={value}"])


def test_a_number_of_thousands_of_digits_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"run.seed: ") as caught:
        load_recipe("demo", [f"run.seed={'9' * 5000}"])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "''"])
def test_the_name_of_a_run_is_a_folders_name(name):
    with pytest.raises(ConfigError, match="name: must be the name of a folder"):
        load_recipe("demo", [f"name={name}"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"compressor": "lokup"}, r"compressor: unknown kind 'lokup' \(did you mean 'lookup'\?\)"),
        ({"compressor": {"kind": "evit", "bugdet": 1}}, r"unknown key 'compressor.bugdet' \(did you mean 'budget'\?\)"),
        ({"backbone": {"kind": "vivit", "dept": 3}}, r"unknown key 'backbone.dept' \(did you mean 'depth'\?\)"),
        ({"backbone": "vit_q_16"}, r"backbone: backbone 'vit_q_16' is not a name like"),
        ({"compressor": {"kind": "semantic", "centres": "8x4x4"}}, r"compressor.centres: must be a lattice h x w"),
        ({"compressor": {"kind": "lookup", "budget": 4}}, r"compressor.budget: must be a grid like 5x5 .* \(got 4\)"),
    ],
)
def test_calls_from_python_get_the_same_explanation_as_recipes(arguments, sentence):
    with pytest.raises(ConfigError, match=sentence):
        from_tree(ModelConfig, arguments)


def test_two_run_folders_can_be_compared(tmp_path):
    for name, overrides in (("one", []), ("two", ["train.lr=1"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(dump(load_recipe("demo", overrides)))
    one, two = (load_recipe(str(tmp_path / name)).model_dump(mode="json") for name in ("one", "two"))
    assert [key for key, *_ in differences(one, two)] == ["train.lr"]


def test_global_centres_stand_at_the_lattice_that_is_built_and_stay_there():
    assert SemanticConfig(budget="6x6").centres == (6, 6)
    built = vidtok.create_model("vit_ti_16", compressor="semantic", budget="2x2", num_classes=2, image_size=64)
    assert built.config.compressor.centres == (2, 2)
    built.set_budget((4, 4))
    assert built.config.compressor.centres == (2, 2)


def test_semantic_tokens_are_evaluated_at_the_lattice_that_they_were_trained_at():
    assert load_recipe(str(packaged_configs() / "compress" / "semantic.yaml")).eval.budgets == ()
