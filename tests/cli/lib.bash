# What every CLI test file loads: an installation of its own, words to say what is expected, and
# the question whether anything was left behind.
#
# A file's setup_file calls new_state; its VMs are booted once there and shared by its tests. Names
# are local to a file, so files may run side by side.
# shellcheck shell=bash

bats_require_minimum_version 1.5.0

: "${EMBER_TEST_CACHE:?made by tests/cli/cache}" "${EMBER_BUILD:?the build directory}"
CLI_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
EMBER=$EMBER_BUILD/ember
export OCI=$EMBER_TEST_CACHE/oci
export EMBER_LIBEXEC_DIR=$EMBER_BUILD
# Enough for a busybox and for a Debian root, so that several VMs fit beside each other.
SMALL=(--memory 256M)
PATH=$PATH:/usr/sbin:/sbin

# Every call has a deadline: a command that hangs is a failure with a name. bats' own descriptor is
# closed, else it would wait for every keeper.
ember() {
	timeout -k 5 "${EMBER_TIMEOUT:-180}" "$EMBER" "$@" 3>&-
}

# An installation for this file: a clone of the base, with its images and kernel.
new_state() {
	local name=${1:-$(basename "${BATS_TEST_FILENAME%.bats}")}
	local base=$EMBER_TEST_CACHE/fs/base part

	EMBER_STATE_DIR=$EMBER_TEST_CACHE/fs/$name
	TMPDIR=$EMBER_TEST_CACHE/tmp/$name
	export EMBER_STATE_DIR TMPDIR
	mkdir -p "$EMBER_STATE_DIR" "$TMPDIR"
	chmod 700 "$EMBER_STATE_DIR"
	for part in ember.state images kernels store; do
		cp -a --reflink=auto "$base/$part" "$EMBER_STATE_DIR/"
	done
	find "$EMBER_STATE_DIR" -name '*.json' -exec sed -i "s|$base/|$EMBER_STATE_DIR/|g" {} +
	ember init >/dev/null
}

drop_state() {
	[ -n "${EMBER_STATE_DIR-}" ] || return 0
	ember vm delete --force --all >/dev/null || true
	ember deinit --purge >/dev/null || true
	rm -rf "$EMBER_STATE_DIR" "$TMPDIR"
}

# The VM that most tests of a file share.
boot() {
	local name=$1 image=${2:-busybox}

	shift; shift || true
	ember vm create "$name" --image "$image" "${SMALL[@]}" --wait "$@"
}

# expect STATUS COMMAND...: run it; $output is its stdout, $stderr its stderr.
expect() {
	local want=$1

	shift
	if ! run "-$want" --separate-stderr "$@"; then
		# shellcheck disable=SC2154 # `run` sets them
		printf 'command: %s\nstatus:  %d, expected %d\nstdout:  %s\nstderr:  %s\n' \
			"$*" "$status" "$want" "$output" "$stderr" >&2
		return 1
	fi
}

# waited PID: how a background job ended, in $status (`run wait` asks a subshell, which has no such job).
waited() {
	status=0
	wait "$1" || status=$?
}

# ended_by_ctrl_c PROGRAM ARG...: `ember ARG...` is interrupted while PROGRAM works for it: 130, and PROGRAM ends too.
ended_by_ctrl_c() {
	local bin=$BATS_TEST_TMPDIR/slow pid

	mkdir "$bin"
	printf '#!/bin/sh\nexec sleep 60.%d\n' $$ >"$bin/$1"
	chmod +x "$bin/$1"
	shift
	PATH=$bin:$PATH env --default-signal=INT "$EMBER" "$@" 3>&- &
	pid=$!
	until_true 10 pgrep -fx "sleep 60\.$$"
	kill -INT "$pid"
	waited "$pid"
	equal "$status" 130
	run ! pgrep -fx "sleep 60\.$$"
}

# A failure that ember means: a status of its own, not a sanitizer's 99 nor a signal's.
refused() {
	if [ "$status" -lt 1 ] || [ "$status" -gt 8 ]; then
		printf 'status:  %d, expected a refusal (1 to 8)\nstderr:  %s\n' "$status" "${stderr-}" >&2
		return 1
	fi
}

# equal GOT WANT
equal() {
	if [ "$1" != "$2" ]; then
		printf 'got:      %s\nexpected: %s\n' "$1" "$2" >&2
		return 1
	fi
}

# contains TEXT PART...
contains() {
	local text=$1 part

	shift
	for part in "$@"; do
		if [[ $text != *"$part"* ]]; then
			printf 'in:       %s\nmissing:  %s\n' "$text" "$part" >&2
			return 1
		fi
	done
}

# A failure that a person can act on: the sentence, the hint, nothing on stdout.
explains() {
	contains "$stderr" "ember: " "hint: " "$@"
	equal "$output" ""
}

# json FILTER: what jq makes of $output; false and null are failures.
json() {
	jq -er "$1" <<<"$output" || {
		printf 'jq %s in: %s\n' "$1" "$output" >&2
		return 1
	}
}

# is_held LOCK: whether somebody holds it.
is_held() {
	! flock -n -x "$EMBER_STATE_DIR/locks/$1.lock" true
}

# is_waiting LOCK PID: whether the process has it, or waits for it.
is_waiting() {
	[[ $(readlink "/proc/$2/fd/"*) == *"/locks/$1.lock"* ]]
}

status_of() {
	ember vm inspect "$1" --format json | jq -r .status
}

# until_true SECONDS COMMAND...: an event that has no other way to be waited for.
until_true() {
	local deadline=$((SECONDS + $1))

	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			printf 'not true in time: %s\n' "$*" >&2
			return 1
		fi
		sleep 0.1
	done
}

field() {
	ember vm inspect "$1" --format json | jq -r "$2"
}

ids_in_records() {
	local record

	for record in "$EMBER_STATE_DIR"/{vms,images}/*/{vm,image}.json "$EMBER_STATE_DIR"/vms/*/snapshots/*/snapshot.json; do
		[ ! -e "$record" ] || jq -r '.volume // .id' "$record"
	done
}

# is_needed_layer FILE: whether an overlay names it, or a volume is the same file.
is_needed_layer() {
	local overlay

	[ "$(stat -c %h "$1")" -eq 1 ] || return 0
	for overlay in "${1%/*}"/*.qcow2; do
		! head -c 512 "$overlay" | grep -qaF "$(basename "$1")" || return 0
	done
	return 1
}

# Nothing may be left of what failed or was killed: half-made things, volumes without a record,
# records that do not parse, files of ours in TMPDIR.
assert_no_leftovers() {
	local state=$EMBER_STATE_DIR bad=() path id ids

	for path in "$state"/tmp/* "$state"/trash/* "$TMPDIR"/*; do
		[ ! -e "$path" ] || bad+=("left behind: $path")
	done
	for path in "$state"/config.json "$state"/{vms,images,kernels}/*/{vm,image,kernel}.json \
		"$state"/vms/*/snapshots/*/snapshot.json; do
		[ ! -e "$path" ] || jq -e . "$path" >/dev/null 2>&1 || bad+=("half-written: $path")
	done
	ids=$(ids_in_records)
	for path in "$state"/store/*.{raw,qcow2,part,next,flat}; do
		[ -e "$path" ] || continue
		case $path in
		*.layer.* | *.origin.*)
			is_needed_layer "$path" || bad+=("a layer that nobody needs: $path")
			;;
		*)
			id=$(basename "${path%.*}")
			grep -qx "$id" <<<"$ids" || bad+=("a volume without a record: $path")
			;;
		esac
	done
	for path in "$state"/{vms,images,kernels}/*; do
		[ -e "$path" ] || continue
		[ -e "$path/vm.json" ] || [ -e "$path/image.json" ] || [ -e "$path/kernel.json" ] ||
			bad+=("a directory without a record: $path")
	done
	if [ ${#bad[@]} -gt 0 ]; then
		printf '%s\n' "${bad[@]}" >&2
		return 1
	fi
}

# Engines that build from a Containerfile get a store of this file's own; vfs mounts nothing that could be forgotten.
engine_store() {
	export ENGINE_STORE=$TMPDIR-engines
	export CONTAINERS_STORAGE_CONF=$ENGINE_STORE/storage.conf

	mkdir -p "$ENGINE_STORE"
	cat >"$CONTAINERS_STORAGE_CONF" <<-CONF
		[storage]
		driver = "vfs"
		runroot = "$ENGINE_STORE/run"
		graphroot = "$ENGINE_STORE/root"
	CONF
}

buildah() {
	command buildah "$@" 3>&-
}

# Working containers are what an engine leaves when it is ended at the wrong moment.
assert_no_containers() {
	equal "$(buildah containers --quiet)" ""
}

# move_layout DIR: from now on its tag names another image, of the same content.
move_layout() {
	local dir=$1 blobs=$1/blobs/sha256 manifest digest

	manifest=$(jq -r '.manifests[0].digest' "$dir/index.json")
	jq -c '.annotations = { moved: "yes" }' "$blobs/${manifest#sha256:}" >"$dir/new"
	digest=$(sha256sum <"$dir/new" | cut -d ' ' -f 1)
	mv "$dir/new" "$blobs/$digest"
	jq --arg digest "sha256:$digest" --argjson size "$(stat -c %s "$blobs/$digest")" \
		'.manifests[0] += { digest: $digest, size: $size }' "$dir/index.json" >"$dir/new"
	mv "$dir/new" "$dir/index.json"
}

# The processes of this installation, one a line, for comparing before and after.
processes() {
	"$CLI_DIR/processes-of" "$EMBER_STATE_DIR" | sort -n
}

assert_no_processes() {
	local pids

	pids=$(processes)
	if [ -n "$pids" ]; then
		printf 'still running:\n' >&2
		# shellcheck disable=SC2086 # one pid a word
		ps -o pid,args -p "$(tr '\n' ',' <<<"$pids" | sed 's/,$//')" >&2
		return 1
	fi
}
