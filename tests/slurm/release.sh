#!/usr/bin/env bash
# Runs the gateway's tests on a real Slurm of another Debian release: its Slurm, and binaries that were built here.
#
#   tests/slurm/release.sh SUITE [TEST-BINARY...]     such as trixie (Slurm 24.11) or sid (26.05)
#
# As root, with mmdebstrap or debootstrap. The release's root file system comes from the mirror that this machine is set up
# with, the first time, and is kept in target/slurm-releases; the glibc that the binaries are built with must not be newer
# than its own. Everything runs in namespaces: nothing stays mounted, and no daemon lives on when a test dies.
#
# What is missing is said as skipped; with GHA_SLURM_REQUIRE_SLURM it fails.
set -euo pipefail

suite=${1:?usage: release.sh SUITE [TEST-BINARY...]}
shift
checkout=$(cd "$(dirname "$0")/../.." && pwd)
root=${GHA_SLURM_RELEASES:-$checkout/target/slurm-releases}/$suite
packages=munge,slurmctld,slurmd,slurm-client,slurmrestd,slurm-wlm-jwt-plugin,ca-certificates,curl,procps,util-linux,hostname
packages+=,python3-minimal

skip() {
    echo "skipped: Slurm of $suite: $*" >&2
    [[ -z ${GHA_SLURM_REQUIRE_SLURM:-} ]] || exit 1
    exit 0
}

# Debian's own in either form of apt's lists, and no other repository's.
mirror() {
    local lists=(/etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources})
    { cat "${lists[@]}" 2>/dev/null || true; } | awk '
        $1 == "URIs:" { url = $2 }
        $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z]+:\//) { url = $i; break } }
        ($1 == "URIs:" || $1 == "deb") && url ~ /\/debian\/?$/ { print url; exit }'
}

make_root() {
    # A mirror that stands still, as one of a certain day does, has lists that are too old by their own word.
    if command -v mmdebstrap >/dev/null; then
        mmdebstrap --quiet --variant=apt --include="$packages" --aptopt='APT::Install-Recommends "false"' \
            --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$1" "$2"
    else
        debootstrap --variant=minbase --include="$packages" "$suite" "$1" "$2"
    fi
}

build() {
    local executable='s/.*"executable":"\([^"]*\)".*/\1/p'
    # With the features of the whole, as it was built for the other tests.
    cargo test --release --manifest-path "$checkout/Cargo.toml" --workspace --test slurm --no-run \
        --message-format=json | sed -n "/gateway\/Cargo.toml.*\"kind\":\[\"test\"\]/$executable"
}

((EUID == 0)) || skip "needs root"
unshare --mount --pid --fork --uts true 2>/dev/null || skip "this machine makes no namespaces"
if [[ ! -d $root ]]; then
    command -v mmdebstrap debootstrap >/dev/null || skip "neither mmdebstrap nor debootstrap is installed"
    from=$(mirror)
    [[ -n $from ]] || skip "this machine has no mirror of Debian"
    rm -rf -- "$root.new"
    mkdir -p "$root.new"
    # A mirror may be in the middle of an update.
    make_root "$root.new" "$from" || { rm -rf -- "$root.new" && mkdir -p "$root.new" && make_root "$root.new" "$from"; } ||
        skip "its root file system could not be made"
    # In one step, so that half of one is none.
    mv -- "$root.new" "$root"
fi
if (($# == 0)); then
    test=$(build)
    [[ -x $test ]] || { echo "the test was not built" >&2; exit 1; }
    set -- "$test"
fi

# shellcheck disable=SC2016 # The inner shell expands these.
exec unshare --mount --pid --fork --kill-child --mount-proc --uts bash -euc '
    root=$1 checkout=$2
    shift 2
    hostname slurm-release
    # As a mount point of its own it can have others below it that nobody else sees.
    mount --bind "$root" "$root"
    mkdir -p "$root$checkout"
    mount --rbind "$checkout" "$root$checkout"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    for folder in tmp run; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
    echo "Slurm: $(chroot "$root" slurmctld -V)"
    for test; do
        chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            GHA_SLURM_REQUIRE_SLURM=1 GHA_SLURM_BURST="${GHA_SLURM_BURST:-20}" \
            bash -c "cd \"\$1/gateway\" && exec \"\$2\" --nocapture" test "$checkout" "$test"
    done
' release "$root" "$checkout" "$@"
