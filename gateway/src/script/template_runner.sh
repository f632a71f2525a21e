#!/bin/bash
#OPTIONS
# Runs the site's job template. Filled in, it holds the launch token, so it comes in the environment: this script can be
# read by everything that runs as the same Slurm user.
if [[ -z ${GHA_SLURM_TEMPLATE:-} ]]; then
    echo "gha-slurm: the job's environment did not arrive; does the command in sbatch.sbatch keep GHA_SLURM_EXPORTS?" >&2
    exit 1
fi
template=$GHA_SLURM_TEMPLATE
unset GHA_SLURM_TEMPLATE
exec INTERPRETER /dev/fd/9 9<<<"$template"
