#!/usr/bin/env bash
# From a fresh clone to a trained, evaluated and used model: about eleven minutes on two CPU cores, less on a GPU.
# Everything it makes lies in demo/ (or the folder given as first argument); run again, it starts over from there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_venv
cd "$REPO"
out="${1:-demo}"

echo "== 1/4  writing 6,000 real mp4 clips of 12 motions to $out/motion" >&2
vidtok data synthetic "$out/motion" --clips 6000 --seed 0 > /dev/null

echo "== 2/4  training an elastic LookupViT (configs/demo.yaml)" >&2
run="$(vidtok train --config demo.yaml run.output_dir="$out/runs" \
  data.train="$out/motion/train.csv" data.val="$out/motion/val.csv" data.test="$out/motion/test.csv")"

echo "== 3/4  testing on held-out clips, three token budgets of the same checkpoint" >&2
vidtok eval --run "$run"

echo "== 4/4  labelling one clip" >&2
clip="$(find "$out/motion/videos/test" -name '*.mp4' | sort | sed -n 1p)"
vidtok infer "$clip" --checkpoint "$run" --topk 3 --contact-sheet "$out/sampled_frames.png"

cat <<EOF

checkpoint      $run/best.ckpt
report          $run/eval/report.html
pictures        $out/sampled_frames.png  $run/eval/confusion.png
next            source $VENV/bin/activate
                vidtok infer YOUR.mp4 --checkpoint $run
                vidtok train --config folder.yaml data.train=clips/train data.val=clips/val
EOF
