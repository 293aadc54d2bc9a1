#!/usr/bin/env bash
# bench/gpu.sh [--build | --prebuilt | --dry] [BUILD_FOLDER]   everything that needs a CUDA device, one step after the
# other: conformance of the Thrust backend, the same under compute-sanitizer, the goals of a GPU (bench_gpu; --full where
# NEGOOD_GPU_FULL=1) with PyTorch's text step beside them, the program on the device, and LibTorch on the device where one
# with CUDA is found (NEGOOD_TORCH_PREFIX=..., or torch's Python package). A step that fails does not stop the others;
# the last line counts them. The output of every step is kept in build-logs/gpu.
#   --build     only builds, for any machine with a device of compute capability 8.0 or 9.0; needs no device
#   --prebuilt  only runs what --build has made, on a machine that need not have the libraries to build with
#   --dry       shows the commands
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mode=all
case "${1:-}" in --build | --prebuilt | --dry) mode=${1#--}; shift ;; esac
build=${1:-build-gpu}
logs=build-logs/gpu
jobs=${NEGOOD_JOBS:-$(nproc)}
has_cuda='import torch; assert torch.cuda.is_available()'
passed=0 failed=()

stop() { echo "bench/gpu.sh stops here: $1" >&2; exit 3; }

# step NAME COMMAND...: runs it, keeps its output in a file, says how it ended.
step() {
  local name=$1 started=$SECONDS status=0
  shift
  echo "=== $name: $*"
  [ $mode != dry ] || return 0
  "$@" >"$logs/$name.log" 2>&1 || status=$?
  tail -n "${shown:-15}" "$logs/$name.log"
  if [ $status -eq 0 ]; then
    passed=$((passed + 1))
    echo "=== $name: passed in $((SECONDS - started)) s"
  else
    failed+=("$name")
    echo "=== $name: FAILED (exit $status) after $((SECONDS - started)) s; all of it: $logs/$name.log"
  fi
  return $status
}
finish() {
  [ $mode = dry ] || echo "$passed passed, ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
  [ ${#failed[@]} -eq 0 ]
  exit
}

mkdir -p "$logs"
export PATH="$PATH:/usr/local/cuda/bin" CUDACXX=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}

if [ $mode != prebuilt ]; then
  [ -x "$CUDACXX" ] || [ $mode = dry ] || stop "there is no nvcc (put it into PATH, or set CUDACXX)"
fi
if [ $mode = all ] || [ $mode = prebuilt ]; then
  command -v nvidia-smi >/dev/null || stop "there is no nvidia-smi, and so no driver and no device (--build needs none)"
  nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.max.sm --format=csv || stop "nvidia-smi finds no device"
fi

if [ $mode != prebuilt ]; then
  here=(-DCMAKE_CUDA_ARCHITECTURES=native)
  [ $mode != build ] || here=("-DCMAKE_CUDA_ARCHITECTURES=80-real;90" -DNEGOOD_NATIVE=OFF -DNEGOOD_ONEDNN=OFF
    -DCMAKE_DISABLE_FIND_PACKAGE_TBB=ON)
  step configure cmake --preset cuda -B "$build" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O3 -DNDEBUG" \
    -DNEGOOD_TORCH=OFF -DNEGOOD_XTENSOR=OFF -DNEGOOD_TEST_AREAS=thrust_cuda -DNEGOOD_BENCH=ON \
    -DNEGOOD_CLI_BACKENDS=cuda "${here[@]}" || stop "it could not be configured"
  for target in negood_conformance_thrust_cuda bench_gpu_cuda negood_cli; do
    step "build-$target" cmake --build "$build" -j "$jobs" --target $target
  done
fi
[ $mode != build ] || finish

shown=80 step conformance "$build/bin/negood_conformance_thrust_cuda"
# The sanitizer slows kernels a hundredfold: the members and the fused algorithms, not the training runs.
for tool in memcheck racecheck; do
  step "sanitizer-$tool" compute-sanitizer --tool $tool --error-exitcode 1 "$build/bin/negood_conformance_thrust_cuda" \
    "~algorithms*"
done

step bench-smoke "$build/bin/bench/bench_gpu_cuda" --smoke
# The published text step in PyTorch on the same device, for the ratio.
options=()
if [ $mode = dry ] || python3 -c "$has_cuda" 2>/dev/null; then
  step peer python3 bench/bench_gpu_peer.py && [ $mode != dry ] && read -ra options < <(tail -n 1 "$logs/peer.log")
else
  echo "=== peer: left out, there is no PyTorch with CUDA; bench_gpu then prints no ratio of the text step"
fi
[ "${NEGOOD_GPU_FULL:-0}" != 1 ] || options+=(--full)
shown=60 step bench "$build/bin/bench/bench_gpu_cuda" "${options[@]}"

# The program: the demonstration on the embedded model, with every method, on the device.
step program-demo "$build/bin/negood" demo --backend thrust-cuda --seeds 1 --progress plain --out "$logs/demo"

prefix=${NEGOOD_TORCH_PREFIX:-$(python3 -c "$has_cuda; print(torch.utils.cmake_prefix_path)" 2>/dev/null || true)}
if [ $mode != prebuilt ] && { [ -n "$prefix" ] || [ $mode = dry ]; }; then
  step configure-torch cmake --preset torch -B "$build-torch" "-DCMAKE_PREFIX_PATH=$prefix" -DNEGOOD_EXAMPLES=OFF \
    -DNEGOOD_XTENSOR=OFF -DNEGOOD_THRUST=OFF -DNEGOOD_TEST_AREAS=torch &&
    step build-torch cmake --build "$build-torch" -j "$jobs" --target negood_conformance_torch &&
    shown=80 step conformance-torch env NEGOOD_TORCH_DEVICE=cuda "$build-torch/bin/negood_conformance_torch"
else
  echo "=== LibTorch: left out, there is none with CUDA, or nothing is built here"
fi
finish
