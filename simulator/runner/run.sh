#!/bin/bash
# A stand-in for GitHub's run.sh: takes one job from the simulator, with the real one's lines, and ends.
# STAND_IN_JOB_SECONDS is how long the job takes; STAND_IN_STUBBORN makes it ignore SIGTERM and leave a child behind.
set -eu
cd "$(dirname "$0")"
api=$STAND_IN_GITHUB/_runner
if [[ -n ${ACTIONS_RUNNER_INPUT_JITCONFIG:-} ]]; then
    # A GitHub that does not know the configuration leaves the runner without a job.
    answer=$(printf '{"encoded_jit_config":"%s"}' "$ACTIONS_RUNNER_INPUT_JITCONFIG" |
        curl -sf -X POST -H 'Content-Type: application/json' -d @- "$api/start") || answer=
    id=${answer//[^0-9]/}
    echo "${id:-jit}" >.runner
fi
id=$(cat .runner)
if [[ -n ${STAND_IN_STUBBORN:-} ]]; then
    trap '' TERM
    setsid sleep 1000 &
    echo $! >"$STAND_IN_STUBBORN"
else
    trap 'echo "Exiting..."; exit 0' TERM
fi
echo "√ Connected to GitHub"
echo "$(date -u '+%FT%TZ'): Listening for Jobs"
while true; do
    [[ $id == jit ]] || job=$(curl -sf "$api/$id/job" | sed 's/[^0-9]//g')
    if [[ -n ${job:-} ]]; then
        echo "$(date -u '+%FT%TZ'): Running job: build"
        # The step itself, with what it can see.
        env >step.env
        if grep -E 'GHA_SLURM_TOKEN|ACTIONS_RUNNER_INPUT_TOKEN' step.env; then exit 4; fi
        seconds=${STAND_IN_JOB_SECONDS:-0.3}
        sleep "$seconds" & wait $!
        curl -sf -X POST "$api/$id/done"
        echo "$(date -u '+%FT%TZ'): Job build completed with result: Succeeded"
        exit 0
    fi
    sleep 0.2 & wait $! || true
done
