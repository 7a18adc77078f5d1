#!/usr/bin/env bash
# Runs docker-compose.yml for real, with the scripted Chat API and three workers. Fails unless every
# recipient is delivered or in a dead letter: after undisturbed work, after a worker was stopped by
# SIGTERM under load, after one was killed under load, and after a replay of all dead letters.
#
# Needs docker, docker compose (2, or docker-compose 1.29), jq and Go (for deploy/standins.sh). Leaves
# only images and build layers behind.
set -euo pipefail
cd "$(dirname "$0")/.."

# The caller's settings must not reach the containers.
unset $(compgen -e | grep -E '^(CHATRELAY_|COMPOSE_|NATS_|SCRIPTED_)')

project="chatrelay-test-$$-$RANDOM"
work=$(mktemp -d)
checks=0
failed=

say() { printf '%s compose-test: %s\n' "$(date +%H:%M:%S)" "$*"; }
die() { failed="$*"; exit 1; }
# check WHAT COMMAND...: fails unless COMMAND, which finds out whether WHAT is so, succeeds.
check() {
    "${@:2}" || die "check failed: $1"
    checks=$((checks + 1))
    say "ok: $1"
}
for tool in docker jq timeout; do type -P "$tool" >/dev/null || die "$tool is not installed"; done
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
type -P "${compose[0]}" >/dev/null || die "neither docker compose nor docker-compose is installed"
compose+=(-p "$project" --env-file deploy/scripted.env)

# bounded SECONDS COMMAND...: without terminal or input; what it says on stderr is shown if the test fails.
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

# 3 workers with 4 calls of 250 ms at a time make 48 calls a second: 600 jobs that cannot share a call
# take about 12 seconds, long enough to stop or kill a worker meanwhile.
workers=3
export CHATRELAY_CONCURRENCY=4 CHATRELAY_LATENCY=250ms
export NATS_PORT=0 # any free one
secret="temporary-$project-$RANDOM$RANDOM"
export SCRIPTED_SECRET_FILE="$work/secret"
printf '%s\n' "$secret" >"$SCRIPTED_SECRET_FILE"
chmod 644 "$SCRIPTED_SECRET_FILE" # for user 65532 of the container; on this machine $work keeps others out

jobs=600       # in each round
bad_every=20   # every 20th job has one more recipient, whom the API rejects
rounds=0       # published so far

# round NAME: the jobs of one round as JSON Lines. In round "shared" all jobs have the same message;
# in the others each has its own, so that no two can share a call.
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

recipients() { echo $((2 * jobs * rounds)); }       # who must be delivered
letters() { echo $((jobs / bad_every * rounds)); }  # dead letters that must exist

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
delivered_at_least() { (($(count .delivered) >= $1)); }
still_busy() { (($(count .delivered) < $(recipients))); }
all_delivered() { # [once]: no recipient is missing; with "once", none was delivered twice either
    ask counts >"$work/counts" && ask repeated >"$work/repeated"
    local delivered repeated
    delivered=$(jq .delivered "$work/counts") repeated=$(jq length "$work/repeated")
    say "$delivered deliveries, $repeated of them repeated, and $(jq .rejected "$work/counts") rejections in $(jq .calls "$work/counts") calls"
    [[ ${1:-} != once ]] || ((repeated == 0)) || return 1
    ((delivered == $(recipients) + repeated))
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

stranger() { bounded 60 "${compose[@]}" run --rm -T -e CHATRELAY_NATS_USER= -e CHATRELAY_NATS_PASSWORD_FILE= cli status >>"$work/chatter"; }
refused() { ! stranger && tail -n 5 "$work/chatter" | grep -q 'Authorization Violation'; }
check "NATS refuses who has no password" refused

say "round 1: $jobs jobs, undisturbed"
check "publish from standard input" publish shared normal
rounds=1
until_so 120 "everything settled" settled
check "every recipient was delivered exactly once" all_delivered once
check "$(letters) dead letters, all rejected" buried

say "round 2: $jobs jobs, and a worker is stopped meanwhile"
check "publish from standard input" publish stop urgent
before=$(recipients) rounds=2
until_so 60 "round 2 has begun" delivered_at_least $((before + 100))
bounded 60 docker stop -t 45 "${ids[1]}" >/dev/null
check "jobs were left when it ended" still_busy
check "the stopped worker ended with 0" ended_with 0 "${ids[1]}"
bounded 30 docker start "${ids[1]}" >/dev/null
until_so 120 "everything settled" settled
until_so 90 "all healthy" healthy "${ids[@]}"
check "every recipient was delivered exactly once" all_delivered once
check "$(letters) dead letters, all rejected" buried

say "round 3: $jobs jobs, and a worker is killed meanwhile"
check "publish from standard input" publish kill bulk
before=$(recipients) rounds=3
until_so 60 "round 3 has begun" delivered_at_least $((before + 100))
bounded 30 docker kill -s KILL "${ids[2]}" >/dev/null
check "jobs were left when it ended" still_busy
check "the killed worker ended with 137" ended_with 137 "${ids[2]}"
bounded 30 docker start "${ids[2]}" >/dev/null
until_so 180 "everything settled" settled # the killed worker's leases have to run out
check "no recipient is missing" all_delivered
# Its calls in flight, and calls whose jobs' acks were not yet stored: 2 recipients each.
check "only calls in flight were repeated" test "$(jq length "$work/repeated")" -le $((2 * 2 * CHATRELAY_CONCURRENCY))
check "$(letters) dead letters, all rejected, none twice" buried
until_so 90 "all healthy" healthy "${ids[@]}"
check "status shows $workers workers again" until_so 20 "$workers workers attached" attached

say "replay of all dead letters"
rejected=$(count .rejected)
delivered=$(count .delivered)
cli dead replay --all-projects --yes >>"$work/chatter" || die "dead replay"
until_so 120 "everything settled" settled
check "each was called and rejected once more" test "$(count .rejected)" = $((rejected + $(letters)))
check "nobody was delivered again" test "$(count .delivered)" = "$delivered"
check "$(letters) dead letters, all rejected" buried
cli dead list --output json >"$work/letters"
check "each letter counts its replay" replayed

bounded 60 "${compose[@]}" logs --no-color >"$work/logs"
check "there are logs" grep -q 'worker started' "$work/logs"
check "the secret is in no log" not_in_logs "$secret"
check "no message is in a log" not_in_logs "confidential"

say "down"
bounded 120 "${compose[@]}" down -v --remove-orphans >/dev/null || die "docker compose down"
check "nothing is left" test -z "$(docker ps -aq --filter "label=com.docker.compose.project=$project"; docker volume ls -q --filter "label=com.docker.compose.project=$project")"
say "$checks checks passed"
