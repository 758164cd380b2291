#!/usr/bin/env bash
# The manifests of knative/ on a real API server of Kubernetes, without containers.
#
#   .ci/cluster.sh            builds what is missing, starts it, checks, ends it
#   .ci/cluster.sh build      only builds
#
# It types the commands of knative/README.md, as they stand there, against etcd and
# kube-apiserver, with the custom resources of Knative, Strimzi and the Prometheus
# operator, and with the webhooks of Knative Serving and Eventing, which put in the
# defaults and refuse what is not valid. Nothing is created of what is applied: there
# are no controllers, no kubelet, no Kafka. So what waits for a condition, and what
# downloads an installation, is left out, and said to be.
#
# Needs Go, Python 3 and openssl, and reaches only Go's module proxy. The first build
# takes half an hour of CPU time and 6 GB in Go's caches, which is why .ci/run does not
# have it; afterwards all takes a minute. DATASURGE_CI_CACHE keeps what was built
# (default ~/.cache/datasurge).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

readonly kubernetes=1.37.2 etcd=3.7.3 knative=0.47.0 kn=0.41.0 prometheus_operator=0.85.0
readonly tools=${DATASURGE_CI_CACHE:-$HOME/.cache/datasurge}/cluster-$kubernetes-$etcd-$knative-$kn
readonly token=cluster

say() { printf '\n--- %s\n' "$*"; }

die() {
  echo "cluster.sh: $*" >&2
  exit 1
}

# --- building ----------------------------------------------------------------

build() {
  mkdir -p "$tools"
  local scratch
  if [[ ! -x $tools/kubectl || ! -x $tools/kube-apiserver ]]; then
    say "building Kubernetes $kubernetes"
    scratch=$(mktemp -d "$tools/build.XXXXXX")
    kubernetes_module "$scratch"
    (cd "$scratch" && CGO_ENABLED=0 GOFLAGS='-mod=mod -trimpath' GOBIN=$tools go install \
      -ldflags="-s -w $(version_flags k8s.io/component-base) $(version_flags k8s.io/client-go/pkg)" \
      k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl)
    rm -rf "$scratch"
  fi
  installed etcd go.etcd.io/etcd/server/v3@v$etcd ''
  installed kn knative.dev/client@v$kn /cmd/kn
  installed serving/webhook knative.dev/serving@v$knative /cmd/webhook
  installed eventing/webhook knative.dev/eventing@v$knative /cmd/webhook
}

# kubernetes_module makes a module that builds Kubernetes: that of Kubernetes, with its
# parts from the module proxy, of which its repository has them in folders.
kubernetes_module() {
  local module=$1 source
  source=$(module_dir k8s.io/kubernetes@v$kubernetes)
  sed -E -e 's#^module .*#module scratch#' -e "s#=> \\./staging/src/(\\S+)#=> \\1 v0.${kubernetes#1.}#" "$source/go.mod" >"$module/go.mod"
  printf 'require k8s.io/kubernetes v%s\n' "$kubernetes" >>"$module/go.mod"
  cp "$source/go.sum" "$module/go.sum"
  chmod u+w "$module/go.sum"
}

version_flags() {
  local minor=${kubernetes#1.}
  echo "-X $1/version.gitVersion=v$kubernetes -X $1/version.gitMajor=1 -X $1/version.gitMinor=${minor%.*}"
}

# installed builds PROGRAM of the cache from PACKAGE of MODULE@VERSION, if it is not
# there. It does so in a module of its own, since go install asks for the list of
# versions, which the module proxy may not have.
installed() {
  local program=$1 module=$2 package=$3 scratch
  [[ ! -x $tools/$program ]] || return 0
  say "building $module"
  scratch=$(mktemp -d "$tools/build.XXXXXX")
  (
    cd "$scratch"
    export CGO_ENABLED=0 GOFLAGS='-mod=mod -trimpath'
    go mod init scratch 2>go.log && go get "$module" 2>>go.log &&
      go build -ldflags='-s -w' -o "$tools/$program" "${module%@*}$package" 2>>go.log || die "$(tail -n 20 go.log)"
  )
  rm -rf "$scratch"
}

module_dir() { go mod download -json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'; }

# --- running -----------------------------------------------------------------

work=
processes=()
end() {
  ((${#processes[@]} == 0)) || kill "${processes[@]}" 2>/dev/null || true
  wait
  [[ -z $work ]] || rm -rf "$work"
}

# background NAME COMMAND... runs a program, whose output goes to NAME.log.
background() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  processes+=($!)
}

# until_ok NAME COMMAND... repeats a command until it succeeds, while NAME runs.
until_ok() {
  local name=$1
  shift
  for _ in {1..600}; do
    ! "$@" >"$work/last.log" 2>&1 || return 0
    kill -0 "${processes[-1]}" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$work/last.log" "$work/$name.log"
  die "$name does not run"
}

free_ports() {
  python3 -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))' "$1"
}

start_server() {
  local client peer server
  read -r client peer server < <(free_ports 3)
  background etcd "$tools/etcd" --data-dir "$work/etcd" --listen-client-urls "http://127.0.0.1:$client" \
    --advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" --unsafe-no-fsync
  openssl genrsa -out "$work/accounts.key" 2048 2>"$work/last.log"
  echo "$token,admin,admin,system:masters" >"$work/tokens.csv"
  # Accounts of services are made by a controller, which is not there.
  background kube-apiserver "$tools/kube-apiserver" --etcd-servers "http://127.0.0.1:$client" \
    --bind-address 127.0.0.1 --secure-port "$server" --cert-dir "$work/certificates" \
    --service-account-issuer https://kubernetes.default.svc --service-cluster-ip-range 10.0.0.0/24 \
    --service-account-key-file "$work/accounts.key" --service-account-signing-key-file "$work/accounts.key" \
    --authorization-mode RBAC --token-auth-file "$work/tokens.csv" --disable-admission-plugins ServiceAccount
  export KUBECONFIG=$work/kubeconfig
  "$tools/kubectl" config set-cluster here --server "https://127.0.0.1:$server" --certificate-authority "$work/certificates/apiserver.crt" >"$work/last.log"
  "$tools/kubectl" config set-credentials admin --token "$token" >"$work/last.log"
  "$tools/kubectl" config set-context here --cluster here --user admin >"$work/last.log"
  "$tools/kubectl" config use-context here >"$work/last.log"
  until_ok kube-apiserver "$tools/kubectl" get --raw /readyz
  until_ok kube-apiserver "$tools/kubectl" get namespace default
  "$tools/kubectl" version
}

# definitions installs the custom resources: those of the releases whose webhooks run,
# then over them those that the tests of knative/ use.
definitions() {
  local operator
  operator=$(module_dir github.com/prometheus-operator/prometheus-operator@v$prometheus_operator)/example/prometheus-operator-crd
  crds "$(module_dir knative.dev/serving@v$knative)"/config/core/300-resources "$(module_dir knative.dev/eventing@v$knative)"/config/core/resources \
    "$operator"/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml
  crds knative/testdata/crds
  # The webhook of the Kafka kinds, which translates between their versions, is in no
  # module proxy. The fields that are used here have the same names in all versions.
  local name
  for name in kafkasources.sources kafkachannels.messaging; do
    "$tools/kubectl" patch crd "$name.knative.dev" --type merge -p '{"spec": {"conversion": {"strategy": "None", "webhook": null}}}'
  done
  "$tools/kubectl" wait --for=condition=Established crd --all >"$work/last.log"
}

# crds installs the definitions of files and folders.
crds() {
  local path arguments=()
  for path in "$@"; do arguments+=(-f "$path"); done
  "$tools/kubectl" apply --server-side --force-conflicts "${arguments[@]}" | wc -l
}

# start_webhook NAME NAMESPACE COMPONENT starts the webhook of a part of Knative as its
# Deployment does, and registers it: a service stands for each, that leads here.
start_webhook() {
  local name=$1 namespace=$2 component=$3 source port metrics profiling file
  source=$(module_dir knative.dev/"$component"@v$knative)/config/core
  read -r port metrics profiling < <(free_ports 3)
  "$tools/kubectl" create namespace "$namespace"
  for file in "$source"/configmaps/*.yaml "$source"/webhooks/secret.yaml; do
    "$tools/kubectl" apply -n "$namespace" -f "$file" >"$work/last.log" || die "$file: $(<"$work/last.log")"
  done
  "$tools/kubectl" create service externalname "$name" -n "$namespace" --external-name localhost
  for file in "$source"/webhooks/*.yaml; do
    [[ $file == */secret.yaml ]] || sed "s/^      namespace: $namespace\$/&\n      port: $port/" "$file" | "$tools/kubectl" apply -f -
  done
  SYSTEM_NAMESPACE=$namespace WEBHOOK_NAME=$name WEBHOOK_PORT=$port POD_NAME=$name \
    CONFIG_LOGGING_NAME=config-logging CONFIG_OBSERVABILITY_NAME=config-observability METRICS_DOMAIN=knative.dev/$component \
    METRICS_PROMETHEUS_PORT=$metrics PROFILING_PORT=$profiling SINK_BINDING_SELECTION_MODE=exclusion \
    background "$component" "$tools/$component/webhook"
}

# webhooks_ready waits until every webhook has been given the certificate that it is
# known by, and a Service is taken and given its defaults.
webhooks_ready() {
  local kind missing
  for kind in mutatingwebhookconfigurations validatingwebhookconfigurations; do
    missing=$("$tools/kubectl" get "$kind" -o go-template='{{range .items}}{{$n := .metadata.name}}{{range .webhooks}}{{if not .clientConfig.caBundle}}{{$n}} {{end}}{{end}}{{end}}')
    [[ -z $missing ]] || {
      echo "not registered: $missing"
      return 1
    }
  done
  "$tools/kubectl" apply --dry-run=server -f knative/examples/broker.yaml
}

# --- the commands of README.md -----------------------------------------------

# What the README has one type runs in a copy of knative/, since one of its commands
# writes there, with these in place of the programs.
kubectl() {
  case " $* " in
    *' https://'* | *' -f https'* | *'strimzi.io/install'*) left_out "downloads an installation: kubectl $*" ;;
    ' wait '*) left_out "waits for a controller: kubectl $*" ;;
    ' run '*) left_out "needs a node: kubectl $*" ;;
    ' patch configmap/config-network '*) left_out "needs a controller: kubectl $*" ;;
    *) "$tools/kubectl" "$@" ;;
  esac
}

kn() { "$tools/kn" "$@" --no-wait; }

ko() { echo "$KO_DOCKER_REPO/functions@sha256:$(printf '%064d' 1)"; }

left_out() { echo "LEFT OUT, $*" >&2; }

# typed FILE [BEGIN] prints the commands of a page, of the section BEGIN alone if given.
typed() {
  awk -v section="${2:-}" '
    /^## / { here = section == "" || $0 == "## " section }
    /^ *```sh$/ { inside = here; next }
    /^ *```$/ { inside = 0 }
    inside' "$1"
}

check() {
  local functions=(generate enrich detect aggregate learn) name
  cp -r knative monitoring "$work"
  cd "$work"

  say 'README.md, step by step'
  eval "$(typed knative/README.md 'Step by step')"
  kubectl get -k knative/ -o name | wc -l | grep -qx "$(kubectl kustomize knative/ | grep -c '^kind:')" || die 'something is missing'
  for name in "${functions[@]}"; do kubectl get ksvc "$name" -o json >"$name.manifest"; done
  again -k knative/
  again -f knative/cluster/kafka.yaml
  kubectl diff -k knative/

  say 'README.md, monitoring'
  eval "$(typed knative/README.md 'Monitoring')"
  again -k knative/monitoring

  say 'the examples'
  kubectl apply -f knative/examples/broker.yaml -f knative/examples/sequence.yaml
  again -f knative/examples/broker.yaml
  again -f knative/examples/sequence.yaml

  say 'all of it is taken away'
  kubectl delete -f knative/examples/broker.yaml -f knative/examples/sequence.yaml
  kubectl delete -k knative/monitoring
  kubectl delete -k knative/
  nothing_left

  say 'server-side apply'
  kubectl apply --server-side -k knative/
  again --server-side -k knative/
  kubectl delete -k knative/
  nothing_left

  say 'README.md, one function at a time'
  eval "$(typed knative/README.md 'One function at a time')"
  for name in "${functions[@]}"; do
    kubectl get ksvc "$name" -o json >"$name.kn"
    same_service "$name.manifest" "$name.kn"
  done
  kubectl delete -k knative/
  nothing_left

  say 'what is wrong is refused'
  kubectl kustomize knative/ >all.yaml
  refused all.yaml 'unknown field "spec.template.spec.timeoutSecond"' 's/timeoutSeconds:/timeoutSecond:/'
  refused all.yaml 'unknown field "spec.consumerGrup"' 's/consumerGroup:/consumerGrup:/'
  refused all.yaml 'spec.partitions' 's/partitions: .*/partitions: many/'
  refused all.yaml 'validation.webhook.serving.knative.dev' 's/timeoutSeconds: 60/timeoutSeconds: 100000/'
  refused knative/examples/broker.yaml 'validation.webhook.eventing.knative.dev' 's/^  broker: orders$//'
}

# again applies once more what is there: nothing may change by it, or a cluster would
# roll out new revisions. kubectl says configured all the same where the manifest has
# a list without the defaults of its items.
again() {
  local before after
  before=$(generations "${@: -2}")
  kubectl apply "$@" >applied.log || die "applied again: $(<applied.log)"
  after=$(generations "${@: -2}")
  [[ $before == "$after" ]] || die "applied again, it changes: $(diff <(echo "$before") <(echo "$after"))"
  echo "$* applied again: nothing changes"
}

generations() { kubectl get "$@" -o custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid,GENERATION:.metadata.generation; }

nothing_left() {
  local left
  left=$(kubectl get -A ksvc,kafkasource,kafkasink,kafkatopic,kafkachannel,broker,trigger,sequence,sinkbinding,podmonitor,prometheusrule -o name)
  [[ -z $left ]] || die "left behind: $left"
}

# same_service compares a Service of a manifest with that of kn, which has no option
# for the read-only root file system, names no container, and writes the port of a
# probe as 0, which means the container's own.
same_service() {
  python3 - "$1" "$2" <<'PYTHON'
import json, sys

def spec(path):
    service = json.load(open(path))
    template = service["spec"]["template"]
    container, = template["spec"]["containers"]
    container["securityContext"].pop("readOnlyRootFilesystem", None)
    container.pop("name", None)
    for probe in "readinessProbe", "livenessProbe":
        if container[probe]["httpGet"].get("port") == 0:
            del container[probe]["httpGet"]["port"]
    container["env"].sort(key=lambda e: e["name"])
    annotations = {k: v for k, v in template["metadata"].get("annotations", {}).items() if not k.startswith("client.knative.dev/")}
    return {"labels": service["metadata"]["labels"], "annotations": annotations, "spec": template["spec"]}

manifest, kn = map(spec, sys.argv[1:])
if manifest != kn:
    sys.exit("not the same:\n%s\n%s" % tuple(json.dumps(s, indent=1, sort_keys=True) for s in (manifest, kn)))
PYTHON
}

# refused FILE TEXT SCRIPT applies a file as changed by a script of sed: that must fail,
# and say TEXT.
refused() {
  if sed "$3" "$1" | kubectl apply --dry-run=server -f - >refused.log 2>&1; then
    die "$1 with $3 is accepted"
  fi
  grep -F "$2" refused.log | head -n 1 || die "$1 with $3 is refused with $(<refused.log)"
}

main() {
  work=$(mktemp -d)
  trap end EXIT
  trap 'exit 130' INT TERM
  say 'an API server with Knative, Strimzi and the Prometheus operator'
  start_server
  definitions
  start_webhook webhook knative-serving serving
  until_ok serving webhooks_ready
  start_webhook eventing-webhook knative-eventing eventing
  until_ok eventing webhooks_ready
  (check)
  say "all is well, on Kubernetes $kubernetes, Knative $knative, kn $kn"
}

build
[[ ${1:-} == build ]] || main
