#!/bin/bash
# Gives the user datasurge its password, KAFKA_PASSWORD:
#
#   users.sh BROKER:PORT
#
# It is done at every start: it is the same password, or a new one. The passwords
# stand in a file of the container, not among the arguments, which others can see.
set -euo pipefail

: "${KAFKA_PASSWORD:?is not set}" "${KAFKA_KEYSTORE_PASSWORD:?is not set}"
secrets=${KAFKA_SECRETS:-/etc/kafka/secrets}
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/admin.properties" <<PROPERTIES
security.protocol=SSL
ssl.keystore.type=PKCS12
ssl.keystore.location=$secrets/admin.p12
ssl.keystore.password=$KAFKA_KEYSTORE_PASSWORD
ssl.key.password=$KAFKA_KEYSTORE_PASSWORD
ssl.truststore.type=PKCS12
ssl.truststore.location=$secrets/truststore.p12
ssl.truststore.password=$KAFKA_KEYSTORE_PASSWORD
PROPERTIES
echo "SCRAM-SHA-512=iterations=8192,password=$KAFKA_PASSWORD" >"$work/credentials.properties"

"${KAFKA_BIN:-/opt/kafka/bin}/kafka-configs.sh" --bootstrap-server "$1" --command-config "$work/admin.properties" \
  --alter --entity-type users --entity-name datasurge --add-config-file "$work/credentials.properties"
