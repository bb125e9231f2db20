#!/usr/bin/env bash
# Makes the pictures of the README from a trained demo run, and those of real clips from any other checkpoint.
#
#   scripts/docs_pictures.sh RUN [OUT]                                     after scripts/demo.sh: RUN is demo/runs/demo/<time>
#   scripts/docs_pictures.sh CHECKPOINT [OUT] VIDEO [INFER_OPTION ...]     such as --compressor merge --budget 0.7
#
# OUT is docs/images unless it is given. The motion set is written again at 256 pixels, so that its clips are pleasant to
# look at; the model sees its own 64. What each picture is made from stands in docs/images/SOURCES.md.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
use_venv
cd "$REPO"
checkpoint="${1:?give a run folder or a checkpoint}"
out="${2:-docs/images}"
mkdir -p "$out"

if (( $# > 2 )); then
  vidtok infer "$3" --checkpoint "$checkpoint" "${@:4}" --views 1x1 \
    --contact-sheet "$out/real_frames.png" --tokens "$out/real_tokens.png"
  exit
fi

large="${TMPDIR:-/tmp}/vidtok_motion_256"
vidtok data synthetic "$large" --clips 24 --seed 7 --size 256 > /dev/null
# The clip on show: the first held-out one of an approaching shape.
label="$(grep -n -x approach "$large/classes.txt" | cut -d : -f 1)"
clip="$(awk -v label="$((label - 1))" '$2 == label { print $1; exit }' "$large/test.csv" "$large/val.csv" "$large/train.csv")"
vidtok infer "$large/$clip" --checkpoint "$checkpoint" --views 1x1 \
  --contact-sheet "$out/sampled_frames.png" --tokens "$out/tokens.png"

if [[ -f "$checkpoint/eval/confusion.png" ]]; then
  cp "$checkpoint/eval/confusion.png" "$out/confusion.png"
else
  echo "no $checkpoint/eval: give a run that vidtok eval has tested for the confusion matrix" >&2
fi
ls -l "$out"/*.png >&2
