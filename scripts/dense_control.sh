#!/usr/bin/env bash
# What does compression cost the demo? Trains the demo recipe again without a compressor: the same data, epochs and seed;
# prints the dense row beside the demo's own for docs/results/demo.md. Run scripts/demo.sh first.
#
#   scripts/dense_control.sh [DEMO_FOLDER] [OVERRIDE ...]        such as train.epochs=1 to try it out
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_venv
cd "$REPO"
out="${1:-demo}"
[[ -f "$out/motion/train.csv" ]] || { echo "no motion set in $out/motion: run scripts/demo.sh first" >&2; exit 3; }

run="$(vidtok train --config demo.yaml run.output_dir="$out/runs" name=demo_dense \
  model.compressor.kind=none train.budget_set=[] eval.budgets=[] \
  data.train="$out/motion/train.csv" data.val="$out/motion/val.csv" data.test="$out/motion/test.csv" "${@:2}")"
vidtok eval --run "$run" > /dev/null
compressed="$(find "$out/runs/demo" -path '*/eval/metrics.json' 2> /dev/null | sort | tail -n 1 || true)"
python - "$run/eval/metrics.json" ${compressed:+"$compressed"} <<'EOF'
import json, sys


def tokens(counts):  # of the first layer: one number, or compressed and lookup tokens
    return " + ".join(map(str, counts)) if isinstance(counts, list) else str(counts)


def share(value):
    return f"{100 * value:.1f}"


print("| budget | tokens per layer | GMACs per view | top-1 | within pairs |\n|---|---|---|---|---|")
for path in sys.argv[1:]:
    for row in json.load(open(path))["budgets"]:
        name = "dense, no compressor" if row["budget"] == "-" else row["budget"]
        cells = (name, tokens(row["tokens_per_layer"][0]), f"{row['gmacs_per_view']:.4f}",
                 f"{share(row['top1'])} +- {share(row['top1_se'])} %", f"{share(row['pair_top1'])} %")
        print(f"| {' | '.join(cells)} |")
EOF
