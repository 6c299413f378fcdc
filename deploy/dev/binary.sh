#!/usr/bin/env bash
# Prints the path of the built server, wherever cargo's target folder is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=$(cargo metadata --locked --no-deps --offline --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
echo "$target/debug/roost"
