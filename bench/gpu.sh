#!/usr/bin/env bash
# bench/gpu.sh [BUILD_FOLDER]   what needs a CUDA device: conformance of the Thrust backend, and the same under compute-sanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build-cuda}

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv
cmake --preset cuda -B "$build" -DNEGOOD_TORCH=OFF -DNEGOOD_EXAMPLES=OFF -DNEGOOD_TEST_AREAS=thrust_cuda \
  -DCMAKE_CUDA_ARCHITECTURES=native
cmake --build "$build" --target negood_conformance_thrust_cuda
"$build/bin/negood_conformance_thrust_cuda"
compute-sanitizer --error-exitcode 1 "$build/bin/negood_conformance_thrust_cuda" "fused attention*,every primitive*"

# LibTorch's devices: a LibTorch with CUDA must be found (-DCMAKE_PREFIX_PATH=...).
if [ "${NEGOOD_GPU_TORCH:-0}" = 1 ]; then
  cmake --preset torch -B "$build-torch" -DNEGOOD_EXAMPLES=OFF -DNEGOOD_TEST_AREAS=torch ${NEGOOD_TORCH_PREFIX:+-DCMAKE_PREFIX_PATH="$NEGOOD_TORCH_PREFIX"}
  cmake --build "$build-torch" --target negood_conformance_torch
  NEGOOD_TORCH_DEVICE=cuda "$build-torch/bin/negood_conformance_torch"
fi
