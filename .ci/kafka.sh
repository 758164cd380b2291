#!/usr/bin/env bash
# Apache Kafka for the tests, without Docker.
#
#   eval "$(.ci/kafka.sh fetch)"      KAFKA_LIBS: the jar files, from Maven Central
#                                     or from the cache
#   eval "$(.ci/kafka.sh start DIR)"  KAFKA_BROKERS: one node, broker and controller,
#                                     on free loopback ports, its files in DIR
#   .ci/kafka.sh stop DIR             ends it, and waits until it has ended
#
# The cache is $DATASURGE_CI_CACHE, else ~/.cache/datasurge. fetch and start need
# Java 17 or newer; fetch needs Maven unless the jars are in the cache.
set -euo pipefail

readonly version=4.3.1
readonly log4j=2.25.4
readonly cache=${DATASURGE_CI_CACHE:-$HOME/.cache/datasurge}
readonly libs=$cache/kafka-$version/libs
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly shared=$here/../functions/stream/kafkatest

die() {
  echo "kafka.sh: $*" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null || die "$1 is not installed; Debian has it in package $2"
}

fetch() {
  need java openjdk-17-jre-headless
  if [[ ! -d $libs ]]; then
    need mvn maven
    mkdir -p "$cache/kafka-$version"
    local work
    work=$(mktemp -d "$cache/kafka-$version/fetch.XXXXXX")
    # log4j-slf4j-impl is not a dependency of Kafka's, but what its release adds
    # so that anything is logged.
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>datasurge</groupId><artifactId>kafka</artifactId><version>$version</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$log4j</version></dependency>
  </dependencies>
</project>
POM
    # A download that hangs may go through the next time; what has arrived is kept
    # in Maven's own repository. Any other failure is final.
    local try status
    for try in 1 2 3; do
      status=0
      timeout 300 mvn --batch-mode --no-transfer-progress --quiet --file "$work/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$work/libs" </dev/null >&2 || status=$?
      ((status == 0)) && break
      if ((status != 124 || try == 3)); then
        rm -rf "$work"
        die "could not fetch Kafka $version from Maven Central (mvn ended with $status)"
      fi
      echo "kafka.sh: fetching Kafka $version timed out, trying again" >&2
    done
    # Moved into place whole, so that a fetch that was interrupted is not taken for
    # a cache; of two at once the first wins.
    mv -T "$work/libs" "$libs" 2>/dev/null || [[ -d $libs ]] || die "could not write $libs"
    rm -rf "$work"
  fi
  echo "export KAFKA_LIBS=$libs"
}

# free_port prints a loopback port that nobody listens on, below those that the
# system gives to outgoing connections.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((RANDOM % 18000 + 12000))
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  die "found no free loopback port"
}

start() {
  local dir=$1 broker controller
  [[ -d $libs ]] || die "$libs is missing: run .ci/kafka.sh fetch"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  broker=$(free_port)
  controller=$(free_port)
  {
    cat "$shared/server.properties"
    cat <<PROPERTIES
default.replication.factor=1
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$broker,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$broker
controller.quorum.voters=1@127.0.0.1:$controller
log.dirs=$dir/data
PROPERTIES
  } >"$dir/server.properties"
  local java=(java -Xmx384m -XX:+UseSerialGC
    -Dlog4j2.configurationFile="$shared/log4j2.properties" -cp "$libs/*")
  local id
  id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$id" \
    --config "$dir/server.properties" >"$dir/format.log" 2>&1 || die "format failed: $(tail -n 5 "$dir/format.log")"

  "${java[@]}" kafka.Kafka "$dir/server.properties" </dev/null >"$dir/kafka.log" 2>&1 &
  local pid=$!
  echo "$pid" >"$dir/pid"
  for _ in {1..600}; do
    if grep -q 'Kafka Server started' "$dir/kafka.log"; then
      echo "export KAFKA_BROKERS=127.0.0.1:$broker"
      return
    fi
    kill -0 "$pid" 2>/dev/null || die "Kafka ended at its start: $(tail -n 20 "$dir/kafka.log")"
    sleep 0.2
  done
  kill -9 "$pid"
  die "Kafka did not start within 2 minutes: $(tail -n 20 "$dir/kafka.log")"
}

stop() {
  local dir=$1 pid
  [[ -f $dir/pid ]] || return 0
  pid=$(<"$dir/pid")
  kill "$pid" 2>/dev/null || true
  for _ in {1..100}; do
    if ! kill -0 "$pid" 2>/dev/null; then
      rm -f "$dir/pid"
      return
    fi
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
}

case ${1:-} in
  fetch) fetch ;;
  start) start "${2:?kafka.sh start DIR}" ;;
  stop) stop "${2:?kafka.sh stop DIR}" ;;
  *) die "usage: kafka.sh fetch | start DIR | stop DIR" ;;
esac
