#!/usr/bin/env bash
# Installs what the tests need to call the gRPC service from another language (Debian packages; as root). Without them those tests are skipped, and say so.
set -euo pipefail
packages=(python3-grpcio python3-protobuf protobuf-compiler protobuf-compiler-grpc)
if dpkg -s "${packages[@]}" > /dev/null 2>&1; then exit 0; fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
