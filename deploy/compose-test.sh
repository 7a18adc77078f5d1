#!/usr/bin/env bash
# Runs docker-compose.yml for real, with the scripted Chat API and three workers, and fails unless
# every recipient is accounted for: after plain work, after one worker was stopped by SIGTERM under
# load, after one was killed under load, and after a replay of all dead letters.
#
# Needs docker, docker compose (2, or docker-compose 1.29) and jq; and Go if images are missing and
# cannot be pulled (deploy/standins.sh). Leaves nothing behind but those images and build layers.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the caller's shell has set is not to reach the containers.
unset $(compgen -e | grep -E '^(CHATRELAY_|COMPOSE_|NATS_PORT$|SCRIPTED_)')

project="chatrelay-test-$$-$RANDOM"
work=$(mktemp -d)
checks=0
failed=

say() { printf '%s compose-test: %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { failed="$*"; exit 1; }
# check WHAT COMMAND...: COMMAND tells whether WHAT is so.
check() {
    "${@:2}" || die "not so: $1"
    checks=$((checks + 1))
    say "ok: $1"
}
for tool in docker jq timeout; do type -P "$tool" >/dev/null || die "$tool is not installed"; done
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
type -P "${compose[0]}" >/dev/null || die "neither docker compose nor docker-compose is installed"
compose+=(-p "$project" --env-file deploy/scripted.env)

# bounded SECONDS COMMAND...: a command without terminal or input, its chatter kept for the case of failure.
bounded() { timeout -k 10 "$1" "${@:2}" </dev/null 2>>"$work/chatter"; }

cleanup() {
    local code=$?
    trap - EXIT INT TERM
    if [[ $code != 0 ]]; then
        {
            say "FAILED: ${failed:-unexpectedly, see the last command in the log}"
            echo "--- containers"; bounded 30 "${compose[@]}" ps
            for service in init worker nats; do echo "--- $service"; bounded 30 "${compose[@]}" logs --no-color --tail 20 "$service" 2>&1; done
            echo "--- chatapi"; bounded 30 "${compose[@]}" logs --no-color --tail 10 chatapi 2>&1
            echo "--- what the commands said"; tail -n 60 "$work/chatter"
        } >&2 || true
    fi
    bounded 120 "${compose[@]}" down -v --remove-orphans -t 5 >/dev/null || say "docker compose down failed: look for containers of $project" >&2
    bounded 30 docker rmi -f "$CHATRELAY_IMAGE" >/dev/null || true
    rm -rf "$work"
    exit "$code"
}
export CHATRELAY_IMAGE="chatrelay:${project#chatrelay-}"
trap cleanup EXIT
trap 'failed="interrupted"; exit 130' INT TERM

# 3 workers with 4 calls of 250 ms each make 48 calls a second: 600 jobs that cannot share calls keep
# them busy for about 12 seconds, long enough to be interrupted.
workers=3
export CHATRELAY_CONCURRENCY=4 CHATRELAY_LATENCY=250ms
export NATS_PORT=0 # any free one
secret="temporary-$project-$RANDOM$RANDOM"
export SCRIPTED_SECRET_FILE="$work/secret"
printf '%s\n' "$secret" >"$SCRIPTED_SECRET_FILE"
chmod 644 "$SCRIPTED_SECRET_FILE" # $work is closed to others; in the container user 65532 reads it

jobs=600       # of one round
bad_every=20   # every so many jobs have a recipient whom the API rejects
rounds=0

# round NAME: the jobs of one round as JSON Lines. In round "shared" a project's jobs have one
# message, in others each its own, so that none can share a call.
round() {
    awk -v name="$1" -v jobs="$jobs" -v every="$bad_every" 'BEGIN {
        for (i = 1; i <= jobs; i++) {
            project = sprintf("0f8fad5b-d9cb-469f-a165-7086772895%02d", i % 6)
            message = "confidential " name (name == "shared" ? "" : " " i)
            unknown = i % every == 0 ? sprintf(", \"unknown-%s-%d\"", name, i) : ""
            printf "{\"id\": \"%s-%d\", \"project_id\": \"%s\", \"message\": \"%s\", \"woven_ids\": [\"%s-%d-a\", \"%s-%d-b\"%s]}\n",
                name, i, project, message, name, i, name, i, unknown
        }
    }'
}

# cli ARGUMENTS...: chatrelay in the compose network.
cli() { bounded 60 "${compose[@]}" run --rm -T cli "$@"; }
publish() { # ROUND PRIORITY
    round "$1" | timeout -k 10 60 "${compose[@]}" run --rm -T cli publish --priority "$2" - >>"$work/chatter" 2>&1
}
# ask PATH: what the scripted Chat API remembers.
ask() { bounded 30 docker run --rm --network "container:$chatapi" --entrypoint wget nats:2.15-alpine -qO- "http://127.0.0.1:8080/$1"; }
count() { ask counts | jq -e "$1"; }

delivered() { echo $((2 * jobs * rounds)); }        # recipients who are to be told
letters() { echo $((jobs / bad_every * rounds)); }  # dead letters there are to be

# until_so SECONDS WHAT COMMAND...
until_so() {
    local end=$((SECONDS + $1))
    until "${@:3}"; do
        ((SECONDS < end)) || die "not within $1 seconds: $2"
        sleep 0.5
    done
}
healthy() { [[ $(docker inspect -f '{{.State.Health.Status}}' "$@" | sort -u) == healthy ]]; }
attached() { (($(cli status --output json | jq '.workers | length') == workers)); }
settled() {
    cli status --output json >"$work/status" && jq -e '.queued == 0 and .held == 0 and .due == 0 and .waiting == 0' "$work/status" >/dev/null
}
told_at_least() { (($(count .delivered) >= $1)); }
still_busy() { (($(count .delivered) < $(delivered))); }
accounted() { # [once]: nobody is missing, and with once nobody was told again
    ask counts >"$work/counts" && ask repeated >"$work/repeated"
    local told repeated
    told=$(jq .delivered "$work/counts") repeated=$(jq length "$work/repeated")
    say "told $told recipients, of whom $repeated were told again, $(jq .rejected "$work/counts") rejected, in $(jq .calls "$work/counts") calls"
    [[ ${1:-} != once ]] || ((repeated == 0)) || return 1
    ((told == $(delivered) + repeated))
}
buried() { jq -e ".dead == $(letters) and .dead_by_reason.rejected == $(letters)" "$work/status" >/dev/null; }
not_in_logs() { ! grep -qF -- "$1" "$work/logs"; }
replayed() { jq -es "length == $(letters) and all(.replays == 1)" "$work/letters" >/dev/null; }
ended_with() { (($(docker inspect -f '{{.State.ExitCode}}' "$2") == $1)); }

say "images"
deploy/standins.sh
bounded 900 "${compose[@]}" build cli >>"$work/chatter" || die "the image could not be built"
say "start"
bounded 240 "${compose[@]}" up -d --no-build --scale "worker=$workers" >>"$work/chatter" || die "docker compose up"
chatapi=$(bounded 30 "${compose[@]}" ps -q chatapi)
mapfile -t ids < <(bounded 30 "${compose[@]}" ps -q worker)
check "there are $workers workers" test "${#ids[@]}" = "$workers"
until_so 90 "all healthy" healthy "$chatapi" "${ids[@]}"
check "status shows $workers workers" until_so 20 "$workers workers attached" attached

say "round 1: $jobs jobs in peace"
check "publish from standard input" publish shared normal
rounds=1
until_so 120 "everything settled" settled
check "every recipient was told exactly once" accounted once
check "$(letters) dead letters, all rejected" buried

say "round 2: $jobs jobs, and a worker is stopped in their midst"
check "publish from standard input" publish stop urgent
before=$(delivered) rounds=2
until_so 60 "round 2 under way" told_at_least $((before + 100))
bounded 60 docker stop -t 45 "${ids[1]}" >/dev/null
check "it was in their midst" still_busy
check "the stopped worker ended with 0" ended_with 0 "${ids[1]}"
bounded 30 docker start "${ids[1]}" >/dev/null
until_so 120 "everything settled" settled
until_so 90 "all healthy" healthy "${ids[@]}"
check "every recipient was told exactly once" accounted once
check "$(letters) dead letters, all rejected" buried

say "round 3: $jobs jobs, and a worker is killed in their midst"
check "publish from standard input" publish kill bulk
before=$(delivered) rounds=3
until_so 60 "round 3 under way" told_at_least $((before + 100))
bounded 30 docker kill -s KILL "${ids[2]}" >/dev/null
check "it was in their midst" still_busy
check "the killed worker ended with 137" ended_with 137 "${ids[2]}"
bounded 30 docker start "${ids[2]}" >/dev/null
until_so 180 "everything settled" settled # the killed worker's leases have to run out
check "no recipient is missing" accounted
# Its calls in flight, and those answered of which the acks were not stored: 2 recipients each.
check "only calls in flight were repeated" test "$(jq length "$work/repeated")" -le $((2 * 2 * CHATRELAY_CONCURRENCY))
check "$(letters) dead letters, all rejected, none twice" buried
until_so 90 "all healthy" healthy "${ids[@]}"
check "status shows $workers workers again" until_so 20 "$workers workers attached" attached

say "replay of all dead letters"
rejected=$(count .rejected)
told=$(count .delivered)
cli dead replay --all-projects --yes >>"$work/chatter" || die "dead replay"
until_so 120 "everything settled" settled
check "each was tried once more, and rejected once more" test "$(count .rejected)" = $((rejected + $(letters)))
check "nobody else was told" test "$(count .delivered)" = "$told"
check "$(letters) dead letters, all rejected" buried
cli dead list --output json >"$work/letters"
check "each knows of its replay" replayed

bounded 60 "${compose[@]}" logs --no-color >"$work/logs"
check "there are logs" grep -q 'worker started' "$work/logs"
check "the secret is in no log" not_in_logs "$secret"
check "no message is in a log" not_in_logs "confidential"

say "down"
bounded 120 "${compose[@]}" down -v --remove-orphans >/dev/null || die "docker compose down"
check "nothing is left" test -z "$(docker ps -aq --filter "label=com.docker.compose.project=$project"; docker volume ls -q --filter "label=com.docker.compose.project=$project")"
say "$checks checks passed"
