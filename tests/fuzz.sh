#!/bin/bash
# Runs each fuzz target in the build directory $1 for FUZZ_SECONDS, two at a time, from a copy of its corpus.
# FUZZ_SEED: the same search each time (1), so that a check of unchanged code stays as it was; 0: another one each time.
# The last line is "N fuzz targets passed, N failed".
set -u
build=$1
seconds=${FUZZ_SECONDS:-10}
seed=${FUZZ_SEED:-1}

run_one() {
        local program=$1
        local name=${program##*/fuzz_}
        local corpus=$build/corpus/$name
        local log=$build/$name.log
        mkdir -p "$corpus"
        if [ -d "tests/fuzz/corpus/$name" ]; then
                cp -rn "tests/fuzz/corpus/$name/." "$corpus/"
        fi
        if "$program" -seed="$seed" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -verbosity=1 -print_final_stats=1 \
                -artifact_prefix="$build/$name-" "$corpus" >"$log" 2>&1; then
                echo "ok    $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
                return 0
        fi
        echo "FAILED $name:"
        tail -n 40 "$log"
        return 1
}

mapfile -t programs < <(find "$build/tests/fuzz" -maxdepth 1 -name 'fuzz_*' -type f -perm -u+x | sort)
passed=0
failed=0
finish() {
        if wait "$1"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
running=()
for program in "${programs[@]}"; do
        run_one "$program" &
        running+=($!)
        if [ ${#running[@]} -eq 2 ]; then
                for job in "${running[@]}"; do finish "$job"; done
                running=()
        fi
done
for job in "${running[@]}"; do finish "$job"; done
echo "$passed fuzz targets passed, $failed failed"
[ "$failed" -eq 0 ]
