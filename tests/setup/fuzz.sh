#!/bin/sh
# Every fuzz target, or those that are named, each for FUZZ_SECONDS under libFuzzer.
# A stable compiler is enough: RUSTC_BOOTSTRAP lets cargo-fuzz ask for its sanitizer.
set -eu
cd "$(dirname "$0")/../.."
: "${CARGO:=cargo}" "${FUZZ_SECONDS:=600}"
export RUSTC_BOOTSTRAP=1
fuzz=tests/fuzz
found=target/fuzz/found

command -v cargo-fuzz >/dev/null 2>&1 || "$CARGO" install --locked cargo-fuzz
command -v c++ >/dev/null 2>&1 || { echo "libFuzzer is built by a C++ compiler: install g++" >&2; exit 1; }

[ $# -gt 0 ] || set -- $(ls "$fuzz/corpus")
failed=
for target in "$@"; do
    [ -d "$fuzz/corpus/$target" ] || { echo "no target $target; they are:" $(ls "$fuzz/corpus") >&2; exit 1; }
    echo "== $target, ${FUZZ_SECONDS} s"
    mkdir -p "$found/$target" "target/fuzz/grown/$target"
    # What it grows goes under target; the committed corpus is only read. Nothing here needs a large input, and an
    # allocation or a run out of proportion is a finding like any other.
    "$CARGO" fuzz run --fuzz-dir "$fuzz/libfuzzer" --target-dir target/fuzz "$target" \
        "target/fuzz/grown/$target" "$fuzz/corpus/$target" -- \
        -dict="$fuzz/dictionaries/$target.dict" -artifact_prefix="$found/$target/" \
        -max_total_time="$FUZZ_SECONDS" -max_len=16384 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64 \
        -print_final_stats=1 -verbosity=0 || failed="$failed $target"
done
[ -z "$failed" ] || { echo "FAILED:$failed; the inputs are under $found" >&2; exit 1; }
