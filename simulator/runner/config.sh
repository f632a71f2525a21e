#!/bin/bash
# A stand-in for GitHub's config.sh: registers at the simulator (STAND_IN_GITHUB) what the real one would at GitHub, and
# leaves the same files. STAND_IN_REGISTERS_AT makes it a runner of another repository.
set -eu
cd "$(dirname "$0")"
api=$STAND_IN_GITHUB/_runner
agent_id() { sed -n 's/.*"agentId": \([0-9]*\),.*/\1/p' .runner; }
if [[ ${1:-} == remove ]]; then
    if [[ ! -f .runner || -z ${ACTIONS_RUNNER_INPUT_TOKEN:-} ]]; then
        echo "Failed: Removing runner from the server" >&2
        exit 1
    fi
    curl -sf -X POST "$api/$(agent_id)/remove"
    rm .runner .credentials
    printf '√ %s\n' "Runner removed successfully" "Removed .credentials" "Removed .runner"
    exit
fi
if [[ -f .runner ]]; then
    echo "Cannot configure the runner because it is already configured. To reconfigure the runner, run 'config.cmd remove' or './config.sh remove' first." >&2
    exit 1
fi
name=$(uname -n) labels='' group=null work=_work
while (($#)); do
    case $1 in
        --url) url=$2 && shift ;;
        --name) name=$2 && shift ;;
        --labels) labels=$2 && shift ;;
        --runnergroup) group=\"$2\" && shift ;;
        --work) work=$2 && shift ;;
        --token) echo "the token must not be in argv" >&2 && exit 3 ;;
    esac
    shift
done
: "${ACTIONS_RUNNER_INPUT_TOKEN:?}"
repository=$(cut -d/ -f4- <<<"$url")
body='{"repository":"%s","token":"%s","name":"%s","labels":["%s"],"runner_group":%s}'
# shellcheck disable=SC2059
if ! answer=$(printf "$body" "$repository" "$ACTIONS_RUNNER_INPUT_TOKEN" "$name" "${labels//,/\",\"}" "$group" |
    curl -sf -X POST -H 'Content-Type: application/json' -d @- "$api/register"); then
    echo "Http response code: NotFound from 'POST https://api.github.com/actions/runner-registration'" >&2
    exit 1
fi
# As .NET writes them: with a byte order mark, indented, in camel case.
printf '\xEF\xBB\xBF{\n  "agentId": %s,\n  "agentName": "%s",\n  "poolId": 1,\n  "poolName": "Default",\n  "ephemeral": true,\n  "serverUrl": "https://pipelines.actions.githubusercontent.com/simulated/",\n  "gitHubUrl": "%s",\n  "workFolder": "%s"\n}' \
    "${answer//[^0-9]/}" "$name" "${STAND_IN_REGISTERS_AT:-$url}" "$work" >.runner
printf '\xEF\xBB\xBF{\n  "scheme": "OAuth",\n  "data": {\n    "clientId": "simulated"\n  }\n}' >.credentials
echo "√ Runner successfully added"
