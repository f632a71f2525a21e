#!/bin/bash
# The gateway's check of a job, on the compute node, before the job's first step: the runner starts it as its hook of
# ACTIONS_RUNNER_HOOK_JOB_STARTED. GitHub may give a runner to another job than the one that it was launched for.
#
# Beside it stand the policy, the Slurm user's name, and perhaps the path of the site's own hook (started). What it
# decides goes to the job script through the FIFO in the folder above: "refused REASON" or "allowed".
#
# When a hook fails, the job's steps with `if: always()` still run. So a refused job is killed: the job script does that,
# or else this one, which never returns before. Whatever is missing, malformed or unknown is refused. Values are only
# compared, never evaluated.
# Where the runner finds no bash, it takes another shell, which cannot decide: the runner's whole group ends.
[ -n "${BASH_VERSION:-}" ] || kill -KILL 0
set +e -fu
set +o pipefail
here=${BASH_SOURCE[0]%/*}
fifo=${here%/*}/said
said=''

# Its runner cancels a hook by SIGINT and SIGTERM; afterwards, too, it would run steps.
trap 'refuse "the check was interrupted before it decided"' INT TERM HUP
trap 'refuse "the check failed"' EXIT

# An environment variable in one short line.
line() { printf '%s %.200s\n' "$1" "${2//[$'\001'-$'\037']/?}"; }

refuse() {
    local reason=${1//[$'\001'-$'\037']/?} escaped
    trap '' INT TERM HUP
    trap - EXIT
    escaped=${reason//'%'/'%25'} escaped=${escaped//$'\r'/'%0D'} escaped=${escaped//$'\n'/'%0A'}
    printf '::error title=This cluster does not run this job::%s\n' "$escaped"
    # In one piece, as a FIFO keeps it; the refusal last, because it is acted on at once.
    if [[ -n $said ]]; then
        printf '%s\n' "$(
            line repository "${GITHUB_REPOSITORY:-}"
            line run_id "${GITHUB_RUN_ID:-}"
            line run_attempt "${GITHUB_RUN_ATTEMPT:-}"
            line event "${GITHUB_EVENT_NAME:-}"
            line actor "${GITHUB_TRIGGERING_ACTOR:-}"
            line refused "$reason"
        )" >&"$said"
    fi
    # The job script lets the runner upload the message, and kills all of this.
    local _
    for _ in {1..12}; do sleep 0.5; done
    end_runner
    kill -KILL $$
}

# Whether a process is the runner's, by the variable that all of them inherit; the job script does not have it.
ours() {
    local variable
    while IFS= read -r -d '' variable; do
        [[ $variable != "GHA_SLURM_WORK=$GHA_SLURM_WORK" ]] || return 0
    done 2>/dev/null <"/proc/$1/environ"
    return 1
}

# Nobody else is there to do it. They stand still first, the worker before all: none acts on another's end.
end_runner() {
    local process=$$ key value found=()
    [[ -n ${GHA_SLURM_WORK:-} ]] || return 0
    while true; do
        while read -r key value _; do [[ $key != PPid: ]] || break; done <"/proc/$process/status"
        process=$value
        { [[ $process -gt 0 ]] && ours "$process"; } || break
        found+=("$process")
    done 2>/dev/null
    if [[ ${#found[@]} -gt 0 ]]; then
        kill -STOP "${found[@]}" 2>/dev/null
        kill -KILL "${found[@]}" 2>/dev/null
    fi
    set +f
    for process in /proc/[0-9]*; do
        process=${process#/proc/}
        if [[ $process != "$$" ]] && ours "$process"; then kill -KILL "$process" 2>/dev/null; fi
    done
}

# Prints "allowed", or the reason why not. The event's text is whatever people wrote into titles, names and inputs.
judge() {
    { tr '\000' '\001' <"$event" 2>/dev/null && echo; } | LC_ALL=C CHECK_POLICY=$here/policy CHECK_USER=$user awk '
    # One decision, the first; END is reached after an exit, too.
    function refuse(words) { print "refused " words; decided = 1; exit }
    function shown(text) { text = substr(text, 1, 80); gsub(/[^ -~]/, "?", text); return text }
    function matches(value, pattern,    end) {
        end = length(pattern)
        if (substr(pattern, end) == "*") return substr(value, 1, end - 1) == substr(pattern, 1, end - 1)
        return (value "") == (pattern "")
    }
    # Whether any pattern of that kind matches.
    function any(kind, value,    i) {
        for (i = 1; i <= count[kind]; i++) if (matches(value, rule[kind, i])) return 1
        return 0
    }
    function given(name,    value) {
        value = ENVIRON[name] ""
        if (value == "") refuse(name " is missing")
        if (value ~ /[\001-\037\177]/) refuse(name " has control characters")
        return value
    }

    function read_policy(    file, text, got, space, key, kinds, i, many) {
        split("server user public forks repository repository-id event branch workflow actor block person", kinds, " ")
        for (i in kinds) { count[kinds[i]] = 0; many[kinds[i]] = 1 }
        many["server"] = many["user"] = many["public"] = many["forks"] = 0
        file = ENVIRON["CHECK_POLICY"]
        while ((got = (getline text < file)) > 0) {
            space = index(text, " ")
            key = substr(text, 1, space - 1)
            text = substr(text, space + 1)
            if (space < 2 || text == "" || !(key in count) || text ~ /[\001-\037\177]/) refuse("the policy cannot be read")
            if (key !~ /^(branch|workflow|event|user)$/) text = tolower(text)
            rule[key, ++count[key]] = text
        }
        if (got < 0) refuse("the policy cannot be read")
        close(file)
        for (i in kinds) if (!many[kinds[i]] && count[kinds[i]] != 1) refuse("the policy cannot be read: " kinds[i])
        if (rule["public", 1] !~ /^(never|allow)$/ || rule["forks", 1] !~ /^(never|allow)$/)
            refuse("the policy cannot be read: neither never nor allow")
        for (i = 1; i <= count["repository"]; i++) if (rule["repository", i] !~ /^[^\/*]+\/([^\/*]+|\*)$/)
            refuse("the policy cannot be read: repository")
        for (i = 1; i <= count["repository-id"]; i++) if (rule["repository-id", i] !~ /^[0-9]+ [^ ]+$/)
            refuse("the policy cannot be read: repository-id")
        for (i = 1; i <= count["person"]; i++) if (rule["person", i] !~ /^[0-9]+ [^ ]+$/)
            refuse("the policy cannot be read: person")
    }

    # The event is JSON, read in pieces between quotation marks, since it may have 25 MB. Only what stands at a path of
    # interest is kept: twice, or with an escape in a name on the way, it is refused. Any string may look like JSON.
    function malformed(what) { refuse("the event cannot be read: " what) }
    function of_interest(path) {
        return path ~ /^(\.repository(\.(id|private|visibility))?|\.pull_request(\.head(\.repo(\.id)?)?)?|\.workflow_run(\.head_repository(\.id)?)?)$/
    }
    function begin_value(type, text,    at) {
        if (want != "value" && want != "value]") malformed("a value in the wrong place")
        at = "-"
        if (depth == 0) { if (type == "{") at = ""; else malformed("not an object") }
        else if (kind[depth] == "{" && path[depth] != "-" && index(name, ".") == 0) at = path[depth] "." name
        if (depth > 0 && at != "-") {
            if (!of_interest(at)) at = "-"
            else if (at in event) malformed(at " twice")
            else event[at] = type text
        }
        return at
    }
    function end_value() { want = depth == 0 ? "end" : "," }
    function open(type,    at) {
        at = begin_value(type, "")
        if (++depth > 200) malformed("too deep")
        kind[depth] = type
        path[depth] = type == "{" ? at : "-"
        want = type == "{" ? "name}" : "value]"
    }
    function shut(type) {
        if (depth == 0 || kind[depth] != type || (want != "," && want != (type == "{" ? "name}" : "value]")))
            malformed("a bracket in the wrong place")
        depth--
        end_value()
    }
    function string() {
        if (want == "name" || want == "name}") {
            if (path[depth] != "-" && escaped) malformed("an escape in a name")
            name = long ? "." : token
            want = ":"
        } else {
            begin_value("s", long ? "" : token)
            end_value()
        }
    }
    function literal() {
        if (word !~ /^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)$/) malformed("an unknown word")
        begin_value("l", word)
        end_value()
        word = ""
    }
    function between_strings(text,    i, c, end) {
        end = length(text)
        for (i = 1; i <= end; i++) {
            c = substr(text, i, 1)
            if (index(" \n\r\t{}[],:", c) == 0) {
                word = word c
                if (length(word) > 100) malformed("a long word")
                continue
            }
            if (word != "") literal()
            if (c == ",") {
                if (want != ",") malformed("a comma in the wrong place")
                want = kind[depth] == "{" ? "name" : "value"
            } else if (c == ":") {
                if (want != ":") malformed("a colon in the wrong place")
                want = "value"
            } else if (c == "{" || c == "[") open(c)
            else if (c == "}") shut("{")
            else if (c == "]") shut("[")
        }
        if (word != "") literal()
    }
    # Up to the next quotation mark, which ends the string unless an odd number of backslashes stands before it.
    function in_string(text,    i, slashes) {
        if (text ~ /[\001-\037]/) malformed("a control character")
        for (i = length(text); i > 0 && substr(text, i, 1) == "\\"; i--) slashes++
        if (index(text, "\\")) escaped = 1
        if (length(token) + length(text) > 200) long = 1
        if (!long) token = token text
        if (slashes % 2) {
            if (!long) token = token "\""
            return
        }
        inside = 0
        string()
    }

    # The head repository decides whether it is a fork, by id; one that was deleted was one.
    function is_fork(at, id) {
        if (event[at] == "lnull") return 1
        if (event[at] != "{" || event[at ".id"] !~ /^l[1-9][0-9]*$/) refuse("the event does not tell the head repository")
        return event[at ".id"] != "l" id
    }
    function of_fork(name, id,    found) {
        if (name ~ /^pull_request/ || (".pull_request" in event)) found = is_fork(".pull_request.head.repo", id)
        if (name == "workflow_run" || (".workflow_run" in event)) found = is_fork(".workflow_run.head_repository", id) || found
        return found
    }
    function judge_branch(fork,    ref, head) {
        head = ENVIRON["GITHUB_HEAD_REF"] ""
        ref = given("GITHUB_REF")
        # A branch of a fork, and a tag, may have the name of any branch. No branch has a colon in its name.
        if (head != "") ref = (fork ? ":fork:" : "") given("GITHUB_HEAD_REF")
        else if (substr(ref, 1, 11) == "refs/heads/") ref = substr(ref, 12)
        if (any("branch", ref)) return
        sub(/^:fork:/, "a fork: ", ref)
        refuse("the policy (branches) does not allow " shown(ref))
    }
    function judge_workflow(repository,    workflow, at) {
        workflow = given("GITHUB_WORKFLOW_REF")
        at = index(workflow, "@")
        # A workflow of another repository may have the same path.
        if (at == 0 || tolower(substr(workflow, 1, length(repository) + 1)) != repository "/")
            refuse("the policy (workflows) does not allow " shown(workflow))
        workflow = substr(workflow, 1, at - 1)
        workflow = substr(workflow, length(repository) + 2)
        if (!any("workflow", workflow)) refuse("the policy (workflows) does not allow " shown(workflow))
    }
    function is_login(text) { return length(text) <= 100 && text ~ /^[a-z0-9_-]+(\[bot\])?$/ }
    function judge_people(    actor, person, id, i, parts, known) {
        actor = tolower(given("GITHUB_ACTOR"))
        person = tolower(given("GITHUB_TRIGGERING_ACTOR"))
        if (!is_login(actor) || !is_login(person)) refuse("the actor is not a login")
        if (any("block", person)) refuse("the policy (block) blocks " person)
        if (any("block", actor)) refuse("the policy (block) blocks " actor)
        if (count["actor"]) {
            if (!any("actor", person)) refuse("the policy (actors) does not allow " person)
            if (!any("actor", actor)) refuse("the policy (actors) does not allow " actor)
        }
        if (!count["person"]) return
        id = (person == actor) ? given("GITHUB_ACTOR_ID") : ""
        for (i = 1; i <= count["person"]; i++) {
            split(rule["person", i], parts, " ")
            if ((parts[2] "") != person) continue
            if (id == "" || (parts[1] "") == "0" || (parts[1] "") == id) return
            known = 1
        }
        if (known) refuse("the login " person " has another id than the person who may be " rule["user", 1])
        refuse(person " may not be the Slurm user " rule["user", 1])
    }
    function judge(    server, repository, id, name, fork, i, parts, pinned, right) {
        server = tolower(given("GITHUB_SERVER_URL"))
        sub(/\/$/, "", server)
        sub(/\/$/, "", rule["server", 1])
        if (server != rule["server", 1]) refuse("the job is of " shown(server) " and not of " shown(rule["server", 1]))
        if ((ENVIRON["CHECK_USER"] "") != rule["user", 1])
            refuse("the Slurm job runs as " shown(ENVIRON["CHECK_USER"]) " and not as " shown(rule["user", 1]))
        repository = tolower(given("GITHUB_REPOSITORY"))
        id = given("GITHUB_REPOSITORY_ID")
        name = given("GITHUB_EVENT_NAME")
        if (repository !~ /^[a-z0-9_.-]+\/[a-z0-9_.-]+$/ || id !~ /^[1-9][0-9]*$/) refuse("the repository has no name or id")
        if (!any("repository", repository)) refuse("the repository " shown(repository) " is not mapped to the Slurm user " rule["user", 1])
        for (i = 1; i <= count["repository-id"]; i++) {
            split(rule["repository-id", i], parts, " ")
            if ((parts[2] "") != repository) continue
            pinned = 1
            if ((parts[1] "") == id) right = 1
        }
        if (pinned && !right) refuse("the repository " shown(repository) " has another id than the mapped one")
        if ((".repository" in event) && event[".repository"] != "{") refuse("the event does not tell the repository")
        if ((".repository.id" in event) && event[".repository.id"] != "l" id) refuse("the event is of another repository")
        if (rule["public", 1] != "allow") {
            if (!(".repository.private" in event)) refuse("the policy (public) does not allow it: nothing says that " shown(repository) " is private")
            if (event[".repository.private"] != "ltrue" || ((".repository.visibility" in event) && event[".repository.visibility"] !~ /^s(private|internal)$/))
                refuse("the policy (public) does not allow it: " shown(repository) " is public")
        }
        fork = of_fork(name, id)
        if (fork && rule["forks", 1] != "allow") refuse("the policy (forks) does not allow it: the event " shown(name) " is of a fork")
        if (count["event"] && !any("event", name)) refuse("the policy (events) does not allow " shown(name))
        if (count["branch"]) judge_branch(fork)
        if (count["workflow"]) judge_workflow(repository)
        judge_people()
    }

    BEGIN { RS = "\n"; want = "value"; read_policy(); RS = "\"" }
    NR == 1 { sub(/^\357\273\277/, "") }
    inside { in_string($0); next }
    { between_strings($0); inside = 1; token = ""; escaped = 0; long = 0 }
    END {
        if (decided) exit
        if (depth != 0 || want != "end") malformed("it is cut off")
        judge()
        print "allowed"
    }'
}

if [[ ! -p $fifo || ! -O $fifo || -L $fifo ]]; then refuse "the job script cannot be told"; fi
# For both, so that it waits for no reader.
exec {said}<>"$fifo" || refuse "the job script cannot be told"
for program in awk tr wc; do
    type -P "$program" >/dev/null || refuse "the check needs $program, which is not there"
done
for file in policy user; do
    [[ -f $here/$file && ! -L $here/$file && -r $here/$file ]] || refuse "the check has no $file"
done
user=$(<"$here/user")
event=${GITHUB_EVENT_PATH:-}
[[ $event == /* && -f $event && ! -L $event && -r $event ]] || refuse "the event's file cannot be read"
[[ $(wc -c <"$event") -le 67108864 ]] || refuse "the event's file is too large"

# In the background, so that a signal is heard at once.
exec {answer}< <(judge {said}>&-)
wait $! || refuse "the check failed"
words=''
IFS= read -r words <&"$answer"
exec {answer}<&-
[[ $words == allowed ]] || refuse "${words#refused }"

site=''
if [[ -e $here/started ]]; then site=$(<"$here/started"); fi
trap - INT TERM HUP EXIT
echo allowed >&"$said"
exec {said}>&-
[[ -n $site ]] || exit 0
echo "Runs the site's own hook $site"
exec bash -e "$site"
