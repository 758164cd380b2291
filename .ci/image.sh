#!/usr/bin/env bash
# The image of the functions, as ko builds it for knative/, without Docker.
#
#   .ci/image.sh
#
# It types the command of knative/README.md with a registry on this machine, looks at
# what is there then, and runs the image's enrich as a container would: with the
# image's files as its only ones, as the image's user, and nothing to write to. The
# base of the image is a stand-in of the same shape, since the registry of the one in
# .ko.yaml may be out of reach.
#
# Needs Go, Python 3, and root or sudo; reaches only Go's module proxy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

readonly ko=github.com/google/ko@v0.19.1
readonly crane=github.com/google/go-containerregistry/cmd/crane@v0.22.1
readonly user=65532 # nonroot of distroless

die() {
  echo "image.sh: $*" >&2
  exit 1
}

work=$(mktemp -d)
registry=0 # pid
function_pid=0
end() {
  ((registry == 0)) || kill "$registry" 2>/dev/null || true
  ((function_pid == 0)) || "${root[@]}" kill "$function_pid" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

root=()
if ((EUID != 0)); then
  sudo -n true 2>/dev/null || die 'needs root, or sudo without a password: it changes the root of a process'
  root=(sudo -n)
fi

read -r port http < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in held))')

GOBIN=$work/bin go install "$crane"
GOBIN=$work/bin go install "$ko"
PATH=$work/bin:$PATH
crane registry serve --address "127.0.0.1:$port" >"$work/registry.log" 2>&1 &
registry=$!
for _ in {1..100}; do
  ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  sleep 0.1
done

# The stand-in: users and empty folders, for both platforms.
mkdir -p "$work/base/etc" "$work/base/tmp" "$work/base/proc" "$work/base/home/nonroot"
printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%s:%s:nonroot:/home/nonroot:/sbin/nologin\n' "$user" "$user" >"$work/base/etc/passwd"
tar -C "$work/base" --owner 0 --group 0 -cf "$work/base.tar" .
base=localhost:$port/base
{
  for arch in amd64 arm64; do
    crane append -f "$work/base.tar" -t "$base:$arch" &&
      crane mutate "$base:$arch" --set-platform "linux/$arch" --user "$user" -t "$base:$arch" || break
  done &&
    crane index append -m "$base:amd64" -m "$base:arm64" -t "$base:nonroot"
} >"$work/crane.log" 2>&1 || die "no base for the image: $(<"$work/crane.log")"

# The README's command, with the base above instead of that of .ko.yaml.
command=$(grep -oE 'ko build --base-import-paths [^ )]+' knative/README.md) || die 'knative/README.md has no ko build'
echo "$command"
image=$(KO_DOCKER_REPO=localhost:$port KO_DEFAULTBASEIMAGE=$base:nonroot $command 2>"$work/ko.log") || die "$(<"$work/ko.log")"
[[ $image == localhost:$port/functions@sha256:* ]] || die "ko says $image"
for arch in amd64 arm64; do
  crane config --platform "linux/$arch" "$image" >"$work/config-$arch.json"
done
crane manifest "$image" >"$work/index.json"
python3 - "$work" "$user" <<'PYTHON'
import json, sys

def check(what, got, want):
    if got != want:
        sys.exit(f"{what} is {got!r}, want {want!r}")

work, user = sys.argv[1:]
index = json.load(open(work + "/index.json"))
platforms = sorted(m["platform"]["os"] + "/" + m["platform"]["architecture"] for m in index["manifests"])
check("the index", platforms, ["linux/amd64", "linux/arm64"])
for arch in "amd64", "arm64":
    image = json.load(open(f"{work}/config-{arch}.json"))
    config = image["config"]
    check("the architecture", image["architecture"], arch)
    check("the user", config["User"], user)
    check("the entrypoint", config["Entrypoint"], ["/ko-app/functions"])
    check("the command", config.get("Cmd"), None)
    print(f"linux/{arch}: user {config['User']}, entrypoint {config['Entrypoint'][0]}, {len(image['rootfs']['diff_ids'])} layers")
PYTHON

# Both executables are what they say and need no other file.
for arch in amd64 arm64; do
  mkdir "$work/$arch"
  crane export --platform "linux/$arch" "$image" - | tar -C "$work/$arch" -x 2>"$work/tar.log"
  go version -m "$work/$arch/ko-app/functions" | grep -E "GOARCH=$arch|CGO_ENABLED=0" | grep -c . | grep -qx 2 || die "the executable for $arch is another"
  ! grep -qa /ld-linux "$work/$arch/ko-app/functions" || die "the executable for $arch is not static: it names a dynamic linker"
done

# As a container: the image's files, read-only, and the image's user.
case $(uname -m) in
  x86_64) here=$work/amd64 ;;
  aarch64) here=$work/arm64 ;;
  *) die "LEFT OUT: there is no image for $(uname -m) to run" ;;
esac
chmod 755 "$work" "$here"
# shellcheck disable=SC2016 # it is the inner shell that expands
"${root[@]}" env -i PATH="$PATH" FUNCTION=enrich HOST=127.0.0.1 PORT="$http" unshare --mount sh -euc '
  mount --bind "$1" "$1"
  mount -o remount,bind,ro "$1"
  mount --bind -o ro /proc "$1/proc"
  exec chroot --userspec="$2:$2" "$1" /ko-app/functions' image "$here" "$user" >"$work/enrich.log" 2>&1 &
function_pid=$!
"${root[@]}" python3 - "$http" "$here" "$user" <<'PYTHON' || die "$(tail -n 20 "$work/enrich.log")"
import json, os, sys, time, urllib.request

address, root, user = f"http://127.0.0.1:{sys.argv[1]}", sys.argv[2], sys.argv[3]
for attempt in range(600):
    try:
        urllib.request.urlopen(address + "/readyz", timeout=5).close()
        break
    except OSError as error:
        last = error
        time.sleep(0.1)
else:
    sys.exit(f"enrich is not ready: {last}")
transaction = {
    "transactionId": "5f9b4b7e-3c0a-4d7e-9a53-0c8e4ad1b001", "userId": "user_1", "amount": 123456.78,
    "transactionTime": time.time_ns() // 1_000_000, "merchantId": "merchant_7", "transactionType": "purchase",
    "location": "Berlin, DE", "paymentMethod": "credit_card", "international": False, "currency": "EUR"}
request = urllib.request.Request(address + "/", json.dumps(transaction).encode(), {
    "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/image", "ce-type": "com.datasurge.transaction.v1",
    "ce-partitionkey": "user_1", "content-type": "application/json"})
with urllib.request.urlopen(request, timeout=30) as answer:
    enriched = json.load(answer)
    if answer.status != 200 or "enriched" not in answer.headers["ce-type"] or enriched["transactionId"] != transaction["transactionId"]:
        sys.exit(f"the answer is {answer.status} {answer.headers} {enriched}")
    kind = answer.headers["ce-type"]
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if os.readlink(f"/proc/{pid}/root") != root:
            continue
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status") if ":\t" in line)
        mounts = [line.split() for line in open(f"/proc/{pid}/mounts")]
    except OSError:
        continue
    if set(status["Uid"].split()) != {user} or int(status["CapEff"], 16):
        sys.exit(f"it runs as {status['Uid']} with capabilities {status['CapEff']}")
    if any("ro" not in options.split(",") for _, where, _, options, *_ in mounts if where == "/"):
        sys.exit(f"its root can be written to: {mounts}")
    print(f"enrich, as {user} without capabilities, on a read-only root, answers with {kind}")
    break
else:
    sys.exit("no process has the image as its root")
PYTHON
"${root[@]}" kill "$function_pid"
wait "$function_pid" || die "enrich ended with $?: $(tail -n 5 "$work/enrich.log")"
function_pid=0
echo "$(du -sk "$here/ko-app" | cut -f1) KiB beside the base"
