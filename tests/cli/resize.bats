# A larger disk: for a VM that is stopped, that runs, that stands still, and whose guest does not answer.
load lib

setup_file() {
	new_state
	boot web
}

teardown_file() {
	drop_state
	EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/resize-qcow2 drop_state
}

teardown() {
	assert_no_leftovers
}

# MiB of the guest's root filesystem.
guest_mib() {
	ember exec "$1" -- df -m / | awk 'END { print $2 }'
}

# grown_beyond VM MIB
grown_beyond() {
	[ "$(guest_mib "$1")" -gt "$2" ]
}

# The record says what the volume is.
record_is_true() {
	local volume mib

	volume=$(field "$1" .disk_path)
	mib=$(($(stat -c %s "$volume") / 1048576))
	equal "$(field "$1" '"\(.disk_size_mib) \(.disk_resize_mib)"')" "$mib null"
}

stopped() {
	[ "$(status_of "$1")" = stopped ]
}

keeper_of() {
	jq -r .keeper_socket "$EMBER_STATE_DIR/vms/$1/launch.json"
}

@test "a VM that runs has the room at once" {
	expect 0 ember vm resize web --disk-size 9G
	equal "$output" "VM 'web' resized to 9 GiB, with its filesystem."
	grown_beyond web 8700
	record_is_true web
	ember exec web -- sh -c 'head -c 5000000 /dev/urandom >/blob; sync; sha256sum /blob' >"$BATS_FILE_TMPDIR/sum"
	expect 0 ember vm resize web --disk-size 10G --format json
	json '.disk_size_mib == 10240 and .filesystem_grown and .status == "running"'
	grown_beyond web 9700
	equal "$(ember exec web -- sha256sum /blob)" "$(cat "$BATS_FILE_TMPDIR/sum")"
}

@test "a VM that stands still grows its filesystem when it goes on" {
	"$CLI_DIR/keeper-talk" pause "$(keeper_of web)"
	expect 0 ember vm resize web --disk-size 11G
	equal "$output" "VM 'web' resized to 11 GiB, its filesystem grows when it goes on."
	record_is_true web
	"$CLI_DIR/keeper-talk" resume "$(keeper_of web)"
	until_true 10 grown_beyond web 10700
}

@test "a stopped VM grows its filesystem at its next boot" {
	ember vm stop web
	expect 0 ember vm resize web --disk-size 12G
	equal "$output" "VM 'web' resized to 12 GiB, its filesystem grows at the next boot."
	record_is_true web
	ember vm start web
	grown_beyond web 11700
	equal "$(ember exec web -- sha256sum /blob)" "$(cat "$BATS_FILE_TMPDIR/sum")"
	expect 0 ember vm resize web --disk-size 40G --format json
	json .filesystem_grown
	grown_beyond web 39000
}

# As if the superblock were on the disk, and the descriptor of the last group that it counts only in the journal: no kernel mounts
# that. It happens by itself once in some ten times.
forget_last_descriptor() {
	local blocks bytes group

	blocks=$(dumpe2fs -h "$1" 2>/dev/null | awk '/^Block count:/ { print $3 }')
	bytes=$(dumpe2fs -h "$1" 2>/dev/null | awk '/^Group descriptor size:/ { print $4 }')
	[ "$blocks" -gt 0 ]
	group=$(((blocks - 1) / 32768))
	printf '\377%.0s' {1..32} | dd of="$1" bs=1 conv=notrunc status=none \
		seek=$((4096 + group * ${bytes:-32}))
}

# The plug is pulled while the filesystem grows: nothing is lost but the step that was under way.
@test "cut off while the filesystem grows: it boots, is whole, and gets its full size" {
	local volume hypervisor resize

	boot large
	expect 0 ember vm resize large --disk-size 100G
	grown_beyond large 98000
	ember vm resize large --disk-size 1000G >/dev/null 2>&1 &
	resize=$!
	until_true 20 grown_beyond large 150000
	hypervisor=$(field large .pid)
	kill -9 "$hypervisor"
	waited "$resize"
	until_true 10 stopped large
	[ "$(field large .disk_size_mib)" -eq 1024000 ]
	forget_last_descriptor "$(field large .disk_path)"
	ember vm start large
	until_true 60 grown_beyond large 1000000
	ember vm stop large
	volume=$(field large .disk_path)
	e2fsck -fn "$volume"
	# As far as it can go, and the agent answers meanwhile.
	ember vm start large
	grown_beyond large 1000000
	expect 0 ember vm resize large --disk-size 1T
	contains "$output" "with its filesystem"
	expect 6 ember vm resize large --disk-size 16T
	explains "the filesystem on the disk can grow to 1 TiB at most"
	ember vm stop large
	e2fsck -fn "$volume"
	ember vm delete large
}

@test "more than the filesystem can grow to is refused, and the most of it is used" {
	ember vm create vast --image busybox "${SMALL[@]}"
	expect 6 ember vm resize vast --disk-size 16T --format json
	json '.error.code == "unsupported"'
	contains "$output" "ember vm resize vast --disk-size 1T"
	record_is_true vast
	ember vm delete --force vast
	expect 6 ember vm create vaster --image busybox --no-start --disk-size 2T
	explains "can grow to 1 TiB at most" "ember vm create vaster --image busybox --disk-size 1T"
	expect 3 ember vm inspect vaster
	ember vm create origin --image busybox --no-start
	expect 6 ember vm fork origin vaster --no-start --disk-size 2T
	ember vm delete origin
	explains "can grow to 1 TiB at most" "ember vm fork origin NEW --disk-size 1T"
	boot vaster busybox --disk-size 1T
	until_true 60 grown_beyond vaster 1030000
	ember vm stop vaster
	e2fsck -fn "$(field vaster .disk_path)"
	ember vm delete vaster
}

@test "a filesystem that cannot grow at all" {
	ember vm create fixed --image busybox "${SMALL[@]}" --disk-size 128M --wait
	ember vm stop fixed
	tune2fs -O ^resize_inode "$(field fixed .disk_path)"
	e2fsck -fy "$(field fixed .disk_path)" || [ $? -eq 1 ]
	expect 6 ember vm resize fixed --disk-size 1G
	explains "can grow to" "leave the disk as it is"
	expect 6 ember vm fork fixed larger --no-start --disk-size 1G
	explains "can grow to" "leave the disk as it is"
	ember vm commit fixed fixed-image
	expect 6 ember vm create larger --image fixed-image --no-start --disk-size 1G
	explains "can grow to" "leave the disk as it is"
	# What it could not use is not promised.
	ember vm create same --image fixed-image --no-start
	equal "$(field same .disk_size_mib)" 128
	ember vm delete fixed same
	ember image delete fixed-image
}

@test "no space is taken before the guest writes" {
	local volume before

	ember vm create thin --image busybox "${SMALL[@]}" --no-start
	volume=$(field thin .disk_path)
	before=$(stat -c %b "$volume")
	ember vm resize thin --disk-size 1T
	[ $(($(stat -c %b "$volume") - before)) -lt 64 ]
	ember vm delete thin
}

@test "a guest without an agent: the disk is larger, and the answer says when the guest sees to it" {
	ember vm create mute --image busybox "${SMALL[@]}" --boot-args init=/bin/sh
	expect 0 ember vm resize mute --disk-size 9G
	equal "$output" "VM 'mute' resized to 9 GiB, its guest does not answer, and grows the filesystem at its next boot."
	expect 0 ember vm resize mute --disk-size 10G --format json
	json '.disk_size_mib == 10240 and (.filesystem_grown | not)'
	record_is_true mute
	ember vm delete --force mute
}

@test "what is refused, and that nothing changes" {
	ember vm create small --image busybox "${SMALL[@]}" --no-start
	expect 2 ember vm resize small --disk-size 4G
	explains "resize vm 'small': cannot shrink the disk from 8 GiB to 4 GiB" "must be larger"
	expect 2 ember vm resize small --disk-size 8G
	explains "resize vm 'small': the disk has 8 GiB: the new size must be larger" "ember vm resize small --disk-size 16G"
	expect 2 ember vm resize small --disk-size 8G --format json
	json '.error.code == "usage"'
	expect 2 ember vm resize small --disk-size 17T
	explains "too large"
	expect 6 ember vm resize small --disk-size 2T
	explains "the filesystem on the disk can grow to 1 TiB at most" "ember vm resize small --disk-size 1T"
	expect 2 ember vm resize small
	explains "--disk-size"
	expect 2 ember vm resize small --disk-size 9
	explains "requires a unit suffix"
	expect 3 ember vm resize smalll --disk-size 9G
	explains "did you mean 'small'"
	[ ! -e "$EMBER_STATE_DIR/locks/vm-smalll.lock" ]
	equal "$(field small .disk_size_mib)" 8192
	record_is_true small
	# Never more than there can be.
	sed -i 's/"disk_size_mib": *8192/"disk_size_mib": 12582912/' "$EMBER_STATE_DIR/vms/small/vm.json"
	expect 2 ember vm resize small --disk-size 1T
	explains "from 12 TiB to 1 TiB" "--disk-size 16T"
	sed -i 's/"disk_size_mib": *12582912/"disk_size_mib": 16777216/' "$EMBER_STATE_DIR/vms/small/vm.json"
	expect 2 ember vm resize small --disk-size 1T
	explains "from 16 TiB to 1 TiB" "ember vm inspect small"
	ember vm delete small
}

# be_keeper VM old|short [BYTES]: in the place of its own, as keeper-talk says; $old is its process, $socket where it listens.
be_keeper() {
	local keeper

	socket=$(keeper_of "$1")
	keeper=$(field "$1" .keeper_pid)
	kill -9 "$keeper"
	until_true 5 test ! -d "/proc/$keeper"
	"$CLI_DIR/keeper-talk" "$2" "$socket" "${@:3}" >"$BATS_TEST_TMPDIR/old" 3>&- &
	old=$!
	until_true 5 grep -q ready "$BATS_TEST_TMPDIR/old"
}

@test "a guest that makes less of it: it is asked for 2 seconds, and the answer says what it has" {
	local socket old began

	ember vm create less --image busybox "${SMALL[@]}" --wait
	be_keeper less short $((8 << 30))
	began=$SECONDS
	expect 0 ember vm resize less --disk-size 9G
	[ $((SECONDS - began)) -ge 2 ]
	[ $((SECONDS - began)) -lt 20 ]
	equal "$output" "VM 'less' resized to 9 GiB, its filesystem is smaller."
	contains "$stderr" "the guest of vm 'less' reports a filesystem of 8 GiB on 9 GiB of disk"
	expect 0 ember vm resize less --disk-size 10G --format json
	json '.disk_size_mib == 10240 and (.filesystem_grown | not)'
	record_is_true less
	kill "$old"
	waited "$old"
	rm -f "$socket"
	ember vm delete --force less
}

@test "a keeper that cannot: unsupported, before anything is touched" {
	local socket old

	be_keeper web old
	expect 6 ember vm resize web --disk-size 41G
	explains "resize vm 'web': the disk cannot grow while the vm runs" "ember vm stop web"
	equal "$(field web '"\(.disk_size_mib) \(.disk_resize_mib)"')" "40960 null"
	kill "$old"
	waited "$old"
	rm -f "$socket"
	# The real one comes back, and can.
	expect 0 ember vm resize web --disk-size 41G
	record_is_true web
}

@test "two terminals: one grows it, the others are told" {
	local pids=() i wins=0

	ember vm create both --image busybox "${SMALL[@]}" --no-start
	for i in 1 2 3 4; do
		ember vm resize both --disk-size 9G >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		waited "$i"
		if [ "$status" -eq 0 ]; then wins=$((wins + 1)); else equal "$status" 2; fi
	done
	equal "$wins" 1
	record_is_true both
	ember vm delete both
}

@test "cut off anywhere: the record tells the truth, and the same once more finishes it" {
	local step size=9

	ember vm create cut --image busybox "${SMALL[@]}" --no-start
	for step in vm.resize.intent vm.resize.volume storage.resize vm.resize.record; do
		EMBER_KILL_AT=$step run ember vm resize cut --disk-size "${size}G"
		[ "$status" -ne 0 ]
		expect 0 ember vm inspect cut
		# A fork in between has what the disk has.
		ember vm fork cut fork --no-start
		record_is_true fork
		ember vm delete fork
		expect 0 ember vm resize cut --disk-size "${size}G"
		record_is_true cut
		size=$((size + 1))
	done
	for step in vm.resize.volume vm.resize.record; do
		EMBER_KILL_AT=$step run ember vm resize cut --disk-size "${size}G"
		equal "$(field cut .disk_resize_mib)" $((size * 1024))
		expect 0 ember vm inspect cut
		contains "$output" "a resize to $size GiB is not finished"
		expect 0 ember reconcile --dry-run
		contains "$output" "would settle vm 'cut'"
		expect 0 ember reconcile
		contains "$output" "settled the size of the disk of vm 'cut'"
		record_is_true cut
		size=$((size + 1))
	done
	# What was cut off at a larger size stays that large.
	EMBER_KILL_AT=vm.resize.record run ember vm resize cut --disk-size 20G
	expect 2 ember vm resize cut --disk-size 15G
	explains "resize vm 'cut': cannot shrink the disk from 20 GiB"
	record_is_true cut
	ember vm delete cut
}

@test "cut off while it runs: the guest gets it by the same once more, by reconcile, by a boot" {
	local size=42 step

	for step in vm.resize.volume vm.resize.hypervisor vm.resize.record vm.resize.guest; do
		EMBER_KILL_AT=$step run ember vm resize web --disk-size "${size}G"
		[ "$status" -ne 0 ]
		if [ "$step" != vm.resize.guest ]; then
			expect 0 ember vm resize web --disk-size "${size}G" --format json
			json .filesystem_grown
		fi
		record_is_true web
		grown_beyond web $((size * 1000 - 200))
		size=$((size + 1))
	done
	EMBER_KILL_AT=vm.resize.hypervisor run ember vm resize web --disk-size "${size}G"
	expect 0 ember reconcile
	contains "$output" "settled the size of the disk of vm 'web'"
	record_is_true web
	until_true 10 grown_beyond web $((size * 1000 - 200))
	size=$((size + 1))
	EMBER_KILL_AT=vm.resize.hypervisor run ember vm resize web --disk-size "${size}G"
	ember vm restart web
	record_is_true web
	grown_beyond web $((size * 1000 - 200))
}

# Its format is the hypervisor's to change while it runs, and ember's while it does not.
@test "qcow2: running, stopped, and cut off in between" {
	local -x EMBER_STATE_DIR=$EMBER_TEST_CACHE/tmp/resize-qcow2
	local volume cache=$EMBER_TEST_CACHE/fs/base

	mkdir -m 700 "$EMBER_STATE_DIR"
	ember init --storage qcow2
	cp -r "$cache/kernels/." "$EMBER_STATE_DIR/kernels"
	sed -i "s|$cache/|$EMBER_STATE_DIR/|g" "$EMBER_STATE_DIR"/kernels/*/kernel.json
	ember image pull "oci:$OCI/busybox:latest" --name busybox
	boot layered
	volume=$(field layered .disk_path)
	layered_is() {
		equal "$(qemu-img info -U --output json "$volume" | jq '."virtual-size" / 1048576')" "$1"
		equal "$(field layered '"\(.disk_size_mib) \(.disk_resize_mib)"')" "$1 null"
	}

	# What the guest writes to then is an overlay on what QEMU was started with.
	ember snapshot create layered before
	expect 0 ember vm resize layered --disk-size 9G
	contains "$output" "with its filesystem"
	layered_is 9216
	EMBER_KILL_AT=vm.resize.hypervisor run ember vm resize layered --disk-size 10G
	equal "$(field layered .disk_resize_mib)" 10240
	ember reconcile
	layered_is 10240
	EMBER_KILL_AT=vm.resize.record run ember vm resize layered --disk-size 11G
	ember reconcile
	layered_is 11264
	# A snapshot that was cut off has put an overlay on the disk, and QEMU goes on writing below it.
	EMBER_KILL_AT=storage.qcow2.live run ember snapshot create layered torn
	expect 0 ember vm resize layered --disk-size 12G
	ember vm stop --force layered
	layered_is 12288
	ember vm start layered
	grown_beyond layered 11700
	ember vm stop layered
	expect 0 ember vm resize layered --disk-size 12800M
	layered_is 12800
	EMBER_KILL_AT=vm.resize.record run ember vm resize layered --disk-size 13G
	ember vm start layered
	layered_is 13312
	grown_beyond layered 12700
	ember vm stop layered
	qemu-img check "$volume"
}
