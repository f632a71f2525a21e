#!/bin/bash
# A private Slurm for tests: munge, slurmctld, slurmrestd and two slurmds on loopback, and two users. The second node is in
# the partition `big` only.
#
#   cluster.sh up FOLDER     starts it, as root, and prints what to export
#   cluster.sh down FOLDER   stops it and removes the folder
#   cluster.sh stop|start FOLDER slurmctld|slurmrestd
#
# Debian: munge slurmctld slurmd slurm-client slurmrestd slurm-wlm-jwt-plugin
set -euo pipefail

command=$1 B=$2
H=$(hostname -s)
export SLURM_CONF=$B/slurm.conf

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for() {
    for _ in $(seq 100); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "not in time: $*" >&2
    tail -n 20 "$B"/log/* >&2 || true
    return 1
}

# Until 23.02 each version of the API is a plugin of its own.
openapi() {
    case $(slurmctld -V) in
        *' 2'[012].*) echo openapi/v0.0.36,openapi/v0.0.37,openapi/v0.0.38 ;;
        *) echo openapi/slurmctld ;;
    esac
}

start() {
    case $1 in
        munged)
            runuser -u munge -- munged --key-file="$B/munge/munge.key" --socket="$B/munge/munge.socket" \
                --pid-file="$B/munge/munged.pid" --log-file="$B/munge/munged.log" --seed-file="$B/munge/munged.seed"
            ;;
        slurmctld) slurmctld -i ;;
        slurmd-*) slurmd -N "${1#slurmd-}" ;;
        slurmrestd)
            SLURM_JWT=daemon SLURMRESTD_SECURITY=disable_unshare_files,disable_unshare_sysv \
                setsid runuser -u slurmrestd -- slurmrestd -a rest_auth/jwt \
                -s "$(openapi)" "127.0.0.1:$(cat "$B/rest.port")" \
                >"$B/log/slurmrestd.log" 2>&1 </dev/null &
            echo $! >"$B/pid/slurmrestd.pid"
            wait_for bash -c "</dev/tcp/127.0.0.1/$(cat "$B/rest.port")"
            ;;
    esac
}

stop() {
    local pid
    pid=$(cat "$2" 2>/dev/null) || return 0
    # setsid runuser: the group, so that runuser's child ends too.
    if [[ $1 == slurmrestd ]]; then kill -- "-$pid" 2>/dev/null || true; else kill "$pid" 2>/dev/null || true; fi
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
}

pid_file() { if [[ $1 == munged ]]; then echo "$B/munge/munged.pid"; else echo "$B/pid/$1.pid"; fi; }

up() {
    local user ctld slurmd second
    getent hosts "$H" >/dev/null || echo "127.0.0.1 $H" >>/etc/hosts
    for user in slurm munge slurmrestd; do id "$user" &>/dev/null || useradd --system "$user"; done
    for user in ghaslurm1 ghaslurm2; do id "$user" &>/dev/null || useradd --create-home --shell /bin/bash "$user"; done
    mkdir -p "$B"/{munge,ctld,spool,pid,log}
    chmod 0755 "$B" "$B"/*
    chown munge "$B/munge"
    chown slurm "$B/ctld" "$B/pid" "$B/log"
    head -c 128 /dev/urandom >"$B/munge/munge.key"
    chown munge "$B/munge/munge.key" && chmod 0400 "$B/munge/munge.key"
    head -c 32 /dev/urandom >"$B/jwt_hs256.key"
    chown slurm "$B/jwt_hs256.key" && chmod 0600 "$B/jwt_hs256.key"
    free_port >"$B/rest.port"
    ctld=$(free_port) slurmd=$(free_port) second=$(free_port)
    cat >"$B/slurm.conf" <<CONF
ClusterName=ghaslurm
SlurmctldHost=$H(127.0.0.1)
SlurmUser=slurm
SlurmdUser=root
SlurmctldPort=$ctld
SlurmdPort=$slurmd
AuthType=auth/munge
AuthInfo=socket=$B/munge/munge.socket
CredType=cred/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key=$B/jwt_hs256.key
StateSaveLocation=$B/ctld
SlurmdSpoolDir=$B/spool/%n
SlurmctldPidFile=$B/pid/slurmctld.pid
SlurmdPidFile=$B/pid/slurmd-%n.pid
SlurmctldLogFile=$B/log/slurmctld.log
SlurmdLogFile=$B/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
InactiveLimit=0
KillWait=30
MessageTimeout=5
Waittime=0
RebootProgram=/bin/false
GresTypes=fpga
NodeName=$H NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000 Gres=fpga:2 Feature=first,ib State=UNKNOWN
NodeName=second NodeHostname=$H NodeAddr=127.0.0.1 Port=$second CPUs=16 RealMemory=4000 Feature=second,ib State=UNKNOWN
Licenses=ansys:4
PartitionName=gha Nodes=$H Default=YES MaxTime=INFINITE State=UP
PartitionName=big Nodes=$H,second MaxTime=INFINITE State=UP
PartitionName=short Nodes=$H MaxTime=1 State=UP
CONF
    echo "NodeName=$H Name=fpga Count=2" >"$B/gres.conf"
    case $(slurmctld -V) in *' 2'[012].*) ;; *) echo CgroupPlugin=disabled >"$B/cgroup.conf" ;; esac
    start munged
    start slurmctld
    start "slurmd-$H"
    start slurmd-second
    wait_for scontrol ping
    wait_for bash -c '[[ $(sinfo -h -N -o %T | sort -u) == idle ]]'
    start slurmrestd
    echo "SLURM_CONF=$B/slurm.conf"
    echo "SLURMRESTD_URL=http://127.0.0.1:$(cat "$B/rest.port")"
}

case $command in
    up) up ;;
    down)
        scancel --user ghaslurm1 2>/dev/null || true
        scancel --user ghaslurm2 2>/dev/null || true
        for daemon in slurmrestd "slurmd-$H" slurmd-second slurmctld munged; do stop "$daemon" "$(pid_file "$daemon")"; done
        rm -rf -- "$B"
        ;;
    stop) stop "$3" "$(pid_file "$3")" ;;
    start) start "$3" ;;
    *) echo "cluster.sh up|down|stop|start FOLDER [daemon]" >&2 && exit 2 ;;
esac
