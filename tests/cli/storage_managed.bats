#!/usr/bin/env bats
# A store that ember mounts, on a host that is small: grown and trimmed while a VM writes to it, and what
# becomes of that VM when the host is full. One boot.

load lib

setup_file() {
	[ "$(id -u)" -eq 0 ] || return 0
	HOST=$EMBER_TEST_CACHE/tmp/storage_managed
	EMBER_STATE_DIR=$HOST/fs/state
	TMPDIR=$HOST/tmp
	export HOST EMBER_STATE_DIR TMPDIR
	mkdir -p "$HOST/fs" "$TMPDIR"
	truncate -s 1500M "$HOST/img"
	mkfs.ext4 -q -m 0 "$HOST/img"
	mount -o loop "$HOST/img" "$HOST/fs"
	mkdir -m 700 "$EMBER_STATE_DIR"
	ember init --storage xfs --size 1G >/dev/null
	cp -a "$EMBER_TEST_CACHE/fs/base/kernels" "$EMBER_STATE_DIR/"
	sed -i "s|$EMBER_TEST_CACHE/fs/base/|$EMBER_STATE_DIR/|g" "$EMBER_STATE_DIR"/kernels/*/kernel.json
	ember image pull "oci:$OCI/busybox:latest" --name busybox >/dev/null
	boot writer busybox --disk-size 4G
}

teardown_file() {
	[ "$(id -u)" -eq 0 ] || return 0
	drop_state
	umount "$HOST/fs"
	rm -rf "$HOST"
}

setup() {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
}

# In the guest, by its shell.
guest() {
	ember exec writer -- sh -euc "$1"
}

capacity() {
	ember info --format json | jq ".capacity.$1"
}

@test "storage grow: a VM that runs does not notice" {
	local before

	guest 'yes before | head -c 1000000 >/before; sync'
	before=$(capacity total)
	expect 0 ember storage grow --size 1280M
	contains "$output" "grown to 1.2 GiB" free
	[ "$(capacity total)" -gt $((before + 200000000)) ]
	expect 0 ember storage grow --size 1280M
	contains "$output" already
	expect 0 ember storage grow --size 1344M --format json
	equal "$(json '.status, .size' | paste -sd' ')" "grown $((1344 << 20))"
	equal "$(json '.after')" "$(capacity total)"
	json '.storage == "xfs" and .after <= .size and .before < .after and .free <= .after'
	expect 0 ember storage grow --size 1344M --format json
	json '.status == "unchanged" and .before == .after'
	guest 'yes before | head -c 1000000 | cmp - /before'
}

@test "storage grow refuses what cannot be: smaller, no size, more than the host has" {
	expect 2 ember storage grow --size 512M
	explains "cannot shrink" "1.3 GiB"
	expect 2 ember storage grow
	contains "$stderr" "--size"
	expect 1 ember storage grow --size 40T
	explains "not enough space" "df -h"
	expect 1 ember storage grow --size 40T --format json
	equal "$(json .error.code)" failed
}

@test "storage trim: what the guest deleted goes back to the host" {
	local held

	guest 'dd if=/dev/urandom of=/junk bs=1M count=96 2>/dev/null; sync; rm /junk; sync'
	held=$(stat -c %b "$EMBER_STATE_DIR/store.img")
	expect 0 ember storage trim writer --format json
	[ "$(json .vms.writer.trimmed)" -gt 90000000 ]
	[ "$(json .store.freed)" -gt 90000000 ]
	equal "$(json '.store.before - .store.after')" "$(json .store.freed)"
	[ $((held - $(stat -c %b "$EMBER_STATE_DIR/store.img"))) -gt 180000 ]
	expect 0 ember storage trim
	contains "$output" TRIMMED writer STORE BEFORE AFTER FREED xfs
	expect 3 ember storage trim nobody
	contains "$stderr" "nobody" "hint: "
	ember vm create still --image busybox "${SMALL[@]}" --no-start >/dev/null
	expect 4 ember storage trim still writer --format json
	equal "$(head -n 1 <<<"$output" | jq -r '.vms | keys[]')" writer
	equal "$(tail -n 1 <<<"$output" | jq -r .error.code)" state
	ember vm delete still
}

@test "the store comes back after an unmount, and a trim mounts it too" {
	ember vm stop writer
	umount "$EMBER_STATE_DIR/store"
	expect 0 ember storage trim
	contains "$output" STORE
	[[ $output != *TRIMMED* ]]
	umount "$EMBER_STATE_DIR/store"
	expect 0 ember storage grow --size 1360M
	ember vm start writer >/dev/null
	ember vm wait writer >/dev/null
	guest 'yes before | head -c 1000000 | cmp - /before'
}

is_stuck() {
	[ "$(field writer .status)" = paused ]
}

# What the guest was told is on its disk, numbered; it stops at the first failure.
start_writing() {
	cat >"$BATS_TEST_TMPDIR/write.sh" <<-'SH'
		mkdir -p /slots
		i=0
		while :; do
			i=$((i + 1))
			yes "$i" | head -c 1048576 >/slots/$i && sync || exit
			echo $i >>/slots/acked && sync || exit
		done
	SH
	ember cp "$BATS_TEST_TMPDIR/write.sh" writer:/write.sh >/dev/null
	guest 'setsid sh /write.sh </dev/null >/dev/null 2>&1 &'
	until_true 30 ember exec writer -- test -s /slots/acked
}

@test "a full host stops the VM, says so, and loses nothing that was synced" {
	local acked keeper began waiting

	start_writing
	# A command that is under way when it happens tells whoever waits for it.
	timeout 300 "$EMBER" exec writer -- sleep 1000 2>"$BATS_TEST_TMPDIR/waiting" 3>&- &
	waiting=$!
	sleep 2
	equal "$(cat "$BATS_TEST_TMPDIR/waiting")" ""
	dd if=/dev/zero of="$HOST/fs/filler" bs=1M status=none || true
	until_true 60 is_stuck
	contains "$(field writer .status_reason)" "no more writes" "room on the host"
	expect 0 ember vm list
	contains "$output" paused
	contains "$stderr" "'writer' stands still" "df -h"
	expect 0 ember vm inspect writer
	contains "$output" "paused: its disk takes no more writes"
	until_true 10 grep -q "vm 'writer' stands still" "$BATS_TEST_TMPDIR/waiting"
	sleep 2
	equal "$(grep -c "vm 'writer' stands still" "$BATS_TEST_TMPDIR/waiting")" 1
	grep -q "make room (df -h '$EMBER_STATE_DIR')" "$BATS_TEST_TMPDIR/waiting"
	expect 4 ember cp writer:/before "$BATS_TEST_TMPDIR/before"
	explains "'writer' stands still" "make room"
	# So does a command that finds its keeper killed, and it gives it a new one, which lets it go on when there is room.
	keeper=$(pgrep -f "ember-keeper.*$EMBER_STATE_DIR/vms/writer/")
	kill -9 "$keeper"
	began=$SECONDS
	expect 4 ember cp writer:/before "$BATS_TEST_TMPDIR/before"
	explains "'writer' stands still" "make room"
	[ $((SECONDS - began)) -lt 5 ]
	is_stuck
	waited "$waiting"
	equal "$status" 125
	pgrep -f "ember-keeper.*$EMBER_STATE_DIR/vms/writer/" >"$BATS_TEST_TMPDIR/keeper"
	[ "$(cat "$BATS_TEST_TMPDIR/keeper")" != "$keeper" ]
	expect 1 ember vm create other --image busybox "${SMALL[@]}" --no-start
	explains "space"
	rm "$HOST/fs/filler"
	expect 0 ember vm stop --force writer
	expect 0 ember vm start writer
	expect 0 ember vm wait writer
	acked=$(guest 'tail -n 1 /slots/acked')
	[ "$acked" -gt 0 ]
	guest "i=0
		while [ \$i -lt $acked ]; do
			i=\$((i + 1))
			yes \$i | head -c 1048576 | cmp - /slots/\$i
		done
		yes before | head -c 1000000 | cmp - /before"
	expect 0 ember vm stop writer
	expect 0 e2fsck -fn "$(field writer .disk_path)"
	expect 0 ember doctor
	expect 0 ember reconcile --dry-run
}

@test "a store is not compressed, and doctor notices one that is" {
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/compressed
	local store=$EMBER_STATE_DIR/store

	mkdir -p "$EMBER_STATE_DIR"
	ember init --storage btrfs --size 1G >/dev/null
	mount -o remount,compress=zstd "$store"
	head -c 4M /dev/zero | tr '\0' a >"$store/plain"
	run ember doctor
	[[ $output != *compression* ]]
	# Not compressed, whatever the mount says: no extent is encoded (filefrag's word for it).
	[[ $(filefrag -v "$store/plain") != *encoded* ]]
	rm "$store/plain"
	mount -o remount,compress-force=zstd "$store"
	run ember doctor
	contains "$output" "'$store' is compressed" "mount -o remount,compress=no '$store'"
	mount -o remount,compress=no "$store"
	chattr -m +c "$store"
	run ember doctor
	contains "$output" "chattr -c '$store'"
	chattr -c "$store"
	run ember doctor
	[[ $output != *compression* ]]
	ember deinit --purge
}

@test "an init that does not get to use a store leaves it as it is" {
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/kept
	local step

	mkdir -p "$EMBER_STATE_DIR"
	ember init --storage btrfs --size 1G >/dev/null
	ember image pull "oci:$OCI/busybox:latest" --name busybox >/dev/null
	ember deinit >/dev/null
	expect 2 ember init --storage btrfs --size 2G
	explains "has 1 GiB" "storage grow"
	for step in storage.attach storage.mount init.config; do
		EMBER_FAIL_AT=$step expect 1 ember init --storage btrfs
		[ -s "$EMBER_STATE_DIR/store.img" ]
	done
	expect 0 ember init --storage btrfs --size 1G
	contains "$output" "in use again"
	equal "$(ember image list --format json | jq -r '.images[].local_name')" busybox
	expect 0 ember doctor
	ember deinit --purge
}

# Each refusal is a sentence with something to type, and leaves what was there and nothing new.
refuses_init() {
	local want=$1

	shift
	expect "$want" ember -s "$BATS_TEST_TMPDIR/none" init "$@"
	contains "$stderr" "ember: " "hint: "
	[ ! -e "$BATS_TEST_TMPDIR/none" ]
}

@test "init refuses a place that is no place for a store" {
	local dir=$BATS_TEST_TMPDIR device

	refuses_init 2 --storage btrfs --size 100M
	contains "$stderr" "at least 512 MiB" "--size 4G"
	refuses_init 2 --storage xfs --storage-path "$dir"
	contains "$stderr" "is a directory" "hint: name a file in it"
	refuses_init 2 --device "$dir"
	contains "$stderr" "is not a block device" "for a store in a file: --storage-path '$dir/store.img'"
	refuses_init 2 --storage xfs --storage-path /dev/null
	refuses_init 3 --storage xfs --storage-path /dev/nothing-there
	contains "$stderr" lsblk
	refuses_init 3 --storage xfs --storage-path "$dir/nothing/there"
	contains "$stderr" "there is no directory '$dir/nothing'"
	[ ! -e "$dir/nothing" ]
	refuses_init 2 --storage xfs --size 99999T
	contains "$stderr" "at most 1024T"
	truncate -s 100M "$dir/small"
	refuses_init 2 --storage btrfs --storage-path "$dir/small"
	contains "$stderr" "too small" truncate
	truncate -s 1G "$dir/store"
	refuses_init 2 --storage btrfs --storage-path "$dir/store" --size 2G
	contains "$stderr" "has 1 GiB" "storage grow"
	mkfs.ext4 -q "$dir/store"
	refuses_init 4 --storage btrfs --storage-path "$dir/store"
	contains "$stderr" ext4 "hint: name another place"
	[[ $stderr != *"rm '"* ]]
	# A device that is mounted, by whomever.
	device=$(losetup --find --show "$dir/store")
	mkdir "$dir/mounted"
	mount "$device" "$dir/mounted"
	echo kept >"$dir/mounted/file"
	refuses_init 4 --storage xfs --storage-path "$device"
	equal "$(cat "$dir/mounted/file")" kept
	umount "$dir/mounted"
	losetup -d "$device"
	expect 2 ember -s "$dir/none" init --storage reflink --storage-path "$dir/store"
	# No room on the host.
	mkdir "$dir/tiny"
	mount -t tmpfs -o size=64M none "$dir/tiny"
	refuses_init 1 --storage btrfs --storage-path "$dir/tiny/store"
	contains "$stderr" "not enough space"
	equal "$(ls -A "$dir/tiny")" ""
	umount "$dir/tiny"
}

@test "init: a missing mkfs names its package" {
	local fs dir=$BATS_TEST_TMPDIR

	for fs in btrfs xfs; do
		# shellcheck disable=SC2016
		expect 7 unshare --mount bash -c 'for tool in {/usr,}/sbin/mkfs.$1; do [ ! -e $tool ] || mount --bind /dev/null $tool; done
			exec "$2" -s "$3" init --storage "$1"' - "$fs" "$EMBER" "$dir/none"
		explains "mkfs.$fs', which is not installed" "apt-get install"
		[ ! -e "$dir/none" ]
	done
}
