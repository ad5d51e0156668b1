#!/usr/bin/env bash
# The S3 clients that test/cluster/s3-*.test.ts let loose on a cluster, from Debian's packages. What cannot be had is told, and its test says that it was skipped.
set -uo pipefail

declare -A packages=([rclone]=rclone [restic]=restic [s3cmd]=s3cmd [aws]=awscli [s3fs]=s3fs [ffmpeg]=ffmpeg [ffprobe]=ffmpeg [curl]=curl)
missing=()
for tool in "${!packages[@]}"; do command -v "$tool" > /dev/null || missing+=("${packages[$tool]}"); done
# a module of the system's Python, beside whatever other one comes first in the path
/usr/bin/python3 -c 'import boto3' 2> /dev/null || missing+=(python3-boto3)
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "clients.sh: not installed, for that takes root and Debian: ${missing[*]}" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q > /dev/null || echo 'clients.sh: the list of packages could not be brought up to date' >&2
# one by one: what is not there must not keep the others away
for package in $(printf '%s\n' "${missing[@]}" | sort -u); do
  apt-get install -q -y --no-install-recommends "$package" > /dev/null || echo "clients.sh: $package could not be installed" >&2
done
exit 0
