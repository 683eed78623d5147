# The dm-thin store, over a device mapper that is played (tests/fake/devmapper): its devices are real ones, so real guests boot
# from them. The kernel's own is in the test host.
load faults

# From here on everything that runs finds the played one in the kernel's place, until the sleeper ends.
play_devmapper() {
	local word

	TMPDIR=$BATS_FILE_TMPDIR "$CLI_DIR/../fake/devmapper" "$EMBER_BUILD/tests/unit/devmapper-shim.so" \
		sh -c 'env >"$0.new"; mv "$0.new" "$0"; exec sleep 3600' "$BATS_FILE_TMPDIR/environment" 3>&- &
	echo "$!" >"$BATS_FILE_TMPDIR/devmapper"
	until_true 20 test -e "$BATS_FILE_TMPDIR/environment"
	for word in EMBER_FAKE_DM EMBER_FAKE_DM_PROGRAM LD_PRELOAD PATH; do
		export "$(grep "^$word=" "$BATS_FILE_TMPDIR/environment")"
	done
}

devmapper() {
	"$EMBER_FAKE_DM_PROGRAM" "$@"
}

new_state() {
	EMBER_STATE_DIR=$EMBER_TEST_CACHE/fs/dm_thin
	TMPDIR=$EMBER_TEST_CACHE/tmp/dm_thin
	export EMBER_STATE_DIR TMPDIR
	mkdir -p "$EMBER_STATE_DIR" "$TMPDIR"
	chmod 700 "$EMBER_STATE_DIR"
	play_devmapper
	cp -a --reflink=auto "$EMBER_TEST_CACHE/fs/base/"{ember.state,kernels} "$EMBER_STATE_DIR/"
	find "$EMBER_STATE_DIR" -name '*.json' -exec sed -i "s|$EMBER_TEST_CACHE/fs/base/|$EMBER_STATE_DIR/|g" {} +
	ember init --storage dm-thin --size 1G >/dev/null
	ember image pull "oci:$OCI/busybox:latest" --name busybox >/dev/null
}

teardown() {
	ember vm list --format json | jq -r '.[].name | select(. != "bystander")' | xargs -r "$EMBER" vm delete --force 3>&-
}

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "dm-thin storage needs root"
	setup_faults
}

teardown_file() {
	drop_state
	kill "$(cat "$BATS_FILE_TMPDIR/devmapper")"
}

# Devices of volumes that no record names, and what holds its writers back: what must not be there at rest. Of faults.bash's
# check_world.
resources() {
	local ids

	devmapper suspended
	ids=$(ids_in_records)
	devmapper devices | grep -vE -- '-(pool|meta|data)$' | cut -d- -f3- | while read -r volume; do
		grep -qx "$volume" <<<"$ids" || echo "no record: $volume"
	done
	find "$EMBER_STATE_DIR/store" -name '*.part' -o -name '*.tmp'
}

pool_of() {
	ember info --format json | jq -r '"ember-" + .instance_id + "-pool"'
}

@test "a VM boots from its device; its snapshot and its fork are what it was" {
	local device

	ember vm create web --image busybox "${SMALL[@]}" --disk-size 128M --wait
	device=$(field web .disk_path)
	contains "$device" "/dev/mapper/ember-" "$(field web .id)"
	[ -b "$device" ]
	ember exec web -- sh -c 'echo kept >/kept && sync'
	expect 0 ember snapshot create web before
	ember exec web -- sh -c 'echo later >/kept && sync'
	equal "$(devmapper suspended)" ""
	ember vm resize web --disk-size 256M
	[ "$(ember exec web -- df -k / | awk 'END { print $2 }')" -gt 150000 ]
	ember vm fork web@before copy --no-start
	ember vm delete --force web
	ember vm start copy
	equal "$(ember exec copy -- cat /kept)" kept
	ember vm delete --force copy
	equal "$(resources)" ""
}

swept_away() {
	ember reconcile && [ ! -e "$1" ]
}

@test "the device is there while the VM runs, and no longer" {
	local device

	ember vm create web --image busybox "${SMALL[@]}" --disk-size 128M --wait
	device=$(field web .disk_path)
	[ -b "$device" ]
	ember vm stop web
	[ ! -e "$device" ]
	# It powers itself off: the next sweep lets go of what its keeper leaves, once that is gone (it has the VM's lock
	# while it writes the record that `wait` reads, and a sweep passes by what is locked).
	ember vm start web
	ember exec --wait 60 web -- true
	[ -b "$device" ]
	ember exec web -- poweroff -f || true
	ember vm wait web --for stopped
	until_true 10 swept_away "$device"
	ember reconcile
	ember vm start web
	ember exec --wait 60 web -- true
	ember vm delete --force web
	equal "$(resources)" ""
}

exclusive() {
	ember storage usage --format json | jq ".vms.$1.exclusive"
}

@test "usage: who has which blocks" {
	local before

	ember vm create web --image busybox "${SMALL[@]}" --disk-size 128M --wait
	ember vm stop web
	ember vm fork web copy --no-start
	before=$(exclusive web)
	"$EMBER_BUILD/tests/host/with-disk" "$(field web .id)" \
		sh -c 'yes | dd of="$DISK" bs=64K seek=1000 count=7 iflag=fullblock conv=nocreat,notrunc,fsync status=none'
	equal "$(exclusive web)" $((before + 7 * 65536))
	equal "$(exclusive copy)" 0
	expect 0 ember storage usage --format json
	json '.vms.web | .exclusive <= .referenced and .referenced <= .provisioned'
	json '.pool.capacity >= .pool.allocated and .pool.metadata > 0'
}

@test "after a reboot everything is on again as it is needed" {
	ember vm create kept --image busybox "${SMALL[@]}" --disk-size 512M --no-start
	devmapper reboot
	[ ! -e "$(field kept .disk_path)" ]
	expect 0 ember vm list
	contains "$output" kept
	expect 0 ember vm export kept "$BATS_TEST_TMPDIR/disk" --as raw
	e2fsck -fn "$BATS_TEST_TMPDIR/disk" >/dev/null
	[ "$(stat -c %s "$BATS_TEST_TMPDIR/disk")" = $((512 << 20)) ]
	[ "$(du -m "$BATS_TEST_TMPDIR/disk" | cut -f 1)" -lt 64 ]
	ember vm delete kept
}

@test "a full pool is told, and grown" {
	ember vm create web --image busybox "${SMALL[@]}" --no-start
	devmapper fail create_snap ENOSPC
	expect 1 ember vm fork web copy --no-start
	explains "ember storage grow"
	expect 0 ember storage grow --size 2G
	contains "$output" "grown to 2 GiB"
	ember vm fork web copy --no-start
	ember vm delete web copy
	expect 2 ember storage grow --size 1G
	explains "cannot shrink"
}

@test "what the pool has and nobody wrote down is found and removed" {
	devmapper stray "$(pool_of)" 4242
	expect 0 ember reconcile --dry-run
	contains "$output" "7468696e-0000-4000-8000-000000001092"
	expect 0 ember reconcile
	contains "$output" "removed orphaned volume"
	expect 0 ember reconcile --dry-run --format json
	json '(.actions // .) == []'
}

@test "a missing thin_check names its package" {
	devmapper reboot
	mkdir "$BATS_TEST_TMPDIR/bin"
	# Neither on PATH nor where it always is.
	expect 7 unshare --mount bash -c 'for tool in {/usr,}/sbin/thin_check; do [ ! -e $tool ] || mount --bind /dev/null $tool; done
		mount -t tmpfs none "$1"; exec "$2" vm create x --image busybox --no-start' \
		- "$CLI_DIR/../fake/thin" "$EMBER"
	explains "thin_check' is not installed" "apt-get install thin-provisioning-tools"
	ember image list
}

@test "vm create, fork and delete, cut off at each step" {
	ONLY='^storage' with_faults no_subject no_subject ember vm create subject --image busybox "${SMALL[@]}" --no-start
	ONLY='^storage' with_faults have_stopped no_fork ember vm fork subject forked --no-start
	ONLY='^storage' with_faults have_stopped no_subject ember vm delete subject
}

no_image() {
	ember image delete other >/dev/null 2>&1 || true
}

@test "image pull, snapshot and resize, cut off at each step" {
	ONLY='^storage' with_faults no_image no_image ember image pull "oci:$OCI/busybox:latest" --name other
	ONLY='^storage' with_faults have_stopped no_subject ember snapshot create subject before
	ONLY='^storage' with_faults have_stopped no_subject ember vm resize subject --disk-size 9G
}

@test "snapshot of a running VM, cut off while its disk is held" {
	have_snapshots_gone() {
		ember snapshot delete subject before >/dev/null 2>&1 || true
	}
	ember vm create subject --image busybox "${SMALL[@]}" --wait
	STAYS=1 ONLY='^storage' with_faults have_snapshots_gone have_snapshots_gone ember snapshot create subject before
	equal "$(ember exec subject -- echo alive)" alive
	no_subject
}

@test "activation and storage grow, cut off at each step" {
	local size=3

	reboot() {
		devmapper reboot
		ember vm list >/dev/null 2>&1 || true
	}
	ONLY='^storage' with_faults reboot nothing ember storage usage
	larger() {
		size=$((size + 1))
		ember storage grow --size "${size}G"
	}
	ONLY='^storage\.thin' with_faults nothing nothing larger
}

@test "init and deinit, cut off at each step" {
	local other=$BATS_TEST_TMPDIR/other steps step mode

	there() {
		ember --state-dir "$other" init --storage dm-thin --size 1G --instance-id beef
	}
	away() {
		ember --state-dir "$other" deinit --purge
	}
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps there
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps away
	cat "$BATS_TEST_TMPDIR/steps" >>"$REACHED"
	mapfile -t steps < <(grep '^storage' "$BATS_TEST_TMPDIR/steps" | sort -u)
	for step in "${steps[@]}"; do
		for mode in FAIL KILL; do
			echo "# at $step, $mode"
			export "EMBER_${mode}_AT=$step"
			there || true
			away || true
			unset "EMBER_${mode}_AT"
			away
			there
			away
			[ ! -e "$other" ]
			run ! grep -q ember-beef <(devmapper devices)
		done
	done
}

@test "a device is given whole; what is on it is not overwritten" {
	local other=$BATS_TEST_TMPDIR/other device

	truncate -s 1G "$TMPDIR/disk"
	mkfs.ext4 -q "$TMPDIR/disk"
	device=$(losetup --find --show "$TMPDIR/disk")
	expect 4 ember --state-dir "$other" init --storage dm-thin --storage-path "$device" --instance-id beef
	explains "is not empty" ext4 wipefs
	e2fsck -fn "$device" >/dev/null
	wipefs -qa "$device"
	dd if=/dev/zero of="$device" bs=1M count=1 status=none
	EMBER_STEPS_TO=$REACHED ember --state-dir "$other" init --storage dm-thin --storage-path "$device" --instance-id beef
	ember --state-dir "$other" deinit --purge
	losetup --detach "$device"
	rm "$TMPDIR/disk"
}

@test "every step of the store was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -E "$THIN_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
