#!/bin/bash
# A stand-in for GitHub's config.sh: registers at the simulator (STAND_IN_GITHUB) what the real one would at GitHub.
# STAND_IN_REGISTERS_AT makes it a runner of another repository.
set -eu
cd "$(dirname "$0")"
api=$STAND_IN_GITHUB/_runner
if [[ ${1:-} == remove ]]; then
    [[ -f .runner ]] || exit 1
    curl -sf -X POST "$api/$(sed 's/[^0-9]*\([0-9]*\).*/\1/' .runner)/remove"
    rm .runner
    echo "Runner removed successfully"
    exit
fi
while (($#)); do
    case $1 in
        --url) url=$2 && shift ;;
        --name) name=$2 && shift ;;
        --labels) labels=$2 && shift ;;
        --token) echo "the token must not be in argv" >&2 && exit 3 ;;
    esac
    shift
done
: "${ACTIONS_RUNNER_INPUT_TOKEN:?}"
repository=$(cut -d/ -f4- <<<"$url")
body='{"repository":"%s","token":"%s","name":"%s","labels":["%s"]}'
# shellcheck disable=SC2059
answer=$(printf "$body" "$repository" "$ACTIONS_RUNNER_INPUT_TOKEN" "$name" "${labels//,/\",\"}" |
    curl -sf -X POST -H 'Content-Type: application/json' -d @- "$api/register") || exit 1
printf '{"agentId": %s, "gitHubUrl": "%s"}\n' "${answer//[^0-9]/}" "${STAND_IN_REGISTERS_AT:-$url}" >.runner
echo "√ Runner successfully added"
