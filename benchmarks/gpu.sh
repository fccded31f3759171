#!/usr/bin/env bash
# Measure on a machine with a GPU: benchmarks/gpu.sh FOLDER [LLAMA-CPP-PYTHON]
#
# FOLDER gets the tables, as Markdown, and the log. LLAMA-CPP-PYTHON is a wheel, or the source of the release that
# pyproject.toml pins, which is built for this machine's GPU (CMAKE_ARGS is respected; CUDA otherwise); without it the
# llama-cpp-python that is installed is used. The models are those that `python -m benchmarks` finds: GLIMP_REAL_PAIR and
# GLIMP_SHARED_VOCAB_PAIR. No network is needed if numpy and the other dependencies are installed. About ten minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?a folder for the results}
mkdir -p "$folder"
exec > >(tee "$folder/gpu.log") 2>&1
python=${PYTHON:-python3}

if [ $# -gt 1 ]; then
    "$python" -m venv --system-site-packages "$folder/venv"
    python="$folder/venv/bin/python"
    CMAKE_ARGS="${CMAKE_ARGS:--DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=native}" \
        "$python" -m pip install --no-index --no-deps --no-build-isolation --force-reinstall "$2"
fi
export PYTHONPATH="$PWD"
rounds=${ROUNDS:-3} tokens=${TOKENS:-96} limit=${LIMIT:-10}
sized=(--rounds "$rounds" --tokens "$tokens" --limit "$limit")

"$python" -m glimp_local doctor || true  # it says what llama.cpp sees, and what is wrong with it
"$python" -m pytest -q tests/engines/llama -o cache_dir="$folder/pytest" || echo "the engine's tests failed"

measure() { # NAME SECTIONS... OPTIONS...
    local name=$1
    shift
    echo "+ $name: $*"
    "$python" -m benchmarks "$@" "${sized[@]}" >"$folder/$name.md" || echo "$name: not all of it was measured"
}
measure all costs forecast pace floor drafting end-to-end
measure small-on-gpu floor drafting end-to-end --gpu-layers-large 0
measure large-on-gpu floor drafting end-to-end --gpu-layers-small 0
echo "done: $folder"
