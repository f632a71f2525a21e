#!/bin/bash
# A stand-in for GitHub's run.sh. Like the real one it only starts another script, has no trap, and dies of SIGTERM at
# once, while the listener goes on.
cd "$(dirname "$0")" || exit
./run-helper.sh "$@"
