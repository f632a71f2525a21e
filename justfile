# The stages of CI, one at a time and by anybody. What they do is said once, in .ci/run.

_list:
    @just --list

# Everything, as CI does it. Installs what is missing, so as root on Debian
ci:
    .ci/run

# Install what the other stages use, as root on Debian
tools:
    .ci/run tools

# Check the format of the code
format:
    .ci/run format

# Clippy for both sides of the Wasm boundary, and the links in the documentation
lints:
    .ci/run lints

# Licences, sources, duplicates and advisories of the dependencies
dependencies:
    .ci/run dependencies

# All tests; those that need something which is not installed are ignored
tests:
    .ci/run tests

# The gateway's tests on the Slurm of other Debian releases, as root
releases:
    .ci/run releases

# Feed each fuzz target for that many seconds
fuzz seconds="60":
    FUZZ_SECONDS={{ seconds }} .ci/run fuzz

# The README's demo, each scenario
demo:
    .ci/run demo

# Write the golden files anew: look at what git says has changed
bless:
    EXPECTORATE=overwrite cargo test --release --workspace
