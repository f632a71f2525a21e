#!/bin/bash
# A stand-in for GitHub's run-helper.sh: starts the listener, and tells what became of it.
./bin/Runner.Listener run "$@"
status=$?
echo "Runner listener exit with $status return code"
exit "$status"
