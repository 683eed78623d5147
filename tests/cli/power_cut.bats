#!/usr/bin/env bats
# Power cuts. The state directory is on a filesystem in a file; at each step of a command, and after it,
# that file is copied as it stands: what was synced is in it, and what was not may be missing. On the
# copy every VM is whole or absent, and the command can be given again.
#
# Nothing runs here: a VM's disk is known by its image's content at the beginning and a mark at the end.

load lib

can_cut() {
	[ "$(id -u)" -eq 0 ] && [ -z "${EMBER_SANITIZED-}" ]
}

setup() {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	[ -z "${EMBER_SANITIZED-}" ] || skip "the sanitizers see the same commands elsewhere"
}

setup_file() {
	can_cut || return 0
	CUTS=$EMBER_TEST_CACHE/fs/power_cut
	EMBER_STATE_DIR=$CUTS/fs/state
	TMPDIR=$EMBER_TEST_CACHE/tmp/power_cut
	export CUTS EMBER_STATE_DIR TMPDIR
	mkdir -p "$CUTS/fs" "$TMPDIR"
	prepare reflink xfs 400M
	prepare btrfs ext4 900M --size 512M
}

teardown_file() {
	can_cut || return 0
	lights_out
	rm -rf "$CUTS" "$TMPDIR"
}

lights_out() {
	if mountpoint -q "$EMBER_STATE_DIR/store"; then umount "$EMBER_STATE_DIR/store"; fi
	# The store's loop device lets go of its file a moment after its last user.
	until_true 20 is_dark
}

is_dark() {
	! mountpoint -q "$CUTS/fs" || umount "$CUTS/fs" 2>/dev/null
}

power_up() {
	mount -o loop "$1" "$CUTS/fs"
}

# prepare STORAGE FILESYSTEM SIZE INIT-OPTION...: $CUTS/STORAGE.img, with the VM `subject`.
prepare() {
	local storage=$1 filesystem=$2 size=$3

	shift 3
	truncate -s "$size" "$CUTS/$storage.img"
	"mkfs.$filesystem" -q "$CUTS/$storage.img"
	power_up "$CUTS/$storage.img"
	mkdir -m 700 "$EMBER_STATE_DIR"
	ember init --storage "$storage" "$@" >/dev/null
	cp -a "$EMBER_TEST_CACHE/fs/base/kernels" "$EMBER_STATE_DIR/"
	ember image pull "oci:$OCI/busybox:latest" --name busybox >/dev/null
	ember vm create subject --image busybox --disk-size 96M --no-start >/dev/null
	mark subject first
	lights_out
}

# A mark at the end of a disk, as a guest that syncs would leave it.
mark() {
	printf '%-8s' "$2" | dd of="$(field "$1" .disk_path)" bs=1 seek=$(((96 << 20) - 8)) conv=notrunc,fsync status=none
}

mark_of() {
	dd if="$(field "$1" .disk_path)" bs=1 skip=$(((96 << 20) - 8)) count=8 status=none | tr -d ' \0'
}

# complain WHAT: go on, so that one run shows every step that is wrong.
complain() {
	printf '%s, cut at %s: %s\n' "$TOLD_COMMAND" "$TOLD_STEP" "$1" >>"$BATS_TEST_TMPDIR/complaints"
}

# Is each VM that is there whole? The image's content, a mark that it may have, and the size it says.
check_vms() {
	local name disk image list

	list=$(ember vm list --format json)
	image=$EMBER_STATE_DIR/store/$(jq -r .id "$EMBER_STATE_DIR/images/busybox/image.json").raw
	for name in $(jq -r '.[] | select(.status == "broken") | .name' <<<"$list"); do
		complain "vm '$name' is broken"
	done
	for name in $(jq -r '.[] | select(.status != "broken") | .name' <<<"$list"); do
		disk=$(field "$name" .disk_path)
		# The beginning has the superblock, which a mount would change; nobody mounts it here.
		cmp -s -n "$(stat -c %s "$image")" "$image" "$disk" || complain "the disk of vm '$name' is not its image's"
		[ "$(stat -c %s "$disk")" -ge $(($(field "$name" .disk_size_mib) << 20)) ] ||
			complain "the disk of vm '$name' is smaller than it says"
		case $(mark_of "$name") in
		first | second) ;;
		'') [ "$name" = made ] || complain "the mark of vm '$name' is gone" ;;
		*) complain "the mark of vm '$name' is damaged" ;;
		esac
	done
}

check_after_cut() {
	local output

	output=$(ember reconcile 2>&1) || complain "reconcile failed: $output"
	check_vms
	output=$(ember reconcile --dry-run --format json 2>&1)
	[ "$(jq -c '.actions // .' <<<"$output" 2>/dev/null)" = '[]' ] || complain "reconcile did not end clean: $output"
	output=$(assert_no_leftovers 2>&1) || complain "$output"
}

# cut_at STEP COMMAND...: the step is done by nobody any more; "" is after the command.
cut_at() {
	local storage=$1 before=$2 step=$3

	shift 3
	TOLD_STEP=${step:-the end}
	rm -f "$CUTS/run.img" "$CUTS/cut.img"
	cp --reflink=always "$CUTS/$storage.img" "$CUTS/run.img"
	power_up "$CUTS/run.img"
	$before
	if [ -n "$step" ]; then
		EMBER_KILL_AT=$step "$@" >/dev/null 2>&1 || true
	else
		"$@" >/dev/null
	fi
	cp --reflink=always "$CUTS/run.img" "$CUTS/cut.img"
	lights_out
	power_up "$CUTS/cut.img"
	check_after_cut
}

# with_cuts STORAGE BEFORE AFTER COMMAND...: BEFORE makes what the command needs, AFTER must be true when
# the command has said that it is done, and also when it is given again after a cut.
with_cuts() {
	local storage=$1 before=$2 after=$3 steps step

	shift 3
	TOLD_COMMAND="$storage: $*"
	: >"$BATS_TEST_TMPDIR/complaints"
	rm -f "$BATS_TEST_TMPDIR/steps"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps cut_at "$storage" "$before" "" "$@"
	$after || complain "what it did is gone"
	lights_out
	steps=$(sort -u "$BATS_TEST_TMPDIR/steps")
	[ -n "$steps" ]
	for step in $steps; do
		cut_at "$storage" "$before" "$step" "$@"
		$after || "$@" >"$BATS_TEST_TMPDIR/out" 2>&1 || complain "then the same command failed: $(cat "$BATS_TEST_TMPDIR/out")"
		$after || complain "the same command did not do it"
		check_vms
		lights_out
	done
	if [ -s "$BATS_TEST_TMPDIR/complaints" ]; then
		cat "$BATS_TEST_TMPDIR/complaints" >&2
		return 1
	fi
}

teardown() {
	! can_cut || lights_out
}

nothing() {
	:
}

has() {
	ember vm inspect "$1" >/dev/null 2>&1
}

has_made() {
	has made
}

has_fork() {
	has forked && [ "$(mark_of forked)" = first ]
}

has_no_subject() {
	! has subject
}

is_renamed() {
	has renamed && ! has subject
}

is_larger() {
	[ "$(field subject .disk_size_mib)" = 128 ]
}

@test "vm create" {
	with_cuts reflink nothing has_made ember vm create made --image busybox --disk-size 96M --no-start
}

@test "vm fork" {
	with_cuts reflink nothing has_fork ember vm fork subject forked --no-start
	with_cuts btrfs nothing has_fork ember vm fork subject forked --no-start
}

@test "vm delete" {
	with_cuts reflink nothing has_no_subject ember vm delete subject
}

@test "vm rename" {
	with_cuts reflink nothing is_renamed ember vm rename subject renamed
}

@test "vm resize" {
	with_cuts reflink nothing is_larger ember vm resize subject --disk-size 128M
}

has_snapshot() {
	ember snapshot list subject --format json | jq -e '.[] | select(.name == "kept")' >/dev/null
}

# The snapshot is of the first mark, the VM has the second.
have_snapshot() {
	ember snapshot create subject kept >/dev/null
	mark subject second
}

is_restored() {
	has_snapshot && [ "$(mark_of subject)" = first ]
}

has_no_snapshot() {
	has subject && ! has_snapshot && [ "$(mark_of subject)" = second ]
}

has_fork_of_snapshot() {
	has_fork && [ "$(mark_of subject)" = second ]
}

@test "snapshot create" {
	with_cuts reflink nothing has_snapshot ember snapshot create subject kept
}

@test "snapshot restore" {
	with_cuts reflink have_snapshot is_restored ember snapshot restore subject kept
	with_cuts btrfs have_snapshot is_restored ember snapshot restore subject kept
}

@test "snapshot delete" {
	with_cuts reflink have_snapshot has_no_snapshot ember snapshot delete subject kept
}

@test "vm fork of a snapshot" {
	with_cuts reflink have_snapshot has_fork_of_snapshot ember vm fork subject@kept forked --no-start
}

is_grown() {
	[ "$(ember info --format json | jq .capacity.total)" -gt 550000000 ] &&
		[ "$(jq .storage_size_bytes "$EMBER_STATE_DIR/config.json")" = $((600 << 20)) ]
}

@test "storage grow" {
	with_cuts btrfs nothing is_grown ember storage grow --size 600M
}
