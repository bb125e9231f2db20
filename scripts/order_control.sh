#!/usr/bin/env bash
# Does the demo's task need the order of frames? Trains the demo recipe again with the frames of every clip
# shuffled, in training and in test, and prints both accuracies. Run scripts/demo.sh first.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_venv
cd "$REPO"
out="${1:-demo}"
ordered="$(find "$out/runs/demo" -name metrics.json 2> /dev/null | sort | tail -n 1 || true)"
[[ -n "$ordered" ]] || { echo "no evaluated demo run under $out/runs/demo: run scripts/demo.sh first" >&2; exit 3; }

lists=(data.train="$out/motion/train.csv" data.val="$out/motion/val.csv" data.test="$out/motion/test.csv")
run="$(vidtok train --config demo.yaml run.output_dir="$out/runs" name=demo_shuffled augment.shuffle=true "${lists[@]}")"
vidtok eval --run "$run" > /dev/null
python - "$ordered" "$run/eval/metrics.json" <<'EOF'
import json, sys

ordered, shuffled = (json.load(open(path))["top1"] for path in sys.argv[1:])
print(f"top-1 with frames in order {ordered:.1%}, shuffled {shuffled:.1%}, difference {ordered - shuffled:.1%}")
EOF
