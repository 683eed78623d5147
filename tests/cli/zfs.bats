# The ZFS store, with programs that play zfs and zpool (tests/fake/zfs): real guests boot from what they keep. The real ones
# are in the test host.
load faults

# The fakes keep their pools in $FAKE_ZFS, and the "device nodes" are links to files.
play_zfs() {
	export FAKE_ZFS=$EMBER_TEST_CACHE/fs/zfs-played EMBER_ZVOL_DIR=$EMBER_TEST_CACHE/fs/zvol
	rm -rf "$FAKE_ZFS" "$EMBER_ZVOL_DIR"
	mkdir -p "$FAKE_ZFS" "$EMBER_ZVOL_DIR"
	PATH=$CLI_DIR/../fake/zfs:$PATH
}

# An installation with a ZFS store in a file, the kernel of the base, and one image.
new_state() {
	EMBER_STATE_DIR=$EMBER_TEST_CACHE/fs/zfs
	TMPDIR=$EMBER_TEST_CACHE/tmp/zfs
	export EMBER_STATE_DIR TMPDIR
	mkdir -p "$EMBER_STATE_DIR" "$TMPDIR"
	chmod 700 "$EMBER_STATE_DIR"
	play_zfs
	cp -a --reflink=auto "$EMBER_TEST_CACHE/fs/base/"{ember.state,kernels} "$EMBER_STATE_DIR/"
	find "$EMBER_STATE_DIR" -name '*.json' -exec sed -i "s|$EMBER_TEST_CACHE/fs/base/|$EMBER_STATE_DIR/|g" {} +
	ember init --storage zfs --size 8G >/dev/null
	ember image pull "oci:$OCI/busybox:latest" --name busybox >/dev/null
}

setup_file() {
	[ "$(id -u)" -eq 0 ] || skip "zfs storage needs root"
	setup_faults
}

teardown_file() {
	drop_state
	rm -rf "$FAKE_ZFS" "$EMBER_ZVOL_DIR"
}

setup() {
	: >"$FAKE_ZFS/log"
	rm -f "$FAKE_ZFS/"{fail,busy,full,no-module,udev-delay}
}

teardown() {
	rm -f "$FAKE_ZFS/"{fail,busy,full,no-module,udev-delay}
	[ ! -s "$BATS_TEST_TMPDIR/device" ] || losetup --detach "$(cat "$BATS_TEST_TMPDIR/device")"
}

zfs() {
	LC_ALL=C command zfs "$@"
}

zpool() {
	LC_ALL=C command zpool "$@"
}

pool_of() {
	ember info --format json | jq -r '"ember-" + .instance_id'
}

# Volumes that no record names, hidden ones and snapshots that have no clone, imports: what must not be there at rest. Of
# faults.bash's check_world.
resources() {
	local pool

	pool=$(pool_of)/disks
	zfs list -Hpr -t volume,snapshot -o name,clones "$pool" | sed "s|^$pool/||" |
		awk -v ids="$(ids_in_records | tr '\n' ' ')" '
			{ split($1, part, "@") }
			$1 !~ /@/ { volumes[$1] = 1; next }
			$2 !~ /[a-z]/ && part[2] != "base" { print "no clone: " $1 }
			$2 ~ /[a-z]/ { cloned[part[1]] = 1 }
			END { for (v in volumes) if (!cloned[v] && !index(ids, v)) print "no record: " v }'
	ls "$EMBER_STATE_DIR/store" 2>/dev/null || true
}

# commands: the command lines that were run since the test began, ids as I (the image's), V and F, without the looks.
commands() {
	local pool

	pool=$(pool_of)
	grep -vE '^(zfs list|zpool list|zfs version|zpool sync)' "$FAKE_ZFS/log" | sed "s|$pool/disks|D|g" |
		sed -E "s/$(id_of_image)/I/g; s/${1:-none}/V/g; s/${2:-none}/F/g; s/gone\.[0-9]+/gone.GUID/g"
}

id_of_image() {
	jq -r .id "$EMBER_STATE_DIR/images/busybox/image.json"
}

id_of() {
	field "$1" .id
}

@test "init says where; info and doctor agree" {
	expect 0 ember info
	contains "$output" zfs
	expect 0 ember info --format json
	equal "$(json .storage)" zfs
	expect 0 ember init --storage zfs --state-dir "$BATS_TEST_TMPDIR/other" --instance-id beef
	contains "$output" "the zfs pool 'ember-beef' of ember's own in '$BATS_TEST_TMPDIR/other/store.img'"
	expect 0 ember deinit --purge --state-dir "$BATS_TEST_TMPDIR/other"
	[ ! -e "$BATS_TEST_TMPDIR/other" ]
	expect 4 ember init --storage zfs
}

@test "a VM boots from its zvol, and so does what is forked from it" {
	ember vm create web --image busybox "${SMALL[@]}" --disk-size 128M --wait
	contains "$(field web .disk_path)" "$EMBER_ZVOL_DIR/$(pool_of)/disks/$(id_of web)"
	ember exec web -- sh -c 'echo kept >/kept && sync'
	ember vm stop web
	ember vm fork web copy --no-start
	ember vm delete web
	ember vm start copy
	equal "$(ember exec copy -- cat /kept)" kept
	ember vm delete --force copy
	equal "$(resources)" ""
}

@test "after a reboot the pool is imported again" {
	ember vm create kept --image busybox "${SMALL[@]}" --no-start
	zpool reboot
	[ ! -e "$(field kept .disk_path)" ]
	expect 0 ember vm list
	contains "$output" kept
	ember vm fork kept more --no-start
	[ -e "$(field kept .disk_path)" ]
	grep -qE "^zpool import -N -d $EMBER_STATE_DIR/store.img -o cachefile=none $(pool_of)$" "$FAKE_ZFS/log"
	ember vm delete kept more
	zpool reboot
	mv "$EMBER_STATE_DIR/store.img" "$EMBER_STATE_DIR/elsewhere"
	expect 3 ember vm create x --image busybox --no-start
	explains "store.img' is missing"
	mv "$EMBER_STATE_DIR/elsewhere" "$EMBER_STATE_DIR/store.img"
	ember image list
}

@test "what is run: exactly this" {
	local web copy

	ember vm list >/dev/null
	ember storage usage >/dev/null
	: >"$FAKE_ZFS/log"
	ember vm create web --image busybox "${SMALL[@]}" --disk-size 128M --no-start
	ember vm resize web --disk-size 256M
	ember vm fork web copy --no-start
	web=$(id_of web) copy=$(id_of copy)
	ember vm delete web
	ember vm delete copy
	diff -u - <(commands "$web" "$copy") <<-'EOF'
		zfs clone -o volsize=134217728 D/I@base D/V
		zfs set volsize=268435456 D/V
		zfs snapshot D/V@F
		zfs clone D/V@F D/F
		zfs rename D/V D/gone.GUID
		zfs destroy -r D/F
		zfs destroy D/gone.GUID@F
		zfs destroy -r D/gone.GUID
	EOF
}

@test "an image comes in and goes while VMs stand on it" {
	ember image pull "oci:$OCI/busybox:latest" --name other
	ember vm create on --image other "${SMALL[@]}" --no-start
	expect 4 ember image delete other
	ember vm delete on
	ember image delete other
	equal "$(resources)" ""
	ls "$EMBER_STATE_DIR/store"
	equal "$(ls "$EMBER_STATE_DIR/store")" ""
}

@test "a pool that is there: only what is ours is touched" {
	local file=$BATS_TEST_TMPDIR/tank.img state=$BATS_TEST_TMPDIR/state

	truncate -s 1G "$file"
	zpool create tank "$file"
	zfs create tank/theirs
	expect 3 ember init --state-dir "$state" --pool nosuch
	explains "zfs pool 'nosuch' does not exist" "--device"
	[ ! -e "$state" ]
	expect 0 ember init --state-dir "$state" --pool tank --instance-id cafe
	contains "$output" "volumes in 'ember-cafe' of the zfs pool 'tank'"
	equal "$(zfs list -Hp -o ember:installation tank/ember-cafe)" cafe
	expect 0 ember --state-dir "$state" info
	contains "$output" "tank"
	expect 0 ember --state-dir "$state" deinit
	expect 0 ember init --state-dir "$state" --pool tank --instance-id cafe
	contains "$output" "in use again"
	expect 6 ember --state-dir "$state" storage grow --size 4G
	explains "not ember's to grow" "zpool add tank"
	expect 0 ember --state-dir "$state" deinit --purge
	[ ! -e "$state" ]
	equal "$(zfs list -Hpr -t all -o name tank | tr '\n' ' ')" "tank tank/theirs "

	# A dataset of the administrator's stays, if it was empty; what is in use by somebody is refused.
	zfs create tank/quota
	expect 0 ember init --state-dir "$state" --pool tank --dataset quota --instance-id cafe
	expect 4 ember init --state-dir "$BATS_TEST_TMPDIR/second" --pool tank --dataset quota --instance-id f00d
	explains "the store of installation 'cafe'" "--dataset"
	expect 0 ember --state-dir "$state" deinit --purge
	equal "$(zfs list -Hp -o name,ember:installation,ember:keep tank/quota)" "tank/quota	-	-"
	zfs create tank/quota/child
	expect 4 ember init --state-dir "$state" --dataset tank/quota --pool tank
	explains "is not ember's"
	zpool destroy tank
}

@test "a device: taken when it is empty, and kept" {
	local file=$BATS_TEST_TMPDIR/disk.img state=$BATS_TEST_TMPDIR/state device

	truncate -s 1G "$file"
	device=$(losetup --find --show "$file")
	echo "$device" >"$BATS_TEST_TMPDIR/device"
	mke2fs -q "$device"
	expect 4 ember init --state-dir "$state" --device "$device"
	explains "is not empty" ext4 wipefs
	wipefs -qa "$device"
	dd if=/dev/zero "of=$device" bs=1M count=1 status=none
	expect 0 ember init --state-dir "$state" --pool mine --device "$device"
	contains "$output" "the zfs pool 'mine' of ember's own in '$device'"
	expect 2 ember --state-dir "$state" storage grow --size 64G
	contains "$stderr" "has 1024 MiB, and no more"
	expect 0 ember --state-dir "$state" deinit
	expect 0 ember init --state-dir "$state" --pool mine --device "$device"
	contains "$output" "in use again"
	expect 0 ember --state-dir "$state" deinit --purge
	equal "$(zpool list -H -o name mine)" mine
	expect 4 ember init --state-dir "$state" --pool other --device "$device"
	explains "it has zfs labelled mine"
	zpool destroy mine
}

@test "what cannot be: which program, which option, which code" {
	local state=$BATS_TEST_TMPDIR/state

	expect 2 ember init --state-dir "$state" --storage btrfs --pool tank
	explains "btrfs storage takes no --pool" "--storage zfs"
	expect 2 ember init --state-dir "$state" --pool tank --size 4G
	explains "has a size already"
	expect 2 ember init --state-dir "$state" --pool -x
	expect 2 ember init --state-dir "$state" --pool 'a b'
	explains "cannot be the name of a zfs pool"
	expect 2 ember init --state-dir "$state" --pool tank --dataset /x
	explains "cannot be the name of a zfs dataset"
	expect 3 ember init --state-dir "$state" --device /dev/nosuch
	explains "there is no device '/dev/nosuch'" lsblk
	expect 2 ember init --state-dir "$state" --device "$EMBER"
	explains "is not a block device" "--storage-path"
	: >"$FAKE_ZFS/no-module"
	expect 6 ember init --state-dir "$state" --storage zfs
	explains "ZFS's kernel module is not loaded" "zfs-dkms"
	PATH=/usr/bin:/bin expect 7 ember init --state-dir "$state" --storage zfs
	explains "'zfs'" "not installed" "contrib" "zfsutils-linux zfs-dkms"
	[ ! -e "$state" ]
}

@test "errors of zfs in words, and nothing left of what failed" {
	: >"$FAKE_ZFS/full"
	expect 1 ember vm create full --image busybox "${SMALL[@]}" --no-start
	explains "out of space" "ember storage trim"
	rm "$FAKE_ZFS/full"
	printf 'zfs clone\tcannot create: permission denied\n' >"$FAKE_ZFS/fail"
	expect 5 ember vm create denied --image busybox "${SMALL[@]}" --no-start
	explains "permission denied" "sudo"
	printf 'zfs clone -o volsize\tinternal error: out of luck\n' >"$FAKE_ZFS/fail"
	expect 1 ember vm create odd --image busybox "${SMALL[@]}" --disk-size 128M --no-start
	contains "$stderr" "internal error: out of luck"
	equal "$(resources)" ""
}

@test "a volume that udev looks into is waited for, and so is a late device" {
	ember vm create late --image busybox "${SMALL[@]}" --no-start
	echo 3 >"$FAKE_ZFS/busy"
	ember vm delete late
	equal "$(grep -c '^zfs destroy' "$FAKE_ZFS/log")" 4
	echo 0.7 >"$FAKE_ZFS/udev-delay"
	ember image pull "oci:$OCI/busybox:latest" --name slow
	rm "$FAKE_ZFS/udev-delay"
	ember image delete slow
	equal "$(resources)" ""
}

@test "a hidden disk that somebody holds open is collected later, and is nobody else's failure" {
	local held

	ember vm create parent --image busybox "${SMALL[@]}" --no-start
	ember vm fork parent child --no-start
	exec {held}<"$(field parent .disk_path)"
	ember vm delete parent
	ember vm delete child
	expect 0 ember reconcile --dry-run --format json
	json '(.actions // .) == []'
	contains "$(resources)" "no record: gone."
	exec {held}<&-
	ember storage trim
	equal "$(resources)" ""
}

@test "usage, grow and trim" {
	local before

	ember vm create used --image busybox "${SMALL[@]}" --disk-size 128M --no-start
	expect 0 ember storage usage --format json
	equal "$(json '.vms.used.provisioned')" 134217728
	equal "$(json '.vms.used.exclusive <= .vms.used.referenced')" true
	json '.pool.capacity > 0 and .pool.allocated <= .pool.capacity'
	expect 0 ember vm list
	contains "$output" used
	before=$(zpool list -H -o size "$(pool_of)")
	expect 0 ember storage grow --size 16G
	[ "$(zpool list -H -o size "$(pool_of)")" -gt "$before" ]
	equal "$(stat -c %s "$EMBER_STATE_DIR/store.img")" $((16 << 30))
	expect 2 ember storage grow --size 1G
	contains "$stderr" shrink
	expect 0 ember storage trim
	grep -q "^zpool trim -w $(pool_of)$" "$FAKE_ZFS/log"
	ember vm delete used
}

@test "faults: create, fork, delete" {
	local -x ONLY=$ZFS_STEPS

	with_faults nothing no_subject ember vm create subject --image busybox "${SMALL[@]}" --disk-size 128M --no-start
	with_faults have_stopped no_fork ember vm fork subject forked --no-start
	with_faults have_stopped no_subject ember vm delete subject
	no_subject
}

@test "faults: delete of what has clones, and of the last clone of what is gone" {
	have_family() {
		have_stopped
		ember vm inspect forked >/dev/null 2>&1 || ember vm fork subject forked --no-start >/dev/null
	}
	have_orphan() {
		have_family
		ember vm delete subject >/dev/null
	}
	no_family() {
		no_fork
		no_subject
	}
	local -x ONLY=$ZFS_STEPS

	with_faults have_family no_family ember vm delete subject
	with_faults have_orphan no_family ember vm delete forked
}

@test "faults: an image comes in; a VM grows; the pool is brought in, grown and trimmed" {
	no_image() {
		ember image delete more >/dev/null 2>&1 || true
	}
	gone_out() {
		zpool reboot
	}
	have_small() {
		no_subject
		have_stopped
	}
	local -x ONLY=$ZFS_STEPS

	with_faults nothing no_image ember image pull "oci:$OCI/busybox:latest" --name more
	with_faults have_small no_subject ember vm resize subject --disk-size 16G
	with_faults gone_out no_subject ember vm create subject --image busybox "${SMALL[@]}" --no-start
	grow_some() {
		ember storage grow --size "$(($(stat -c %s "$EMBER_STATE_DIR/store.img") / 1048576 + 1024))M"
	}
	with_faults nothing nothing grow_some
	with_faults nothing nothing ember storage trim
}

# life WORDS...: an installation made and unmade, with a fault at each of its steps.
life() {
	local -x EMBER_STATE_DIR=$BATS_TEST_TMPDIR/life
	local steps step mode

	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember init "$@"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember deinit
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember init "$@"
	EMBER_STEPS_TO=$BATS_TEST_TMPDIR/steps ember deinit --purge
	cat "$BATS_TEST_TMPDIR/steps" >>"$REACHED"
	steps=$(grep -E "$ZFS_STEPS" "$BATS_TEST_TMPDIR/steps" | sort -u)
	for step in $steps; do
		for mode in FAIL KILL; do
			echo "# at $step, $mode"
			export "EMBER_${mode}_AT=$step"
			ember init "$@" || true
			ember deinit || true
			ember deinit --purge || true
			unset "EMBER_${mode}_AT"
			ember deinit --purge
			ember init "$@"
			ember deinit --purge
			[ ! -e "$EMBER_STATE_DIR" ]
		done
	done
}

@test "faults: an installation in a file, in a pool, in a dataset that was there" {
	local file=$BATS_TEST_TMPDIR/tank.img

	life --storage zfs --size 1G
	truncate -s 1G "$file"
	zpool create tank "$file"
	life --pool tank
	zfs create tank/given
	life --pool tank --dataset given
	equal "$(zfs list -Hpr -t all -o name tank | tr '\n' ' ')" "tank tank/given "
	zpool destroy tank
}

@test "every step of ZFS in the sources was reached" {
	local unreached

	unreached=$(comm -23 <(steps_in_sources | grep -E "$ZFS_STEPS") <(sort -u "$REACHED"))
	equal "$unreached" ""
}
