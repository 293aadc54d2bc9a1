#!/usr/bin/env bash
# bench/gpu.sh [--dry] [BUILD_FOLDER]   everything that needs a CUDA device, one step after the other: conformance of the
# Thrust backend, the same under compute-sanitizer, the program on the device, LibTorch on the device where one with CUDA
# is found (NEGOOD_TORCH_PREFIX=... or torch's Python package), and the goals of a GPU (bench_gpu, with --full where
# NEGOOD_GPU_FULL=1). A step that fails does not stop the others; the last line counts them. --dry shows the commands.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dry=0
[ "${1:-}" != --dry ] || { dry=1; shift; }
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
  if [ $dry -eq 1 ]; then return 0; fi
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

if [ $dry -eq 0 ]; then
  mkdir -p "$logs"
  command -v nvcc >/dev/null || [ -x "${CUDACXX:-/usr/local/cuda/bin/nvcc}" ] ||
    stop "there is no nvcc (put it into PATH, or set CUDACXX)"
  command -v nvidia-smi >/dev/null || stop "there is no nvidia-smi, and so no driver and no device"
  nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.max.sm --format=csv || stop "nvidia-smi finds no device"
fi
export PATH="$PATH:/usr/local/cuda/bin"

step configure cmake --preset cuda -B "$build" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O3 -DNDEBUG" \
  -DCMAKE_CUDA_ARCHITECTURES=native -DNEGOOD_TORCH=OFF -DNEGOOD_XTENSOR=OFF -DNEGOOD_TEST_AREAS=thrust_cuda \
  -DNEGOOD_BENCH=ON -DNEGOOD_CLI_BACKENDS=cuda || stop "it could not be configured"
step build-conformance cmake --build "$build" -j "$jobs" --target negood_conformance_thrust_cuda
shown=70 step conformance "$build/bin/negood_conformance_thrust_cuda"
# The sanitizer slows kernels a hundredfold: the fused algorithms and the members, not the training runs.
for tool in memcheck racecheck; do
  step "sanitizer-$tool" compute-sanitizer --tool $tool --error-exitcode 1 "$build/bin/negood_conformance_thrust_cuda" \
    "~algorithms*"
done

step build-bench cmake --build "$build" -j "$jobs" --target bench_gpu_cuda
step bench-smoke "$build/bin/bench/bench_gpu_cuda" --smoke
# The published text step in PyTorch on the same device, for the ratio; without torch the ratio is left out.
options=()
if python3 -c "$has_cuda" 2>/dev/null || [ $dry -eq 1 ]; then
  step peer python3 bench/bench_gpu_peer.py && [ $dry -eq 0 ] && read -ra options < <(tail -n 1 "$logs/peer.log")
else
  echo "=== peer: left out, there is no PyTorch with CUDA; bench_gpu then prints no ratio of the text step"
fi
[ "${NEGOOD_GPU_FULL:-0}" != 1 ] || options+=(--full)
shown=60 step bench "$build/bin/bench/bench_gpu_cuda" "${options[@]}"

# The program: the demonstration on the embedded model, with every method, on the device.
step build-program cmake --build "$build" -j "$jobs" --target negood_cli
step program-demo "$build/bin/negood" demo --backend thrust-cuda --seeds 1 --progress plain --out "$logs/demo"

# LibTorch: one with CUDA, from NEGOOD_TORCH_PREFIX or the Python package.
prefix=${NEGOOD_TORCH_PREFIX:-$(python3 -c "$has_cuda; print(torch.utils.cmake_prefix_path)" 2>/dev/null || true)}
if [ -n "$prefix" ] || [ $dry -eq 1 ]; then
  step configure-torch cmake --preset torch -B "$build-torch" "-DCMAKE_PREFIX_PATH=$prefix" -DNEGOOD_EXAMPLES=OFF \
    -DNEGOOD_XTENSOR=OFF -DNEGOOD_THRUST=OFF -DNEGOOD_TEST_AREAS=torch &&
    step build-torch cmake --build "$build-torch" -j "$jobs" --target negood_conformance_torch &&
    shown=70 step conformance-torch env NEGOOD_TORCH_DEVICE=cuda "$build-torch/bin/negood_conformance_torch"
else
  echo "=== LibTorch: left out, none with CUDA was found (set NEGOOD_TORCH_PREFIX)"
fi

[ $dry -eq 0 ] || exit 0
echo "$passed passed, ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
[ ${#failed[@]} -eq 0 ]
