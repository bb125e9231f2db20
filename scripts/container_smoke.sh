#!/usr/bin/env bash
# Builds the container image and uses it as a user would: a tiny training run, then doctor, infer and eval on a
# read-only folder of videos, without network and not as root. Exits 0 when every step did what it should.
#
#   ./scripts/container_smoke.sh                             docker, podman or buildah: the first one that works
#   ./scripts/container_smoke.sh --engine buildah            that one; buildah needs root but no running engine
#   ./scripts/container_smoke.sh --base-from-debootstrap     make the base image: where no image can be pulled (root)
#   ./scripts/container_smoke.sh --wheels-from-host          fetch the wheels with this machine's pip and its settings:
#                                                            private index, proxy, own certificates, CPU torch on disk
#   ./scripts/container_smoke.sh -- --build-arg TORCH_INDEX=URL     what follows -- goes to the build
#
# Wheels and the base image's files are kept in ${XDG_CACHE_HOME:-~/.cache}/vidtok, layers by the engine.
set -euo pipefail

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/vidtok"
image="localhost/vidtok:smoke"
base="localhost/vidtok-base:bookworm"
engine="" base_from_debootstrap="" wheels_from_host=""
build_args=()

fail() { echo "container smoke: $*" >&2; exit 1; }
say() { echo "== $*" >&2; }

parse_options() {
  while (( $# )); do
    case "$1" in
      --engine) engine="${2:?--engine needs docker, podman or buildah}"; shift 2 ;;
      --base-from-debootstrap) base_from_debootstrap=1; shift ;;
      --wheels-from-host) wheels_from_host=1; shift ;;
      --) shift; build_args+=("$@"); return ;;
      *) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; [[ "$1" == --help ]] && exit 0; exit 2 ;;
    esac
  done
}

engine_works() {
  command -v "$1" > /dev/null || return 1
  case "$1" in
    docker) docker info > /dev/null 2>&1 && docker buildx version > /dev/null 2>&1 ;;
    *) "$1" info > /dev/null 2>&1 ;;
  esac
}

choose_engine() {
  local name
  for name in ${engine:-docker podman buildah}; do
    engine_works "$name" && engine="$name" && return
  done
  fail "found no working ${engine:-docker (with buildx), podman or buildah}; on Debian: apt-get install buildah"
}

make_base() {
  local rootfs="$cache/bookworm.tar" folder container
  if [[ ! -s "$rootfs" ]]; then
    say "debootstrap: Debian bookworm into $rootfs"
    folder="$(mktemp -d)"
    debootstrap --variant=minbase bookworm "$folder" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} > "$cache/debootstrap.log"
    tar -C "$folder" --exclude='./var/cache/apt/archives/*.deb' -cf "$rootfs" .
    rm -rf "$folder"
  fi
  if [[ "$engine" != buildah ]]; then
    "$engine" image inspect "$base" > /dev/null 2>&1 || "$engine" import "$rootfs" "$base" > /dev/null
  elif ! buildah inspect --type image "$base" > /dev/null 2>&1; then
    container="$(buildah from scratch)"
    buildah add --quiet "$container" "$rootfs" / > /dev/null
    buildah commit --quiet --rm "$container" "$base" > /dev/null
  fi
  build_args+=(--build-arg "BASE_IMAGE=$base")
}

# The image's Python is 3.11 whatever this machine has, so the wheels are chosen for that.
fetch_wheels() {
  local wheels="$cache/wheels" wanted
  local read_requirements='import sys, tomllib; t = tomllib.load(open(sys.argv[1], "rb"))
print(*t["project"]["dependencies"], *t["build-system"]["requires"], sep="\n")'
  wanted="$(python3 -c "$read_requirements" "$repo/pyproject.toml")"
  if ! cmp -s "$wheels/done" <(echo "$wanted"; cat "$repo/constraints.txt"); then
    say "fetching wheels into $wheels"
    mkdir -p "$wheels"
    python3 -m pip download -qq --disable-pip-version-check --python-version 3.11 --only-binary=:all: \
      -d "$wheels" -c "$repo/constraints.txt" -r <(echo "$wanted")
    (echo "$wanted"; cat "$repo/constraints.txt") > "$wheels/done"
  fi
  build_args+=(--build-context "wheels=$wheels" --build-arg PIP_NO_INDEX=1)
}

build_image() {
  say "building $image with $engine"
  case "$engine" in
    docker) docker build -t "$image" "${build_args[@]}" "$repo" ;;
    podman) podman build --layers -t "$image" "${build_args[@]}" "$repo" ;;
    buildah) buildah build --layers --isolation chroot -t "$image" "${build_args[@]}" "$repo" ;;
  esac >&2
}

# in_container COMMAND...: one command in a fresh container without network; $tmp/data read-only at /data, $tmp/results at /results.
in_container() {
  local mounts=(-v "$tmp/data:/data:ro" -v "$tmp/results:/results") user=()
  if [[ "$engine" == buildah ]]; then
    in_buildah "$@"
    return
  fi
  (( EUID == 0 )) || user=(--user "$(id -u):$(id -g)")
  [[ "$engine" == podman && ${#user[@]} -gt 0 ]] && user+=(--userns=keep-id)
  "$engine" run --rm --network none --read-only --tmpfs /tmp "${user[@]}" "${mounts[@]}" \
    --entrypoint "$1" "$image" "${@:2}"
}

in_buildah() {
  local container status=0
  container="$(buildah from "$image")"
  # chroot isolation keeps the host's network, so the network namespace comes from outside.
  unshare --net buildah run --isolation chroot "${mounts[@]}" "$container" -- "$@" 2> "$tmp/stderr" || status=$?
  cat "$tmp/stderr" >&2
  buildah rm "$container" > /dev/null
  # buildah first copies itself into memory, which the kernel refuses now and then; nothing has run by then.
  if (( status == 1 )) && grep -q "sealing memfd copy" "$tmp/stderr"; then
    in_buildah "$@"
    return
  fi
  return "$status"
}

# expect STATUS COMMAND...: run it in the container and require this exit code.
expect() {
  local wanted="$1" status=0
  shift
  local line="${*/$'\n'*/}"
  say "$line"
  in_container "$@" || status=$?
  [[ "$status" == "$wanted" ]] || fail "'$line' exited with $status instead of $wanted"
}

prepare_videos() {
  expect 0 vidtok data synthetic /results/motion --clips 60 --seed 0
  mv "$tmp/results/motion"/* "$tmp/data/"
  mkdir "$tmp/data/broken"
  echo "not a video" > "$tmp/data/broken/broken.mp4"
}

use_image() {
  local run
  run="$(expect 0 vidtok train --config demo data.train=/data/train.csv data.val=/data/val.csv data.test=/data/test.csv \
    train.max_steps=2 train.batch_size=4 run.output_dir=/results/runs)"
  expect 0 vidtok doctor --json > "$tmp/results/doctor.json"
  expect 0 vidtok infer /data/videos/test --checkpoint "$run/last.ckpt" --format json > "$tmp/results/infer.json"
  expect 3 vidtok infer /data/broken/broken.mp4 --checkpoint "$run/last.ckpt" > /dev/null
  expect 0 vidtok eval --checkpoint "$run/last.ckpt" --data /data/test.csv --views 1x1 > /dev/null
}

check_outputs() {
  expect 0 python -c '
import json, os, socket
from pathlib import Path

def load(path): return json.loads(Path(path).read_text())

doctor, infer = load("doctor.json"), load("infer.json")
assert doctor["schema"].startswith("vidtok.doctor/"), doctor
videos = sorted(Path("/data/videos/test").rglob("*.mp4"))
assert [row["path"] for row in infer["results"]] == [str(video) for video in videos], infer
assert all(row["error"] is None and row["top"] for row in infer["results"]), infer
[evaluation] = [path.parent for path in Path().rglob("metrics.json")]
metrics = load(evaluation / "metrics.json")
assert metrics["schema"] == "vidtok.eval/1" and metrics["protocol"] == "1x1", metrics
assert metrics["videos"]["scored"] == metrics["videos"]["listed"] > 0, metrics
for name in ("predictions.jsonl", "per_class.csv", "confusion.csv", "report.html"):
    assert (evaluation / name).stat().st_size > 0, name
assert os.getuid() != 0, "runs as root"
assert not os.access("/data", os.W_OK) and not os.access("/opt/vidtok", os.W_OK), "should be read-only"
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError as error:
    assert error.strerror == "Network is unreachable", error
print(len(videos), "videos labelled,", metrics["videos"]["scored"], "scored, top-1", metrics["top1"])
'
}

parse_options "$@"
choose_engine
mkdir -p "$cache"
[[ -z "$base_from_debootstrap" ]] || make_base
[[ -z "$wheels_from_host" ]] || fetch_wheels
build_image
tmp="$(mktemp -d)"
trap 'rm -rf "$tmp"' EXIT
mkdir -m 1777 "$tmp/data" "$tmp/results"
prepare_videos
use_image
check_outputs
say "container smoke: passed with $engine"
