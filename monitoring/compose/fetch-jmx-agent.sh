#!/bin/bash
# Fetches the JMX exporter's agent from JMX_AGENT_URL:
#
#   fetch-jmx-agent.sh FILE
#
# With JMX_AGENT_SHA256 it must have that checksum. What is there is left.
set -euo pipefail

file=$1
if [[ ! -f $file ]]; then
  wget -q -O "$file.new" "${JMX_AGENT_URL:?is not set}"
  if [[ -n ${JMX_AGENT_SHA256:-} ]]; then
    echo "$JMX_AGENT_SHA256  $file.new" | sha256sum -c -
  fi
  chmod 0644 "$file.new"
  mv "$file.new" "$file"
fi
echo "the agent is there"
