#!/usr/bin/env bash
# Provides the images that docker-compose.yml and deploy/Dockerfile name, also on a machine that
# cannot reach an image registry: a missing image is pulled, and one that cannot be pulled is built
# under the same name, as a stand-in made of go.mod's Go toolchain, Go modules and busybox.
#
# An existing image is left alone, unless it is a stand-in made for another go.mod. The stand-ins are
# for testing this repository only; remove them with
#
#   docker rmi $(docker images -q --filter label=chatrelay.standin)
set -euo pipefail
cd "$(dirname "$0")/.."

# The toolchain of go.mod, even where Go is set up to use only the one installed.
GOTOOLCHAIN=$(awk '$1 == "toolchain" { print $2 }' go.mod)
export GOTOOLCHAIN

go_image=$(awk '$1 == "FROM" && $2 ~ /^golang:/ { print $2 }' deploy/Dockerfile)
nats_image=nats:2.15-alpine
nats_module=github.com/nats-io/nats-server/v2

say() { printf 'standins: %s\n' "$*"; }
die() { printf 'standins: %s\n' "$*" >&2; exit 1; }

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# wanted IMAGE STATE: whether a stand-in made from STATE has to be built. Pulls the image if it can.
wanted() {
    local label
    if label=$(docker image inspect -f '{{index .Config.Labels "chatrelay.standin"}}' "$1" 2>/dev/null); then
        if [[ -z $label || $label == "<no value>" ]]; then say "$1: the real image is here"; return 1; fi
        if [[ $label == "$2" ]]; then say "$1: the stand-in is here"; return 1; fi
        say "$1: the stand-in was made for another go.mod"
        return 0
    fi
    if timeout 300 docker pull -q "$1" >/dev/null 2>"$context/pull"; then say "$1: pulled"; return 1; fi
    say "$1: cannot be pulled ($(tail -n 1 "$context/pull" | cut -c 1-120)), building a stand-in"
}

# copy_busybox DIR: busybox holds sh, wget and the like in one static file.
copy_busybox() {
    local path
    path=$(type -P busybox || true)
    if [[ -z $path ]] || ! "$path" --list | grep -qx wget || ldd "$path" >/dev/null 2>&1; then
        say "installing busybox-static"
        apt-get update -qq >"$context/apt" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq busybox-static >>"$context/apt" 2>&1 || {
            cat "$context/apt" >&2
            die "busybox-static could not be installed"
        }
        path=$(type -P busybox)
    fi
    cp "$path" "$1/busybox"
}

# build IMAGE STATE DIR
build() {
    docker build -q --label "chatrelay.standin=$2" -t "$1" "$3" >"$context/log" 2>&1 || { cat "$context/log" >&2; die "$1: the build failed"; }
    say "$1: built"
}

go_version=$(go env GOVERSION)
[[ $go_image == "golang:${go_version#go}-"* ]] || die "deploy/Dockerfile names $go_image, go.mod the toolchain $go_version"
modules=$(cat go.mod go.sum | sha256sum | cut -c 1-16)

state="$go_version-$modules"
if wanted "$go_image" "$state"; then
    dir="$context/go"
    mkdir -p "$dir/go"
    copy_busybox "$dir"
    cp /etc/ssl/certs/ca-certificates.crt "$dir/" || die "the package ca-certificates is missing"
    goroot=$(go env GOROOT)
    for part in bin pkg src lib VERSION go.env; do
        [[ ! -e $goroot/$part ]] || echo "$part"
    done | tar -C "$goroot" -c --mode=u+w --exclude=testdata --exclude='*_test.go' -T - | tar -C "$dir/go" -x --no-same-owner
    # The modules, laid out as a proxy serves them, for the Dockerfile's "go mod download". Modules that
    # this machine has are not fetched again.
    # GOTOOLCHAIN=local, because otherwise the toolchain would be downloaded among the modules.
    GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" GOTOOLCHAIN=local \
        GOMODCACHE="$context/modules" GOFLAGS=-modcacherw "$goroot/bin/go" mod download
    mv "$context/modules/cache/download" "$dir/proxy"
    rm -rf "$dir/proxy/sumdb"
    cat >"$dir/Dockerfile" <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /tmp /root /go && chmod 1777 /tmp
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY go /usr/local/go
COPY proxy /usr/share/goproxy
ENV PATH=/go/bin:/usr/local/go/bin:/bin HOME=/root GOPATH=/go GOTOOLCHAIN=local \
    GOPROXY=file:///usr/share/goproxy GOSUMDB=off
WORKDIR /go
END
    build "$go_image" "$state" "$dir"
fi

nats_version=$(go list -m -f '{{.Version}}' "$nats_module")
[[ $nats_version == v2.15.* ]] || die "$nats_image cannot be made from nats-server $nats_version of go.mod"
if wanted "$nats_image" "$nats_version"; then
    dir="$context/nats"
    mkdir -p "$dir"
    copy_busybox "$dir"
    GOBIN="$dir" CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" "$nats_module@$nats_version"
    cat >"$dir/docker-entrypoint.sh" <<'END'
#!/bin/sh
set -e
# Flags alone are flags of the server, as with the official image.
case "$1" in -*) set -- nats-server "$@" ;; esac
exec "$@"
END
    chmod +x "$dir/docker-entrypoint.sh"
    cat >"$dir/Dockerfile" <<'END'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /tmp /root /data /etc/nats && chmod 1777 /tmp
COPY nats-server docker-entrypoint.sh /usr/local/bin/
ENV PATH=/usr/local/bin:/bin HOME=/root
EXPOSE 4222 8222 6222
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["nats-server", "--config", "/etc/nats/nats-server.conf"]
END
    build "$nats_image" "$nats_version" "$dir"
fi
