#!/usr/bin/env bash
# Installs the browser that the tests run the client in (Debian's chromium; as root). Without it that test is skipped, and says so.
set -euo pipefail
if dpkg -s chromium > /dev/null 2>&1; then exit 0; fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
