#!/bin/bash
# A stand-in for GitHub's run.sh. Like the real one it only starts another script, again when that answers 2, has no trap,
# and dies of SIGTERM at once, while the listener goes on.
cd "$(dirname "$0")" || exit
while true; do
    cp -f run-helper.sh.template run-helper.sh
    ./run-helper.sh "$@"
    status=$?
    if ((status == 2)); then
        echo "Restarting runner..."
    else
        echo "Exiting runner..."
        # The real one passes on the one status that says that the version is refused, and nothing else.
        if ((status == 7)) && [[ ${ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE:-} == 1 ]]; then exit 7; fi
        exit 0
    fi
done
