#!/bin/bash
# Makes the certificates of docker-compose.yml's Kafka, with nothing but the
# keytool of a Java runtime:
#
#   certificates.sh DIR CA_DIR NODE...
#
#   DIR/NODE.p12         key and certificate of each node, for its name and localhost
#   DIR/admin.p12        the same for whoever administrates
#   DIR/truststore.p12   the certificate authority, for Java
#   CA_DIR/ca.pem        the same for everybody else
#
# KAFKA_KEYSTORE_PASSWORD protects the stores. What is there is left as it is. The
# key of the authority is deleted when all is signed: nobody can sign more, and to
# renew the certificates, delete them all. They are valid for two years.
set -euo pipefail

dir=$1 ca_dir=$2
shift 2
: "${KAFKA_KEYSTORE_PASSWORD:?is not set}"
export KAFKA_KEYSTORE_PASSWORD
if [[ -f $dir/truststore.p12 && -f $ca_dir/ca.pem ]]; then
  echo "the certificates are there"
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
readonly days=730

store() { # store FILE ARGUMENT...: keytool on a store
  local file=$1
  shift
  java_tool "$@" -keystore "$file" -storetype PKCS12 -storepass:env KAFKA_KEYSTORE_PASSWORD
}

java_tool() {
  keytool -J-Xmx64m -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC "$@"
}

store "$work/all.p12" -genkeypair -alias ca -keyalg EC -groupname secp256r1 -validity "$days" \
  -dname "CN=DataSurge Kafka CA" -ext bc:critical=ca:true -ext ku:critical=keyCertSign
store "$work/all.p12" -exportcert -alias ca -rfc -file "$work/ca.pem"

for node in "$@" admin; do
  store "$work/all.p12" -genkeypair -alias "$node" -signer ca -keyalg EC -groupname secp256r1 -validity "$days" -dname "CN=$node" \
    -ext "san=dns:$node,dns:localhost,ip:127.0.0.1" -ext ku:critical=digitalSignature -ext eku=serverAuth,clientAuth
  java_tool -importkeystore -srckeystore "$work/all.p12" -srcstorepass:env KAFKA_KEYSTORE_PASSWORD -srcalias "$node" \
    -destkeystore "$work/$node.p12" -deststoretype PKCS12 -deststorepass:env KAFKA_KEYSTORE_PASSWORD
  mv "$work/$node.p12" "$dir/"
done

# Last, because they say that all is there.
store "$work/truststore.p12" -importcert -alias ca -noprompt -file "$work/ca.pem"
chmod 0644 "$dir"/*.p12 "$work/truststore.p12" "$work/ca.pem"
mv "$work/ca.pem" "$ca_dir/"
mv "$work/truststore.p12" "$dir/"
echo "made the certificates of $* and admin"
