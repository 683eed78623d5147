# The commands that change disks, on a store of $HOST_STORAGE that is the kernel's own: no program is played.
load host

setup_file() {
	new_store
}

teardown_file() {
	drop_store
}

teardown() {
	ember vm delete --force --all >/dev/null
	clean
}

@test "what is there is told" {
	expect 0 ember info --format json
	equal "$(json .storage)" "$HOST_STORAGE"
	expect 4 ember init --storage "$HOST_STORAGE"
	explains "already initialized"
	make web
	expect 0 ember vm list
	contains "$output" web
	expect 0 ember vm inspect web
}

@test "a fork goes its own way" {
	make web first
	ember vm fork web copy --no-start
	marked copy first
	mark copy second
	mark web third
	marked web third
	marked copy second
}

@test "a disk of the wished size, which grows and never shrinks" {
	make web kept
	expect 0 ember vm resize web --disk-size 160M
	# shellcheck disable=SC2016 # for the shell with the disk
	equal "$("$WITH_DISK" "$(volume_of web)" sh -c 'blockdev --getsize64 "$DISK" 2>/dev/null || stat -Lc %s "$DISK"')" $((160 << 20))
	marked web kept
	expect 2 ember vm resize web --disk-size 144M
	explains "shrink"
}

@test "snapshots: made, told, forked, brought back" {
	make web old
	expect 0 ember snapshot create web one
	mark web new
	expect 4 ember snapshot create web one
	expect 0 ember snapshot list web --format json
	json '.[0].name == "one"'
	ember vm fork web@one copy --no-start
	marked copy old
	ember snapshot create web two
	expect 0 ember snapshot restore web one
	marked web old
	expect 0 ember snapshot restore web two
	marked web new
	ember snapshot delete web one
	ember snapshot delete web two
	marked web new
	marked copy old
}

@test "a larger disk is as small again as its snapshot was" {
	make web old
	ember snapshot create web small
	ember vm resize web --disk-size 256M
	mark web new
	ember snapshot restore web small
	json_of_web=$(ember vm inspect web --format json)
	equal "$(jq .disk_size_mib <<<"$json_of_web")" 128
	marked web old
}

# Each of these is made of the one before it; they go in every order, and what stays is whole.
family() {
	make a mark-a
	ember snapshot create a snap
	ember vm fork a@snap b --no-start
	mark b mark-b
	ember vm fork b c --no-start
	mark c mark-c
}

remove() {
	if [ "$1" = s ]; then
		# It goes with its VM.
		[ -z "${alive[a]-}" ] || ember snapshot delete a snap
	else
		ember vm delete "$1" >/dev/null
	fi
	unset "alive[$1]"
}

@test "a VM, its snapshot, a fork of that and a fork of the fork go in any order" {
	local order vm other
	local -A alive

	for order in "a b c" "s b a c" "c b a"; do
		family
		alive=([a]=1 [b]=1 [c]=1)
		for vm in $order; do
			remove "$vm"
			for other in "${!alive[@]}"; do
				marked "$other" "mark-$other" || { echo "order $order"; return 1; }
			done
		done
		ember vm delete --force --all >/dev/null
	done
	expect 0 ember storage usage --format json
	equal "$(jq '.vms | length' <<<"$output")" 0
}

@test "an image goes when its last VM is gone, and the disk of a VM outlives nothing" {
	make web kept
	ember image import other /tmp/image.raw
	ember vm create two --image other --memory 256M --no-start >/dev/null
	expect 4 ember image delete other
	ember vm delete two
	expect 0 ember image delete other
	marked web kept
}

@test "usage: exclusive <= referenced <= provisioned, and what is written shows" {
	local before after

	make web
	ember vm fork web copy --no-start
	sync_store
	before=$(exclusive copy)
	# shellcheck disable=SC2016 # for the shell with the disk
	"$WITH_DISK" "$(volume_of copy)" sh -c 'dd if=/dev/urandom of="$DISK" bs=1M seek=20 count=8 conv=notrunc,fsync status=none'
	sync_store
	after=$(exclusive copy)
	[ $((after - before)) -ge $((8 << 20)) ]
	[ $((after - before)) -le $((9 << 20)) ]
	expect 0 ember storage usage --format json
	json '[.vms, .images | to_entries[].value | select(.exclusive != null) | .exclusive <= .referenced] | all'
	json '.pool.allocated <= .pool.capacity'
	expect 0 ember storage usage
	contains "$output" web copy
	expect 0 ember vm list
	expect 0 ember vm tree
	contains "$output" copy
}

# ZFS tells of bytes once they are in a transaction group.
sync_store() {
	[ "$HOST_STORAGE" != zfs ] || zpool sync
}

exclusive() {
	ember storage usage --format json | jq ".vms.$1.exclusive // .vms.$1.exclusive_bytes"
}

# What `ember storage trim` has a guest do, without the guest.
@test "what a guest gives back is the store's again" {
	local before

	make web kept
	ember vm fork web copy --no-start
	# shellcheck disable=SC2016 # for the shell with the disk
	"$WITH_DISK" "$(volume_of copy)" sh -c 'dd if=/dev/urandom of="$DISK" bs=1M seek=16 count=16 conv=notrunc,fsync status=none'
	sync_store
	before=$(exclusive copy)
	[ "$before" -ge $((16 << 20)) ]
	# shellcheck disable=SC2016 # for the shell with the disk
	"$WITH_DISK" "$(volume_of copy)" sh -c 'blkdiscard --offset 16M --length 16M "$DISK"'
	sync_store
	[ "$(exclusive copy)" -le $((before - (15 << 20))) ]
	marked web kept
	equal "$(read_mark "$(volume_of copy)")" kept
}

@test "the store grows, and gives back what nobody uses" {
	local before

	make web kept
	before=$(ember storage usage --format json | jq .pool.capacity)
	expect 0 ember storage grow --size 1536M
	[ "$(ember storage usage --format json | jq .pool.capacity)" -gt "$before" ]
	# shellcheck disable=SC2016 # for the shell with the disk
	ember vm fork web filler --no-start --disk-size 512M
	# shellcheck disable=SC2016 # for the shell with the disk
	"$WITH_DISK" "$(volume_of filler)" sh -c 'dd if=/dev/urandom of="$DISK" bs=1M seek=128 count=256 conv=notrunc,fsync status=none'
	ember vm delete filler
	sync_store
	expect 0 ember storage trim --format json
	marked web kept
}

@test "a full store: a sentence, and nobody's data is lost" {
	make web kept
	dd if=/dev/urandom of=/tmp/noise bs=1M count=16 status=none
	ember vm fork web filler --no-start --disk-size 6G
	# shellcheck disable=SC2016 # for the shell with the disk
	"$WITH_DISK" "$(volume_of filler)" sh -c 'while cat /tmp/noise; do :; done | dd of="$DISK" bs=1M seek=128 iflag=fullblock oflag=direct conv=notrunc status=none' || true
	sync_store || true
	marked web kept
	run --separate-stderr ember vm fork web another --no-start
	# shellcheck disable=SC2154 # set by run
	[ "$status" -eq 0 ] || explains
	expect 0 ember vm list
	ember vm delete filler
	ember vm delete another >/dev/null 2>&1 || true
	sync_store
	marked web kept
	mark web "written again"
	marked web writtenagain
	make fresh mark
	marked fresh mark
}

# killed PREPARE COMMAND...: at each of the store's own steps in it; nothing is left to mend that reconcile does not mend, and
# the source is what it was. The steps that all stores share are in tests/cli/faults_storage.bats.
killed() {
	local prepare=$1 step steps

	shift
	$prepare
	rm -f "$BATS_TEST_TMPDIR/steps"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember "$@" >/dev/null
	steps=$(sort -u "$BATS_TEST_TMPDIR/steps" | grep '^storage\.')
	for step in $steps; do
		$prepare
		EMBER_KILL_AT=$step ember "$@" >/dev/null 2>&1 || true
		clean || { echo "killed at $step of $*"; return 1; }
		marked web kept || { echo "killed at $step of $*"; return 1; }
	done
}

only_web() {
	ember vm delete copy >/dev/null 2>&1 || true
	ember snapshot delete web one >/dev/null 2>&1 || true
	ember vm inspect web >/dev/null 2>&1 || make web kept
}

with_copy() {
	ember vm inspect copy >/dev/null 2>&1 || ember vm fork web copy --no-start >/dev/null
}

with_snapshot() {
	ember snapshot create web one >/dev/null 2>&1 || true
}

@test "killed at each step of the store" {
	only_web
	killed only_web vm fork web copy --no-start
	killed with_copy vm delete copy
	killed only_web snapshot create web one
	killed with_snapshot snapshot restore web one
	killed with_snapshot snapshot delete web one
}
