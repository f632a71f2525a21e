#!/bin/bash
# One GitHub Actions runner as a Slurm job: gets a credential for its launch token, runs one job, leaves nothing behind.
#
# It is the same text for every launch, because everything that runs as the same Slurm user can read it. What differs
# comes in the environment:
#   GHA_SLURM_TOKEN, GHA_SLURM_TOKEN_URL      the launch token, and where it is exchanged
#   GHA_SLURM_URL, _NAME, _LABELS             the registration
#   GHA_SLURM_OWNER_PAGE                      the page of an organization, when its runner is not the repository's own
#   GHA_SLURM_CHECK, _POLICY                  what each job is checked by before its first step, and what may run
#   GHA_SLURM_HOOK_STARTED, _HOOK_COMPLETED   the site's own hooks of the runner
#   GHA_SLURM_RUNNER, _RUNNER_SHA256          GitHub's runner: a folder, or a .tar.gz with its checksum
#   GHA_SLURM_SCRATCH                         where the private folder is made (default: TMPDIR, or /tmp)
#   GHA_SLURM_CONTAINER                       a command to run the runner in, one word a line; {work} is the private folder
#   GHA_SLURM_IDLE_SECONDS, _RETRY_SECONDS, _GRACE_SECONDS
# It ends with the runner's own status, and before there is a runner with
#     0   there is nothing (any more) to do
#     1   the runner could not be started
#    81   the launch token was used before, perhaps by a thief
#    82   the credential is for another repository
#    83   GitHub gave the runner a job that may not run here, or that could not be checked
#    85   Slurm started this Slurm job again, and its launch token was spent before
#   143   told to end
# shellcheck disable=SC2317  # the functions of traps are reached
set -euo pipefail
umask 077

say() { printf '%(%FT%T%z)T gha-slurm: %s\n' -1 "$*"; }

alarm() { say "ALARM: $*" >&2; }

# What a process was started with can be read in /proc for as long as it lives, by all processes of the same user. So the
# token goes through a pipe to a new process with the same id, and stands in no environment while this one waits or works.
if [[ -n ${GHA_SLURM_TOKEN:-} ]]; then
    exec {GHA_SLURM_TOKEN_FD}<<<"$GHA_SLURM_TOKEN"
    export GHA_SLURM_TOKEN_FD
    unset GHA_SLURM_TOKEN
    exec "$BASH" -- "$0"
fi

# Sleeps so that a signal is heard at once.
nap() {
    sleep "$1" &
    wait $! || true
}

# Waits for a child's end. Not by wait: when a child ends just as a signal interrupts a wait, bash takes its status and
# drops it, and the next wait for that child never returns.
until_gone() {
    local end=$((SECONDS + 5))
    while kill -0 "$1" 2>/dev/null && ((SECONDS < end)); do sleep 0.1; done
}

# The whole process group of the runner, which is its own.
signal_runner() { kill "-$1" -- "-$runner_pid" 2>/dev/null || true; }

group_lives() { kill -0 -- "-$runner_pid" 2>/dev/null; }

# Told to end, run.sh is gone at once, and the listener that it started still has its job to cancel: then the whole group
# counts. Before, only run.sh does, because a build may leave something in its group.
runner_lives() {
    [[ -n $runner_pid ]] || return 1
    if [[ -n $stop_at ]]; then group_lives; else kill -0 "$runner_pid" 2>/dev/null; fi
}

# Slurm tells one process after the other, run.sh perhaps before this script: what is left of the group is a build's only
# when no signal follows.
told_meanwhile() {
    local end=$((SECONDS + 3))
    while [[ -z $stop_at ]] && group_lives && ((SECONDS < end)); do nap 0.2; done
    runner_lives
}

# What the runner says when it takes a job; the worker's log is the second witness.
job_taken() { { [[ -f $log ]] && grep -qs 'Running job:' "$log"; } || compgen -G "$runner/_diag/Worker_*" >/dev/null; }

# The processes that the runner started, wherever they went.
strays() { grep -lsFz -- "GHA_SLURM_WORK=$work" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 || true; }

end_strays() {
    local round pids
    for round in 1 2 3; do
        mapfile -t pids < <(strays)
        [[ ${#pids[@]} -gt 0 ]] || return 0
        [[ $round -gt 1 ]] || say "ends ${#pids[@]} processes that the runner left"
        kill -KILL "${pids[@]}" 2>/dev/null || true
    done
}

# The check, its policy, and the rest of its folder, from which the runner starts it. In a container, too: it is found
# from the runner's own folder.
write_hook() {
    local file
    hook[check.sh]=$1 hook[policy]=$2 hook[user]=$(id -un)
    [[ -z $3 ]] || hook[started]=$3
    mkdir "$work/hook"
    for file in "${!hook[@]}"; do printf '%s' "${hook[$file]}" >"$work/hook/$file"; done
    chmod 0400 "$work/hook"/*
    chmod 0500 "$work/hook/check.sh" "$work/hook"
    mkfifo "$work/said"
}

# Whether the check is still what was written: another build of this user could replace it.
hook_is_whole() {
    local file text
    [[ -d $work/hook && ! -L $work/hook ]] || return 1
    for file in "${!hook[@]}"; do
        [[ -f $work/hook/$file && -O $work/hook/$file && ! -L $work/hook/$file ]] || return 1
        text=''
        IFS= read -r -d '' text <"$work/hook/$file" || true
        [[ $text == "${hook[$file]}" ]] || return 1
    done 2>/dev/null
}

# Passes on what the check says, as long as it lives. Were it killed, its job's steps with `if: always()` would run, and
# it cannot be asked any more: that is seen at once.
hear_check() {
    local said allowed=''
    trap '' TERM INT HUP
    while IFS= read -r said; do
        case $said in allowed | 'refused '*) allowed=yes ;; esac
        printf '%s\n' "${said:0:300}" >>"$work/heard"
    done <"$work/said"
    [[ -z $allowed && -e $work/said ]] || return 0
    signal_runner KILL
    echo 'refused the check ended before it decided' >>"$work/heard"
}

# Nobody says anything any more: it reads the end.
dismiss_listener() {
    local end
    [[ -p $work/said ]] || return 0
    exec {end}<>"$work/said"
    rm -f -- "$work/said"
    exec {end}>&-
}

# A value that the check told, of plain characters only.
heard() {
    local text
    text=$(sed -n "s/^$1 //p" "$work/heard" 2>/dev/null | head -n 1 | LC_ALL=C tr -c 'a-zA-Z0-9 _.,:;/@()[]+=*\n-' '?') || true
    printf '%s' "${text:0:200}"
}

# Until the check has allowed the job, nothing else of it may run.
watch_check() {
    local limit
    [[ -z $allowed ]] || return 0
    if [[ -s $work/heard ]]; then
        if grep -qsx allowed "$work/heard"; then
            allowed=yes token=''
            return
        fi
        refused=$(heard refused)
    fi
    if [[ -n $refused ]]; then
        # Its message is on its way to GitHub.
        nap 2
    elif ! hook_is_whole; then
        refused='the check was replaced or removed'
    elif [[ -z $taken ]]; then
        return
    else
        # Before the check the runner gets the job's actions.
        limit=$check_limit
        [[ -s $work/heard ]] || limit=$begin_limit
        ((SECONDS - taken_at >= limit)) || return 0
        refused="the check did not decide within $limit s"
    fi
    end_at_once
}

# A runner that is only told to end would run its job's steps with `if: always()`.
end_at_once() {
    signal_runner KILL
    end_strays
}

# The app launches anew for the job that this runner was meant for. The original app has no such route.
report_refusal() {
    local body try field value
    body='{"reason":"'$refused'"'
    for field in repository event actor; do
        value=$(heard "$field")
        [[ -z $value ]] || body+=',"'$field'":"'$value'"'
    done
    for field in run_id run_attempt; do
        value=$(heard "$field")
        if [[ $value =~ ^[1-9][0-9]{0,17}$ ]]; then body+=',"'$field'":'$value; fi
    done
    for try in 1 2; do
        if printf 'header = "Authorization: Bearer %s"\n' "$token" |
            curl --disable --globoff --config - --silent --fail --connect-timeout 3 --max-time 5 --output /dev/null \
                --header 'Content-Type: application/json' --data "$body}" "${token_url%%[?#]*}/refused"; then
            return
        fi
        ((try == 2)) || nap 1
    done
    say "the app could not be told"
}

# Asks the runner to end, and gives it until the deadline.
stop_runner() {
    [[ -n $stop_at ]] || stop_at=$((SECONDS + grace))
    signal_runner TERM
    signal_runner CONT
}

# scancel and the time limit. Slurm tells every process at once, the runner too, and kills what is left after KillWait.
on_signal() {
    stopped=yes
    [[ -n $runner_pid ]] || exit 143
    say "told to end; so is the runner"
    stop_runner
    if job_taken && ! grep -qsx allowed "$work/heard"; then end_at_once; fi
}

clean_up() {
    trap - EXIT
    trap '' TERM INT HUP
    if runner_lives; then signal_runner KILL; fi
    end_strays
    dismiss_listener
    [[ -z $marker ]] || kill -KILL "$marker" 2>/dev/null || true
    cd /
    # A build may have left folders that not even their owner may write to.
    chmod -R u+rwX -- "$work" 2>/dev/null || true
    rm -rf -- "$work"
}

# Removes folders of this user's Slurm jobs on this node that were killed before they could: nobody holds their lock.
# Those of the last minutes may not have it yet.
sweep() {
    local folder held
    for folder in "$1"-*; do
        # A build can leave anything here: what is not a file of this user's own, such as a FIFO or a link, is not opened.
        [[ -d $folder && -O $folder && ! -L $folder ]] || continue
        [[ -f $folder/lock && -O $folder/lock && ! -L $folder/lock ]] || continue
        [[ -n $(find "$folder" -maxdepth 0 -mmin +5) ]] || continue
        # For reading and writing: were it a FIFO by now, this would not wait for another end.
        { exec {held}<>"$folder/lock"; } 2>/dev/null || continue
        if flock --nonblock "$held"; then
            say "removes $folder, left by a Slurm job that was killed"
            chmod -R u+rwX -- "$folder" 2>/dev/null || true
            rm -rf -- "$folder" || true
        fi
        exec {held}<&-
    done
}

# A copy of its own for each Slurm job, since the runner writes beside its programs.
prepare_runner() {
    mkdir "$runner" "$work/tmp"
    if [[ $source == *.tar.gz ]]; then
        # Checked after copying: what was checked is what is unpacked.
        cp -- "$source" "$work/runner.tar.gz"
        if ! sha256sum --check --status <<<"$checksum  $work/runner.tar.gz"; then
            say "the runner's archive $source does not have the checksum $checksum"
            exit 1
        fi
        tar -xzf "$work/runner.tar.gz" -C "$runner"
        rm -f -- "$work/runner.tar.gz"
        return
    fi
    local entry
    shopt -s dotglob
    for entry in "$source"/*; do
        case ${entry##*/} in
            .runner | .credentials* | .service | _diag | _work) ;; # another registration's
            externals) ln -s -- "$entry" "$runner/" ;;             # large, and only read
            *) cp -R --reflink=auto -- "$entry" "$runner/" ;;
        esac
    done
    shopt -u dotglob
}

# Prints the status, 000 without an answer. The token goes in by standard input: an argv can be seen by others.
ask_for_credential() {
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl --disable --globoff --config - --silent --show-error --connect-timeout 10 --max-time 60 \
            --max-filesize 1000000 --header 'Content-Type: application/json' --data '{"credential":"jit"}' \
            --dump-header "$work/headers" --output "$work/answer" --write-out '%{http_code}' "$token_url" || true
}

# A string of the answer. Both credentials are of these characters only.
answered() {
    sed -n 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*"\([A-Za-z0-9+/=_.-]*\)".*/\1/p' "$work/answer" | head -n 1
}

# The app's own words, as a short text of plain characters in this one line.
app_says() {
    local text
    text=$(head -c 65536 -- "$work/answer" 2>/dev/null | tr '\n\r\t' '   ' |
        sed -n 's/.*"error"[[:space:]]*:[[:space:]]*"\(\([^"\\]\|\\.\)*\)".*/\1/p' | sed 's/\\\(["\\/]\)/\1/g' |
        LC_ALL=C tr -cd '[:print:]' | cut -c 1-300) || true
    [[ -z $text ]] || printf ': %s' "${text//"$token"/…}"
}

# Somebody else has it, or this job itself, when it asked before and the answer was lost. Neither can be told from here.
token_was_used() {
    if [[ -n $1 ]]; then
        alarm "the launch token was used before. An earlier attempt of this job got no proper answer (status $1), so it may have" \
            "been that one; if not, somebody else has used it to get a credential for $url"
    else
        alarm "the launch token was used before, and not by this job: somebody else may have stolen it and got a credential for $url"
    fi
    exit 81
}

# A node that failed, or whoever requeued it, made Slurm start this Slurm job anew. What its first run left behind is no
# success, and nobody else need have used the token.
end_if_started_again() {
    ((10#${SLURM_RESTART_COUNT:-0} > 0)) || return 0
    say "Slurm started this Slurm job again, and its launch is over since an earlier run (status $1): a new launch is needed"
    exit 85
}

get_credential() {
    local deadline=$((SECONDS + retry)) pause=2 unheard='' status words wanted left wait
    while true; do
        rm -f -- "$work/headers" "$work/answer"
        status=$(ask_for_credential)
        words=$(app_says)
        case $status in
            200) break ;;
            401 | 409 | 410) end_if_started_again "$status" ;;&
            401) say "the launch token is not valid (any more): nothing to do$words" && exit 0 ;;
            409) token_was_used "$unheard" ;;
            410) say "nothing waits for this runner any more: nothing to do$words" && exit 0 ;;
            425 | 429 | 503) ;;                        # not exchanged
            408 | 5?? | 000) unheard=$status ;;        # perhaps exchanged, and the answer lost
            *) say "the app gives no credential (status $status)$words" && exit 1 ;;
        esac
        wanted=$(sed -n 's/^Retry-After: *\([0-9]\{1,9\}\)[[:space:]]*$/\1/Ip' "$work/headers" 2>/dev/null || true)
        ((10#${wanted:-0} > pause)) && pause=$((10#$wanted))
        left=$((deadline - SECONDS))
        if ((left <= 0)); then
            say "no credential within $retry s (last status $status)$words"
            exit 1
        fi
        # Of many that failed together, not all come back together. One that is to wait for longer than it may asks once
        # more at its end.
        wait=$((pause + RANDOM % (pause < 32767 ? pause + 1 : 32767)))
        ((wait < left)) || wait=$left
        say "no credential yet (status $status)$words, tries again in $wait s"
        nap "$wait"
        pause=$((pause * 2 > 60 ? 60 : pause * 2))
    done
    jit=$(answered encoded_jit_config)
    registration=$(answered token)
    rm -f -- "$work/headers" "$work/answer"
    if [[ -z $jit && -z $registration ]]; then
        say "the app's answer holds no credential"
        exit 1
    fi
}

# A JSON text on standard input in one line, with the escapes undone that GitHub's own may have. Another escape could hide
# a name from the patterns below: then nothing comes out.
plain_json() {
    local text
    text=$(tr -d '\r\n\0' | sed 's/^\xef\xbb\xbf//; s/\\u002[Bb]/+/g; s/\\\//\//g')
    [[ $text == *\\* ]] || printf '%s' "$text"
}

# The gitHubUrl of a runner's settings on standard input, in lower case; nothing unless it is there exactly once.
page_of_settings() {
    local all page
    mapfile -t all < <(plain_json | grep -Eio '"gitHubUrl"[[:space:]]*:[[:space:]]*"[^"]*"')
    ((${#all[@]} == 1)) || return 0
    page=${all[0]%\"} page=${page##*\"} page=${page,,} page=${page%/}
    printf '%s' "${page%.git}"
}

# The same of a JIT configuration: files for the runner by name, in base64. The settings among them exactly once, and
# nothing beside them and the credentials.
page_of_jit() {
    local text space='[[:space:]]*' file
    file="$space\"\\.(runner|credentials[a-z_]*)\"$space:$space\"[A-Za-z0-9+/=]*\"$space"
    text=$(base64 -d <<<"$jit" 2>/dev/null | plain_json) || return 0
    grep -Eq "^$space\\{($file,)*$file\\}$space\$" <<<"$text" || return 0
    [[ $(grep -o '"\.runner"' <<<"$text" | wc -l) == 1 ]] || return 0
    text=${text##*\".runner\"} text=${text#*\"}
    base64 -d <<<"${text%%\"*}" 2>/dev/null | page_of_settings
}

# The app's word is not enough: a runner does what the workflows of its repository say.
require_own_page() {
    [[ $1 != "${page,,}" ]] || return 0
    local other=${1//[^[:print:]]/?}
    alarm "the credential is for ${other:-a repository that cannot be read in it} and not for $page: the runner is not started"
    deregister
    exit 82
}

# Runs a program of the runner's, where the site wants it.
# In the background, so that its process is a group and a session of its own.
in_place() { TMPDIR=$work/tmp GHA_SLURM_WORK=$work exec setsid "${container[@]}" "$@" {lock}>&-; }

# The listener takes more environment from this file, which a site may have for a hook of its own.
refuse_other_hooks() {
    # As .NET reads lines, and perhaps with a byte order mark.
    if tr '\r' '\n' 2>/dev/null <"$1/.env" | 
        LC_ALL=C grep -E $'^(\xef\xbb\xbf)?[[:space:]]*ACTIONS_RUNNER_HOOK_JOB_' >/dev/null; then
        say "the runner's .env names a hook, which would be in place of the gateway's check: name it in job.hooks.started" \
            "or job.hooks.completed of the gateway's configuration"
        exit 1
    fi
}

# Runs the runner with the check as its hook.
run() {
    # shellcheck disable=SC2016
    in_place bash -c 'folder=$(pwd -P); export ACTIONS_RUNNER_HOOK_JOB_STARTED=${folder%/*}/hook/check.sh; exec "$@"' \
        run ./run.sh </dev/null >>"$log" 2>&1
}

register() {
    local options=(--unattended --ephemeral --replace --url "$page" --name "$name" --work _work)
    [[ -z $labels ]] || options+=(--labels "$labels")
    # In the background, so that a signal is heard; in the environment, where only this user sees it.
    ACTIONS_RUNNER_INPUT_TOKEN=$registration in_place ./config.sh "${options[@]}" </dev/null &
    if ! wait $!; then
        say "the runner could not be registered"
        exit 1
    fi
    registered=yes
    require_own_page "$(page_of_settings <.runner)"
}

# A runner that took no job would stay at GitHub, offline, for a day.
deregister() {
    [[ -n $registered && -z $taken ]] || return 0
    # Within what is left of the grace, and a moment in any case.
    local seconds=10
    if [[ -n $stopped ]]; then seconds=$((stop_at - SECONDS < 3 ? 3 : stop_at - SECONDS > 10 ? 10 : stop_at - SECONDS)); fi
    ACTIONS_RUNNER_INPUT_TOKEN=$registration GHA_SLURM_WORK=$work \
        timeout --kill-after=2 "$seconds" "${container[@]}" ./config.sh remove </dev/null >/dev/null 2>&1 || true
}

# No job in time: ends the runner, unless it takes one in this very moment. It stands still while that is looked at.
end_if_idle() {
    signal_runner STOP
    if job_taken; then
        signal_runner CONT
    else
        say "no job within $idle s: the runner ends"
        stop_runner
    fi
}

watch_runner() {
    local begun=$SECONDS
    while runner_lives || told_meanwhile; do
        if [[ -n $stop_at ]]; then
            if ((SECONDS >= stop_at)); then
                say "the runner does not end by itself"
                signal_runner KILL
            fi
        elif [[ -z $taken ]]; then
            if job_taken; then
                taken=yes taken_at=$SECONDS
            elif ((SECONDS - begun >= idle)); then
                end_if_idle
            fi
        fi
        watch_check
        if [[ -n $allowed ]]; then nap 1; else nap 0.2; fi
    done
    [[ -n $refused ]] || refused=$(heard refused)
    if job_taken; then taken=yes; fi
}

main() {
    local stream
    # Slurm makes the output file by its own umask.
    for stream in 1 2; do
        if [[ -f /proc/self/fd/$stream ]]; then chmod 0600 "/proc/self/fd/$stream" || true; fi
    done
    if [[ -z ${GHA_SLURM_TOKEN_FD:-} ]]; then
        say "the job's environment did not arrive; does the command in sbatch.sbatch keep GHA_SLURM_EXPORTS?" >&2
        exit 1
    fi
    local token_fd=$GHA_SLURM_TOKEN_FD
    IFS= read -r token <&"$token_fd"
    exec {token_fd}<&-
    token_url=$GHA_SLURM_TOKEN_URL
    url=$GHA_SLURM_URL page=${GHA_SLURM_OWNER_PAGE:-$GHA_SLURM_URL} name=$GHA_SLURM_NAME labels=${GHA_SLURM_LABELS:-}
    source=$GHA_SLURM_RUNNER checksum=${GHA_SLURM_RUNNER_SHA256:-}
    idle=${GHA_SLURM_IDLE_SECONDS:-120} retry=${GHA_SLURM_RETRY_SECONDS:-600} grace=${GHA_SLURM_GRACE_SECONDS:-25}
    local check=${GHA_SLURM_CHECK:-} policy=${GHA_SLURM_POLICY:-} started=${GHA_SLURM_HOOK_STARTED:-}
    unset ACTIONS_RUNNER_HOOK_JOB_STARTED ACTIONS_RUNNER_HOOK_JOB_COMPLETED
    if [[ -n ${GHA_SLURM_HOOK_COMPLETED:-} ]]; then
        export ACTIONS_RUNNER_HOOK_JOB_COMPLETED=$GHA_SLURM_HOOK_COMPLETED
    fi
    local scratch=${GHA_SLURM_SCRATCH:-${TMPDIR:-/tmp}} words=${GHA_SLURM_CONTAINER:-}
    # None of it is for the runner's builds.
    unset "${!GHA_SLURM_@}"
    runner_pid='' marker='' stop_at='' stopped='' taken='' registered='' jit='' registration='' container=()
    taken_at=0 allowed='' refused=''
    # For the check's decision, and for all that the runner does before.
    check_limit=60 begin_limit=300
    declare -gA hook=()
    if [[ -z $check || -z $policy ]]; then
        say "the check of jobs or its policy did not arrive: nothing runs"
        exit 1
    fi
    if [[ $page != "$url" && ${url,,} != "${page,,}"/* ]]; then
        say "$page is not the page of the owner of $url"
        exit 1
    fi

    local mine
    mine=$scratch/gha-slurm-$(uname -n)
    work=$(mktemp -d -- "$mine-${SLURM_JOB_ID:-0}.XXXXXXXXXX")
    runner=$work/runner log=$work/runner.log
    trap clean_up EXIT
    trap on_signal TERM INT HUP
    # Held as long as this script lives, however it ends.
    exec {lock}>"$work/lock"
    flock --nonblock "$lock" || true
    if [[ -n $words ]]; then mapfile -t container <<<"${words//\{work\}/$work}"; fi

    say "Slurm job ${SLURM_JOB_ID:-?} on $(uname -n) runs $name for $url"
    if [[ ! -r $source ]]; then
        say "cannot read the runner at $source"
        exit 1
    fi
    refuse_other_hooks "$source"
    write_hook "$check" "$policy" "$started"
    # Before all that is slow: while a token can be exchanged, it can be stolen.
    get_credential
    if [[ -n $jit ]]; then require_own_page "$(page_of_jit)"; fi
    sweep "$mine"
    prepare_runner
    refuse_other_hooks "$runner"
    cd "$runner"
    if [[ -z $jit ]]; then register; fi

    # To a file, since what a stopped runner wrote there is all that it wrote.
    : >"$log"
    if [[ -n $jit ]]; then
        ACTIONS_RUNNER_INPUT_JITCONFIG=$jit run &
    else
        run &
    fi
    runner_pid=$!
    hear_check {lock}>&- &
    # To the end of the log, whoever is told to end before: until the marker is gone.
    (trap '' TERM && while kill -0 "$$" 2>/dev/null; do sleep 0.5; done && dismiss_listener) {lock}>&- &
    marker=$!
    # So that bash does not tell of its end.
    disown "$marker"
    (trap '' TERM && exec tail -n +1 -s 0.5 --pid="$marker" -f "$log" 2>/dev/null) &
    local printer=$! status=0
    watch_runner
    # Told to end, its status says nothing; and where its end fell together with the signal, bash does not know of it.
    if [[ -z $stop_at ]]; then wait "$runner_pid" || status=$?; else status=143; fi
    kill -KILL "$marker" 2>/dev/null || true
    until_gone "$printer"
    deregister

    if [[ -n $stopped ]]; then
        say "ended as told"
        exit 143
    elif [[ -n $refused ]]; then
        say "the job was refused before its first step: $refused"
        report_refusal
        exit 83
    elif [[ -z $taken ]]; then
        say "ended without a job"
        [[ -n $stop_at ]] || exit "$status"
    else
        say "the runner ended with status $status"
        exit "$status"
    fi
}

# In one piece: whatever reads this text line by line has read all of it now.
main
exit
